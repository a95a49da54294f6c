"""Subwords: trained twice, read from files, joined to words, refused where they are not data of a tokenizer."""

import io
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import sentencepiece
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from wordgaze.core.errors import ModelError
from wordgaze.text.tokenizers import Tokenizer, WordSpan, get_tokenizer, read_tokenizer, stored_tokenizer
from wordgaze.text.tokenizers import subwords as module
from wordgaze.text.tokenizers.subwords import UNKNOWN, SubwordTokenizer, train_subwords

GERMAN = [
    "Ein Hund läuft über die Wiese.", "Zwei Hunde spielen im Schnee!", "Ein Mann fährt Fahrrad, 3,5 km weit.",
    "Die Frau geht's ruhig an.", "Der Hundeschlitten fährt durch den Schnee.",
]  # fmt: skip
MIXED = [*GERMAN, "一个男人在跑步。", "テレビを見る", "เด็กผู้ชายกำลังวิ่ง", "الكَلْبُ يَجْرِي", "एक कुत्ता दौड़ रहा है।"]
SOURCE = Path(__file__).parents[3] / "src"


def test_the_same_captions_give_the_same_bytes_in_another_process() -> None:
    code = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]); from wordgaze.text.tokenizers.subwords import *;"
        "print(hashlib.sha256(train_subwords(sys.argv[2:], 150).data).hexdigest())"
    )
    command = [sys.executable, "-c", code, str(SOURCE), *MIXED * 3]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first == second and len(first.strip()) == 64


def test_words_consist_of_subwords_without_punctuation() -> None:
    tokenizer = train_subwords(GERMAN, 40)
    tokens = tokenizer.tokenize("Zwei Hundeschlitten, im SCHNEE.")
    assert tokenizer.join(tokens) == "zwei hundeschlitten im schnee"
    spans = tokenizer.spans(tokens)
    assert [span.text for span in spans] == ["zwei", "hundeschlitten", "im", "schnee"]
    assert sum(span.num_tokens for span in spans) == len(tokens) > 4
    assert tokenizer.tokens_of([span.text for span in spans]) == tokens
    assert len(train_subwords(GERMAN, 40).tokenize("Wiese")) > len(train_subwords(GERMAN, 400).tokenize("Wiese"))


def test_subwords_of_scripts_without_blanks_are_shown_one_by_one() -> None:
    tokenizer = train_subwords(MIXED, 400)
    tokens = tokenizer.tokenize("一个男人 3 NBA")
    assert tokenizer.join(tokens).startswith("一个男人")
    assert [span.text for span in tokenizer.spans(tokens)][:4] == list("一个男人")
    thai = tokenizer.tokenize("เด็กผู้ชายกำลังวิ่ง")
    assert "".join(span.text for span in tokenizer.spans(thai)) == "เด็กผู้ชายกำลังวิ่ง"
    assert max(map(len, thai)) <= module.MAX_LETTERS + 1


def test_unknown_letters_are_one_token_that_has_no_text() -> None:
    tokenizer = train_subwords(GERMAN, 200)
    tokens = tokenizer.tokenize("Ein Жук läuft")
    assert UNKNOWN in tokens
    assert tokenizer.join(tokens).replace("  ", " ") == "ein läuft"
    assert sum(span.num_tokens for span in tokenizer.spans(tokens)) == len(tokens)
    assert tokenizer.tokenize(" … ") == [] and tokenizer.join([]) == "" and tokenizer.spans([]) == []


TRAINED = train_subwords(MIXED * 2, 300)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(sorted(set("".join(MIXED)) - set("’"))), max_size=20).map("".join))
def test_the_joined_subwords_have_the_same_subwords(text: str) -> None:
    tokens = TRAINED.tokenize(text)
    assert all(token.split() == [token] for token in tokens)
    if UNKNOWN not in tokens:
        assert TRAINED.tokenize(TRAINED.join(tokens)) == tokens
    spans = TRAINED.spans(tokens)
    assert sum(span.num_tokens for span in spans) == len(tokens)


