"""What very few pictures lead to is reported with the way out."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest
import tokenizers

from wordgaze.config.params import Params, PrepareParams
from wordgaze.core import paths
from wordgaze.core.errors import ContractError, DataError, ModelError
from wordgaze.data.records import SPLITS, Record, Split, write_records
from wordgaze.stages import prepare
from wordgaze.text.tokenizers.subwords import train_subwords


@pytest.fixture(autouse=True)
def nothing_is_tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def untracked(*_: object) -> Iterator[None]:
        yield

    def not_here(name: str, _: object) -> None:
        raise ContractError(f"{name} is checked elsewhere")

    monkeypatch.setattr(prepare, "stage_run", untracked)
    monkeypatch.setattr(prepare, "check_parts", not_here)
    monkeypatch.chdir(tmp_path)


def run(splits: list[Split], min_count: int = 1) -> None:
    records = [Record(f"{n}.jpg", (f"a dog runs {n}",), split) for n, split in enumerate(splits)]
    write_records(paths.RAW / "captions.jsonl", records)
    prepare.run(Params(prepare=PrepareParams(min_count=min_count)))


def test_a_split_without_pictures_is_reported_with_the_numbers() -> None:
    with pytest.raises(DataError, match=r"no image with words \(train 2, dev 0, test 1\); add images, raise") as caught:
        run(["train", "train", "test"])
    assert "\n" not in str(caught.value)


def test_a_vocabulary_without_words_is_reported_with_the_parameter() -> None:
    with pytest.raises(DataError, match=r"no word occurs prepare.min_count = 3 times .* 2 training images; lower"):
        run(["train", "train", "dev", "test"], min_count=3)


def test_a_caption_with_a_line_separator_does_not_stop_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 5: one caption with U+2028 or U+0085 made every run of prepare fail."""
    tables: list[pd.DataFrame] = []

    def keep(name: str, parts: Iterator[pd.DataFrame]) -> None:
        tables.extend(parts)
        raise ContractError("checked elsewhere")

    monkeypatch.setattr(prepare, "check_parts", keep)
    splits: list[Split] = ["train", "train", "dev", "test"]
    records = [Record(f"{n}.jpg", ("a dog\u2028runs", "a\x85cat"), split) for n, split in enumerate(splits)]
    write_records(paths.RAW / "captions.jsonl", records)
    with pytest.raises(ContractError):
        prepare.run(Params(prepare=PrepareParams(min_count=1)))
    assert tables[0]["tokens_text"].tolist() == ["a dog runs", "a cat"] * 4


def test_a_vocabulary_of_few_words_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    splits: list[Split] = [*("train" for _ in range(20)), "dev", "test"]
    with caplog.at_level(logging.WARNING), pytest.raises(ContractError):
        run(splits)
    assert caplog.text == ""
    with pytest.raises(ContractError):
        run(["train", "train", "train", "dev", "test"], min_count=3)
    assert caplog.text == ""  # 9 of 12 tokens are known
    records = [Record(f"{n}.jpg", (f"dog {n} {n + 100}",), split) for n, split in enumerate(splits)]
    write_records(paths.RAW / "captions.jsonl", records)
    with pytest.raises(ContractError):
        prepare.run(Params(prepare=PrepareParams(min_count=3)))
    assert "has 1 of 41 words, 33 % of the training tokens; lower prepare.min_count = 3" in caplog.text


CLAUSES = ("一个男人在公园里跑步。", "一只狗在草地上奔跑，很快。", "เด็กผู้ชายกำลังวิ่งเล่นในสวน")


def prepared(captions: Sequence[str], **settings: object) -> None:
    """Runs the stage on training images with one caption each, and one image in dev and in test."""
    texts = [*captions, captions[0], captions[0]]
    splits: list[Split] = [*["train" for _ in captions], "dev", "test"]
    records = [Record(f"{n}.jpg", (text,), split) for n, (text, split) in enumerate(zip(texts, splits, strict=True))]
    write_records(paths.RAW / "captions.jsonl", records)
    with contextlib.suppress(ContractError):
        prepare.run(Params(prepare=PrepareParams.model_validate({"min_count": 1, **settings})))


