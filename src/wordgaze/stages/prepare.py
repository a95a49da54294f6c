"""Stage ``prepare``: cleaning, tokenization, splits by image, and the vocabulary of the training captions."""

import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from wordgaze.config.params import Params, PrepareParams
from wordgaze.core import paths
from wordgaze.core.errors import DataError
from wordgaze.core.files import atomic_directory, atomic_write, write_json, write_text
from wordgaze.data.caption_table import CaptionCounts, caption_parts, write_caption_table
from wordgaze.data.contracts import check, check_parts
from wordgaze.data.extra_text import pair_with_images, read_sentences
from wordgaze.data.object_boxes import BOXES, relative_boxes, write_boxes
from wordgaze.data.preparation import CaptionTokens, least_count, tokenizer_of_params
from wordgaze.data.prepared import CAPTIONS, EXTRA_TEXT, VOCABULARY, write_prepared_checksums
from wordgaze.data.records import SPLITS, SplitAssigner, iterate_records
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
    """Writes ``data/prepared``: ``captions.parquet``, ``vocabulary.json``, a summary and the contracts' reports.

    Captions are read and written one part at a time, so that the memory depends on their number by a few bytes each.
    """
    settings = params.prepare
    source = paths.RAW / "captions.jsonl"
    splits = SplitAssigner(iterate_records(source), settings.dev_share, settings.test_share)
    with (
        stage_run("prepare", {"prepare": settings.model_dump()}) as tracked,
        atomic_directory(paths.PREPARED) as folder,
    ):
        tokenizer = tokenizer_of_params(settings, map(splits.assigned, iterate_records(source)))
        captions = CaptionTokens(map(splits.assigned, iterate_records(source)), tokenizer)
        counts = write_caption_table(folder / CAPTIONS, captions, settings.max_words)
        extra = _extra_captions(settings, folder / CAPTIONS, counts, tokenizer)
        for text in extra["tokens_text"]:
            counts.words.update(text.split())
        min_count = least_count(settings, tokenizer)
        vocabulary = Vocabulary.of_counts(counts.words, min_count, settings.max_vocabulary, tokenizer)
        _check_usable(counts, vocabulary, settings, is_unsegmented(counts.words, counts.num_train + len(extra)))
        contracts = [
            check_parts("captions", caption_parts(folder / CAPTIONS, counts)),
            check("vocabulary", _word_table(vocabulary, counts.words, min_count)),
        ]
        for contract in contracts:
            write_text(folder / f"contract_{contract.name}.json", contract.to_json())
            log_contract(tracked, contract)
        with atomic_write(folder / EXTRA_TEXT) as temporary:
            extra.to_parquet(temporary, index=False)
        _write_vocabulary(folder, vocabulary, counts.words)
        write_boxes(folder, relative_boxes(map(splits.assigned, iterate_records(source)), paths.RAW / "images"))
        write_prepared_checksums(folder, [BOXES, *vocabulary.tokenizer.files()])
        summary = _summary(counts, vocabulary, captions.num_wordless) | {"extra_sentences": len(extra)}
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
    counts: CaptionCounts, vocabulary: Vocabulary, settings: PrepareParams, is_unsegmented_text: bool
) -> None:
    """Raises DataError for an empty split or vocabulary, which few images can lead to; warns of a low coverage, of
    captions whose words were not found, and of many captions that are cut."""
    images = counts.num_images()
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
    _warn_of_cut_captions(counts, settings)
    _warn_of_lost_text(counts, vocabulary.tokenizer)
    known = _known_share(vocabulary, counts.words)
    if known < MIN_COVERAGE:
        _log.warning(
            "the vocabulary has %d of %d words, %.0f %% of the training tokens; lower prepare.min_count = %d",
            len(vocabulary) - len(SPECIAL), len(counts.words), 100 * known, settings.min_count,
        )  # fmt: skip


def _warn_of_cut_captions(counts: CaptionCounts, settings: PrepareParams) -> None:
    cut = counts.num_cut / counts.num_train
    if cut > MAX_CUT:
        _log.warning(
            "%.0f %% of the training captions have more than prepare.max_words = %d tokens and are cut; raise it, and"
            " generation.max_new_tokens with it", 100 * cut, settings.max_words,
        )  # fmt: skip


def _warn_of_lost_text(counts: CaptionCounts, tokenizer: Tokenizer) -> None:
    """Warns of a tokenizer that does not give captions back, because it drops accents or where words begin."""
    if tokenizer.has_words:
        return
    read = [(text, tokenizer.join(tokens.split())) for text, tokens in counts.sample]
    changed = [pair for pair in read if tokenizer.scoring.tokenize(pair[0]) != tokenizer.scoring.tokenize(pair[1])]
    if len(changed) > MAX_CHANGED * len(read):
        _log.warning(
            "the tokenizer changes the words of %.0f %% of the training captions, such as %r to %r, which generated "
            "captions will resemble; give one that keeps letters, accents and where words begin, or subwords",
            100 * len(changed) / len(read), *changed[0],
        )  # fmt: skip


def _known_share(vocabulary: Vocabulary, counts: Counter[str]) -> float:
    return sum(counts[word] for word in vocabulary.words[len(SPECIAL) :]) / counts.total()


def _extra_captions(
    settings: PrepareParams, table: Path, counts: CaptionCounts, tokenizer: Tokenizer
) -> "pd.DataFrame":
    """The sentences of ``extra_text``, one row each, with the training image that a sentence is paired with."""
    import pandas as pd

    rows = []
    if settings.extra_text:
        by_image: dict[str, list[list[str]]] = {}
        for part in caption_parts(table, counts) if counts.num_train else ():
            train = part[part["split"] == "train"]
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


def _summary(counts: CaptionCounts, vocabulary: Vocabulary, wordless: int) -> dict[str, float]:
    images = counts.num_images()
    return {
        **{f"images_{split}": images[split] for split in SPLITS},
        "captions": counts.num_captions,
        "captions_without_words": wordless,
        "vocabulary": len(vocabulary),
        "words_in_train": len(counts.words),
        "known_share_of_train_tokens": round(_known_share(vocabulary, counts.words), 6),
        "mean_length": round(counts.num_tokens / counts.num_captions, 6),
    }