@pytest.fixture
def sentencepiece_file(tmp_path: Path) -> Path:
    """A model of SentencePiece with bytes for unknown characters."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(MIXED * 10), model_writer=model, vocab_size=400, byte_fallback=True,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    path = tmp_path / "mine.model"
    path.write_bytes(model.getvalue())
    return path


def test_a_model_of_sentencepiece_is_read_and_travels_as_its_file(sentencepiece_file: Path, tmp_path: Path) -> None:
    tokenizer = read_tokenizer(sentencepiece_file)
    assert (tokenizer.name, tokenizer.scoring) == ("sentencepiece", get_tokenizer("characters"))
    tokens = tokenizer.tokenize("Ein Hund läuft")
    assert tokenizer.join(tokens) == "Ein Hund läuft"
    assert [span.text for span in tokenizer.spans(tokens)] == ["Ein", "Hund", "läuft"]
    [(name, data)] = tokenizer.files().items()
    (tmp_path / name).write_bytes(data)
    assert stored_tokenizer("sentencepiece", tmp_path) == tokenizer


def test_the_bytes_of_an_unknown_character_are_one_word(sentencepiece_file: Path) -> None:
    tokenizer = read_tokenizer(sentencepiece_file)
    tokens = tokenizer.tokenize("Hund Ж龍")
    assert sum(token.startswith("<0x") for token in tokens) == 5
    spans = tokenizer.spans(tokens)
    assert [span.text for span in spans] == ["Hund", "Ж龍"]
    assert sum(span.num_tokens for span in spans) == len(tokens)


def word_pieces() -> tokenizers.Tokenizer:
    """A tokenizer as those of BERT."""
    pieces = ["[UNK]", "[CLS]", "[SEP]", "ein", "hund", "##e", "##schlitten", "läuft"]
    backend = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    backend.normalizer = tokenizers.normalizers.Lowercase()
    backend.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    backend.decoder = tokenizers.decoders.WordPiece()
    backend.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    backend.enable_truncation(3)
    backend.enable_padding(length=20)
    return backend


def test_a_tokenizer_of_hugging_face_is_read_without_its_special_tokens(tmp_path: Path) -> None:
    path = tmp_path / "bert.json"
    path.write_text(word_pieces().to_str(), encoding="utf-8")
    tokenizer = read_tokenizer(path)
    tokens = tokenizer.tokenize("Ein Hundeschlitten läuft gut")
    assert tokens == ["ein", "hund", "##e", "##schlitten", "läuft", UNKNOWN]
    assert tokenizer.join(tokens) == "ein hundeschlitten läuft"
    assert tokenizer.spans(tokens)[:2] == [WordSpan("ein", 1), WordSpan("hundeschlitten", 3)]


def test_a_character_that_a_unigram_model_lacks_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "unigram.json"
    backend = tokenizers.Tokenizer(tokenizers.models.Unigram([("<unk>", 0.0), ("▁", -1.0), ("a", -2.0)], unk_id=0))
    backend.pre_tokenizer, backend.decoder = tokenizers.pre_tokenizers.Metaspace(), tokenizers.decoders.Metaspace()
    path.write_text(backend.to_str(), encoding="utf-8")
    assert read_tokenizer(path).tokenize("a Ж") == ["▁", "a", "▁", UNKNOWN]


def test_the_first_word_of_a_caption_has_the_tokens_of_any_other(tmp_path: Path) -> None:
    """The tokenizer of GPT-2 marks a word by the blank before it, which the first word lacks."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(MIXED * 5, trainer)
    path = tmp_path / "gpt2.json"
    path.write_text(backend.to_str(), encoding="utf-8")
    tokenizer = read_tokenizer(path)
    assert tokenizer.tokenize("Ein Hund Ein Hund") == 2 * tokenizer.tokenize("Ein Hund")
    assert tokenizer.tokenize("Hund") == tokenizer.tokenize("Ein Hund")[-len(tokenizer.tokenize("Hund")) :]
    assert tokenizer.join(tokenizer.tokenize("Ein Hund")) == "Ein Hund" and tokenizer.tokenize("") == []


def test_tokens_with_blanks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, " ": 1, "<unk>": 2}, unk_token="<unk>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split(" ", "isolated")
    path.write_text(backend.to_str(), encoding="utf-8")
    with pytest.raises(ModelError, match="gives ' ', which contains a blank"):
        read_tokenizer(path).tokenize("a a")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", b"{}", "is not a tokenizer.json of Hugging Face"),
        ("tokenizer.json", b"\xff\xfe", "is not a tokenizer.json of Hugging Face"),
        ("tokenizer.model", b"nothing", "is not a model of SentencePiece"),
        ("tokenizer.model", b"", "is not a model of SentencePiece"),
        ("tokenizer.pkl", b"cos\nsystem\n", "is not a tokenizer; give a tokenizer.json"),
        ("missing.json", None, "cannot be read"),
    ],
)
def test_other_files_are_refused_in_one_line_that_names_them(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        read_tokenizer(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_the_tokenizer_of_another_vocabulary_is_refused(sentencepiece_file: Path, tmp_path: Path) -> None:
    """Captions would lose the tokens that it lacks."""
    (tmp_path / "tokenizer.json").write_bytes(train_subwords(GERMAN, 60).data)
    sentencepiece_file.rename(tmp_path / "tokenizer.model")
    for name in ("subwords", "sentencepiece"):
        own = stored_tokenizer(name, tmp_path)
        assert stored_tokenizer(name, tmp_path, own.tokenize("Ein Hund läuft")) == own
        with pytest.raises(ModelError, match=r"of another captioner: it lacks 1 tokens, such as '▁Жук'; restore"):
            stored_tokenizer(name, tmp_path, ["▁Жук"])


def test_a_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordgaze.text.tokenizers.MAX_FILE_BYTES", 1 << 20)
    (tmp_path / "large.json").write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(ModelError, match=r"large.json has more than 1 MiB"):
        read_tokenizer(tmp_path / "large.json")


@pytest.mark.parametrize("library", ["tokenizers", "sentencepiece"])
def test_a_missing_library_is_named_with_the_way_to_install_it(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    kinds: dict[str, type] = {"tokenizers": SubwordTokenizer, "sentencepiece": module.SentencePieceTokenizer}
    tokenizer: Tokenizer = kinds[library](b"{}")
    with pytest.raises(ModelError, match=rf'needs {library}, .* run pip install "wordgaze\[languages\]"'):
        tokenizer.tokenize("a")


def test_tokenizers_are_sent_to_worker_processes(sentencepiece_file: Path) -> None:
    for tokenizer in (TRAINED, read_tokenizer(sentencepiece_file)):
        tokens = tokenizer.tokenize("ein hund")
        again = pickle.loads(pickle.dumps(tokenizer))  # noqa: S301 (made here)
        assert again == tokenizer and again.tokenize("ein hund") == tokens
