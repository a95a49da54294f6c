"""Stage ``prepare``: cleaning, tokenization, splits by image, and the vocabulary of the training captions."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wordgaze.config.params import Params, PrepareParams
from wordgaze.core import paths
from wordgaze.core.errors import DataError
from wordgaze.core.files import atomic_directory, atomic_write, write_json, write_text
from wordgaze.data.contracts import check
from wordgaze.data.extra_text import pair_with_images, read_sentences
from wordgaze.data.preparation import least_count, tokenize_captions, tokenizer_of_params
from wordgaze.data.prepared import CAPTIONS, EXTRA_TEXT, VOCABULARY, write_prepared_checksums
from wordgaze.data.records import SPLITS, Record, assign_splits, read_records
from wordgaze.text.tokenizers import Tokenizer
from wordgaze.text.tokenizers.advice import HINT, is_unsegmented
from wordgaze.text.vocabulary import PTB, SPECIAL, Vocabulary
from wordgaze.tracking.reporting import log_contract
from wordgaze.tracking.runs import stage_run

if TYPE_CHECKING:
    import pandas as pd

MIN_COVERAGE = 0.7
"""Fraction of the training tokens that the vocabulary should cover; below it a warning is logged."""

_CHARACTERS = "set prepare.tokenizer=characters"
MAX_CUT = 0.1
"""Fraction of the training captions that may be longer than ``max_words``; above it a warning is logged."""
MAX_CHANGED = 0.1
"""Fraction of the training captions whose words a tokenizer from a file may change; above it a warning is logged."""

_log = logging.getLogger(__name__)


def run(params: Params) -> None:
    """Writes ``data/prepared``: ``captions.parquet``, ``vocabulary.json``, a summary and the contracts' reports."""
    settings = params.prepare
    records = assign_splits(read_records(paths.RAW / "captions.jsonl"), settings.dev_share, settings.test_share)
    with (
        stage_run("prepare", {"prepare": settings.model_dump()}) as tracked,
        atomic_directory(paths.PREPARED) as folder,
    ):
        tokenizer = tokenizer_of_params(settings, records)
        captions, wordless = _caption_table(records, tokenizer)
        train = captions[captions["split"] == "train"]
        extra = _extra_captions(settings, train, tokenizer)
        tokens = [text.split() for text in [*train["tokens_text"], *extra["tokens_text"]]]
        counts = Counter(word for words in tokens for word in words)
        min_count = least_count(settings, tokenizer)
        vocabulary = Vocabulary.count(tokens, min_count, settings.max_vocabulary, tokenizer)
        is_unsegmented_text = is_unsegmented(counts, len(tokens))
        _check_usable(captions, vocabulary, counts, settings, is_unsegmented_text)
        contracts = [
            check("captions", captions),
            check("vocabulary", _word_table(vocabulary, counts, min_count)),
        ]
        for contract in contracts:
            write_text(folder / f"contract_{contract.name}.json", contract.to_json())
            log_contract(tracked, contract)
        with atomic_write(folder / CAPTIONS) as temporary:
            captions.drop(columns="splits_of_image").to_parquet(temporary, index=False)
        with atomic_write(folder / EXTRA_TEXT) as temporary:
            extra.to_parquet(temporary, index=False)
        _write_vocabulary(folder, vocabulary, counts)
        write_prepared_checksums(folder, vocabulary.tokenizer.files())
        summary = _summary(captions, vocabulary, counts, wordless) | {"extra_sentences": len(extra)}
        write_json(folder / "summary.json", summary)
        tracked.metrics(summary)


def _write_vocabulary(folder: Path, vocabulary: Vocabulary, counts: Counter[str]) -> None:
    """Writes the words with their counts, and the name and the file of the tokenizer if it is not the default."""
    tokenizer = vocabulary.tokenizer
    content = {"words": vocabulary.words, "counts": [counts[word] * (word not in SPECIAL) for word in vocabulary.words]}
    write_json(folder / VOCABULARY, content | ({} if tokenizer == PTB else {"tokenizer": tokenizer.name}))
    for name, data in tokenizer.files().items():
        (folder / name).write_bytes(data)