def test_case_language_without_spaces_is_warned_of_with_the_cause_and_the_way_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    prepared(CLAUSES)
    [record] = caplog.records
    assert record.getMessage() == (
        "most captions are one long word to the tokenizer ptb: their script writes no blanks between words; set"
        " prepare.tokenizer=characters"
    )
    caplog.clear()
    with pytest.raises(
        DataError, match=r"min_count = 5 times .*; most captions are one long word: .*=characters"
    ) as caught:
        prepared(CLAUSES, min_count=5)
    assert "lower prepare.min_count" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("tokenizer", ["characters", "unicode", "subwords"])
def test_case_language_without_spaces_has_tokens_by_another_tokenizer(
    tokenizer: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tables: list[pd.DataFrame] = []

    def keep(name: str, parts: Iterator[pd.DataFrame]) -> None:
        tables.extend(parts)
        raise ContractError("checked elsewhere")

    monkeypatch.setattr(prepare, "check_parts", keep)
    prepared(CLAUSES[:2] * 4, tokenizer=tokenizer)
    assert caplog.text == ""
    assert tables[0]["length"].mean() > 8
    assert tables[0]["tokens_text"][0].replace("▁", "").split()[:4] == list("一个男人")


def test_subwords_are_trained_on_the_training_captions_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def train(texts: Iterator[str], size: int, min_count: int) -> object:
        seen.extend(texts)
        assert (size, min_count) == (70, 2)
        return train_subwords(seen, size, min_count)

    monkeypatch.setattr("wordgaze.data.preparation.train_subwords", train)
    records = [Record(f"{n}.jpg", (f"Ein Hund {split}",), split) for n, split in enumerate(SPLITS)]
    write_records(paths.RAW / "captions.jsonl", records)
    with contextlib.suppress(ContractError):
        prepare.run(Params(prepare=PrepareParams(tokenizer="subwords", max_vocabulary=70, min_count=2)))
    assert seen == ["Ein Hund train"]


def test_many_cut_captions_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    prepared(["一个男人在公园里跑步", "一只狗"], tokenizer="characters", max_words=4)
    assert (
        "50 % of the training captions have more than prepare.max_words = 4 tokens and are cut; raise it" in caplog.text
    )


def test_a_tokenizer_that_does_not_give_captions_back_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """One drops the vowels of Hindi, as BERT's for English does; the other does not say where words begin."""
    captions = ["एक कुत्ता दौड़ रहा है", "a dog's ball"]
    letters = {char: n for n, char in enumerate(dict.fromkeys("".join(captions)))}
    bert = tokenizers.Tokenizer(tokenizers.models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    bert.normalizer, bert.decoder = tokenizers.normalizers.BertNormalizer(), tokenizers.decoders.WordPiece()
    bert.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    trainer = tokenizers.trainers.WordPieceTrainer(vocab_size=90, special_tokens=["[UNK]"], show_progress=False)
    bert.train_from_iterator(captions, trainer)
    unmarked = tokenizers.Tokenizer(tokenizers.models.BPE(letters, []))
    unmarked.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    for backend, shown in ((bert, "to 'एक कतता दौड रहा ह'"), (unmarked, "to 'ए क क")):
        backend.save("mine.json")
        caplog.clear()
        prepared(captions, tokenizer="mine.json")
        assert "changes the words of 100 % of the training captions" in caplog.text and shown in caplog.text
    caplog.clear()
    prepared(captions, tokenizer="subwords")
    assert caplog.text == ""


def test_a_tokenizer_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match=r"mine/tokenizer.json cannot be read \(No such file"):
        prepared(["a dog"], tokenizer="mine/tokenizer.json")