def _check_usable(
    captions: "pd.DataFrame",
    vocabulary: Vocabulary,
    counts: Counter[str],
    settings: PrepareParams,
    is_unsegmented_text: bool,
) -> None:
    """Raises DataError for an empty split or vocabulary, which few images can lead to; warns of a low coverage, of
    captions whose words were not found, and of many captions that are cut."""
    images = {split: int((captions.drop_duplicates("image")["split"] == split).sum()) for split in SPLITS}
    counted = ", ".join(f"{split} {count}" for split, count in images.items())
    if not all(images.values()):
        raise DataError(
            f"a split has no image with words ({counted}); add images, raise prepare.dev_share or "
            "prepare.test_share, or use a data set with images in all three splits"
        )
    if len(vocabulary) == len(SPECIAL):
        way_out = f"most captions are one long word: {HINT}; {_CHARACTERS}"
        raise DataError(
            f"no word occurs prepare.min_count = {settings.min_count} times in the captions of {images['train']} "
            f"training images; {way_out if is_unsegmented_text else 'lower prepare.min_count'}"
        )
    if is_unsegmented_text:
        _log.warning(
            "most captions are one long word to the tokenizer %s: %s; %s", settings.tokenizer, HINT, _CHARACTERS
        )
        return
    _warn_of_cut_captions(captions, settings)
    _warn_of_lost_text(captions, vocabulary.tokenizer)
    known = _known_share(vocabulary, counts)
    if known < MIN_COVERAGE:
        _log.warning(
            "the vocabulary has %d of %d words, %.0f %% of the training tokens; lower prepare.min_count = %d",
            len(vocabulary) - len(SPECIAL), len(counts), 100 * known, settings.min_count,
        )  # fmt: skip


def _warn_of_cut_captions(captions: "pd.DataFrame", settings: PrepareParams) -> None:
    train = captions[captions["split"] == "train"]
    cut = float((train["length"] > settings.max_words).mean())
    if cut > MAX_CUT:
        _log.warning(
            "%.0f %% of the training captions have more than prepare.max_words = %d tokens and are cut; raise it, and"
            " generation.max_new_tokens with it", 100 * cut, settings.max_words,
        )  # fmt: skip


def _warn_of_lost_text(captions: "pd.DataFrame", tokenizer: Tokenizer) -> None:
    """Warns of a tokenizer that does not give captions back, because it drops accents or where words begin."""
    if tokenizer.has_words:
        return
    train = captions[captions["split"] == "train"][:1000]
    read = [
        (text, tokenizer.join(tokens.split())) for text, tokens in zip(train["raw"], train["tokens_text"], strict=True)
    ]
    changed = [pair for pair in read if tokenizer.scoring.tokenize(pair[0]) != tokenizer.scoring.tokenize(pair[1])]
    if len(changed) > MAX_CHANGED * len(read):
        _log.warning(
            "the tokenizer changes the words of %.0f %% of the training captions, such as %r to %r, which generated "
            "captions will resemble; give one that keeps letters, accents and where words begin, or subwords",
            100 * len(changed) / len(read), *changed[0],
        )  # fmt: skip


def _known_share(vocabulary: Vocabulary, counts: Counter[str]) -> float:
    return sum(counts[word] for word in vocabulary.words[len(SPECIAL) :]) / counts.total()


def _caption_table(records: Sequence[Record], tokenizer: Tokenizer) -> tuple["pd.DataFrame", int]:
    """One row per caption with at least one token, and the number of captions without any."""
    import pandas as pd

    tokenized, wordless = tokenize_captions(records, tokenizer)
    rows = [(*each[:3], " ".join(each.text.split()), " ".join(each.tokens), len(each.tokens)) for each in tokenized]
    table = pd.DataFrame(rows, columns=["image", "split", "caption_id", "raw", "tokens_text", "length"])
    table["splits_of_image"] = table.groupby("image")["split"].transform("nunique")
    return table, wordless


def _extra_captions(settings: PrepareParams, train: "pd.DataFrame", tokenizer: Tokenizer) -> "pd.DataFrame":
    """The sentences of ``extra_text``, one row each, with the training image that a sentence is paired with."""
    import pandas as pd

    rows = []
    if settings.extra_text:
        by_image: dict[str, list[list[str]]] = {}
        for image, text in zip(train["image"], train["tokens_text"], strict=True):
            by_image.setdefault(image, []).append(text.split())
        paired = pair_with_images(read_sentences(Path(settings.extra_text), tokenizer), by_image)
        rows = [(image, " ".join(words)) for image in sorted(paired) for words in paired[image]]
        _log.info("extra text: %d sentences for %d training images", len(rows), len(paired))
    return pd.DataFrame(rows, columns=["image", "tokens_text"], dtype=str)


def _word_table(vocabulary: Vocabulary, counts: Counter[str], min_count: int) -> "pd.DataFrame":
    import pandas as pd

    words = vocabulary.words
    return pd.DataFrame(
        {
            "word": words,
            "index": range(len(words)),
            "count": [counts[word] * (word not in SPECIAL) for word in words],
            "least_count": [0 if word in SPECIAL else min_count for word in words],
        }
    )


def _summary(captions: "pd.DataFrame", vocabulary: Vocabulary, counts: Counter[str], wordless: int) -> dict[str, float]:
    images = captions.groupby("split")["image"].nunique()
    return {
        **{f"images_{split}": int(images[split]) for split in ("train", "dev", "test")},
        "captions": len(captions),
        "captions_without_words": wordless,
        "vocabulary": len(vocabulary),
        "words_in_train": len(counts),
        "known_share_of_train_tokens": round(_known_share(vocabulary, counts), 6),
        "mean_length": round(float(captions["length"].mean()), 6),
    }
