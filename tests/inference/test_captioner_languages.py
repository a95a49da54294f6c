"""The folder of a captioner carries its tokenizer; captioners of other languages caption, explain and are refused alike."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from wordgaze.core.errors import CaptionsError, ModelError, ParamsError
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioner import Captioner, caption_ensemble
from wordgaze.inference.captioner_folder import load_decoder, save_captioner
from wordgaze.inference.comparison import compare_attention
from wordgaze.inference.explain_file import explain_file
from wordgaze.inference.pack import pack_captioner
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.tokenizers import Tokenizer, get_tokenizer
from wordgaze.text.tokenizers.subwords import train_subwords
from wordgaze.text.vocabulary import Vocabulary
from wordgaze.vision.encoders import Encoder

CHINESE = ["一只狗在跑步", "一个男人在睡觉"]
GERMAN = ["ein hund läuft", "zwei hunde schlafen", "eine frau läuft schnell"]


@pytest.fixture
def write(tmp_path: Path, tiny_encoder: Encoder) -> Callable[..., Path]:
    """Writes a captioner of random weights whose vocabulary are the tokens of captions."""

    def write_one(tokenizer: Tokenizer, captions: list[str], name: str = "mine", seed: int = 4) -> Path:
        vocabulary = Vocabulary.count(map(tokenizer.tokenize, captions), 1, 0, tokenizer)
        sizes = DecoderConfig(embedding_size=8, hidden_size=8, attention_size=8, feature_size=8)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            decoder = Decoder(sizes, tiny_encoder.spec.channels, len(vocabulary))
        save_captioner(tmp_path / name, decoder, vocabulary, tiny_encoder.spec, tiny_encoder.state_dict())
        return tmp_path / name

    return write_one


def test_characters_are_words_and_their_text_has_no_blanks(write: Callable[..., Path], picture: Path) -> None:
    folder = write(get_tokenizer("characters"), CHINESE)
    card = json.loads((folder / "captioner.json").read_text(encoding="utf-8"))
    assert (card["format"], card["tokenizer"]) == (6, "characters")
    captioner = Captioner.load(folder, "cpu")
    [caption, *_] = captioner.caption(picture, GenerationConfig(min_new_tokens=3, max_new_tokens=5))
    assert caption.text == "".join(caption.words) and " " not in caption.text and len(caption.words) >= 3
    explained = captioner.explain(picture, "一只狗。")
    assert [word.text for word in explained.words] == ["一", "只", "狗"]
    assert explained.to_dict()["caption"] == "一只狗"
    with pytest.raises(ModelError, match="does not know '龙'"):
        captioner.explain(picture, "一只龙")
    with pytest.raises(CaptionsError, match="has no word in it"):
        captioner.explain(picture, "。！")


def test_the_folder_of_a_captioner_of_subwords_is_all_it_needs(write: Callable[..., Path], picture: Path) -> None:
    tokenizer = train_subwords(GERMAN, 30)
    folder = write(tokenizer, GERMAN)
    assert sorted(path.name for path in folder.iterdir()) == [
        "SHA256SUMS",
        "captioner.json",
        "tokenizer.json",
        "weights.safetensors",
    ]
    captioner = Captioner.load(folder, "cpu")
    assert captioner.vocabulary.tokenizer == tokenizer
    explained = captioner.explain(picture, "Zwei Hunde schlafen!")
    assert [word.text for word in explained.words] == ["zwei", "hunde", "schlafen"]
    tokens = captioner.tokens("zwei hunde schlafen")
    assert len(tokens) > 3 and len(explained.likeliest) == 4
    assert explained.caption.log_prob == pytest.approx(captioner.force_decode(captioner.features([explained.image]), tokens)[0].log_prob)  # fmt: skip
    assert all("▁" not in word.text or word.text == "▁" for step in explained.likeliest for word in step)
    [begun, *_] = captioner.caption(picture, prefix="Zwei")
    assert begun.words[0].startswith("zwei") and "▁" not in begun.text
    config = GenerationConfig(force_words=("schlafen",), max_new_tokens=30, num_beams=2)
    assert "schlafen" in captioner.caption(picture, config)[0].text
    both = caption_ensemble([captioner, captioner], [explained.image], config)[0][0]
    assert "schlafen" in both.text and both.text == " ".join(both.words)


def test_what_is_drawn_has_words(write: Callable[..., Path], picture: Path, tmp_path: Path) -> None:
    folder = write(train_subwords(GERMAN, 30), GERMAN)
    [(name, caption)] = compare_attention(picture, "Zwei Hunde.", ["mine"], [folder], tmp_path / "rows.png")
    assert (name, caption.words) == ("mine", ("zwei", "hunde"))
    explanation = explain_file(picture, folder, "Zwei Hunde", GenerationConfig(), json=tmp_path / "a.json")
    written = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert [word["text"] for word in written["words"]] == ["zwei", "hunde"]
    assert sum(map(sum, written["words"][0]["weights"])) == pytest.approx(1, abs=1e-4)
    assert explanation.caption.text == "zwei hunde"
    explanation.draw()
    explanation.save_gif(tmp_path / "film.gif")


def test_a_packed_captioner_carries_its_tokenizer(write: Callable[..., Path], tmp_path: Path) -> None:
    folder = write(train_subwords(GERMAN, 30), GERMAN)
    pack_captioner(folder, tmp_path / "packed", dtype="fp16")
    assert (tmp_path / "packed/tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    assert load_decoder(tmp_path / "packed")[1] == load_decoder(folder)[1]


def test_captioners_of_other_tokenizers_form_no_ensemble(write: Callable[..., Path], picture: Path) -> None:
    words = ["男", "人"]
    folders = [write(get_tokenizer(name), words, name) for name in ("characters", "unicode")]
    captioners = [Captioner.load(folder, "cpu") for folder in folders]
    assert captioners[0].vocabulary.words == captioners[1].vocabulary.words
    with pytest.raises(ModelError, match="one vocabulary"):
        caption_ensemble(captioners, [captioners[0].explain(picture, "男").image], GenerationConfig())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer": "bpe"}, r"captioner.json has the tokenizer 'bpe', and this version has ptb, unicode, .*, sentencepiece"),
        ({"tokenizer": "../../etc"}, "has the tokenizer '../../etc'"),
        ({"tokenizer": "sentencepiece"}, r"tokenizer.model cannot be read"),
        ({"format": 7}, r"has format 7, and this version of wordgaze reads formats 3, 4, 5 and 6"),
    ],
)  # fmt: skip
def test_a_captioner_of_another_tokenizer_is_refused(
    write: Callable[..., Path], change: dict[str, object], message: str
) -> None:
    folder = write(get_tokenizer("unicode"), GERMAN)
    card = json.loads((folder / "captioner.json").read_text(encoding="utf-8"))
    (folder / "captioner.json").write_text(json.dumps(card | change), encoding="utf-8")
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ModelError, match=message) as caught:
        Captioner.load(folder, "cpu")
    assert "\n" not in str(caught.value)


def test_an_english_captioner_has_the_format_that_older_versions_read(write: Callable[..., Path]) -> None:
    card = json.loads((write(get_tokenizer("ptb"), ["a dog"]) / "captioner.json").read_text(encoding="utf-8"))
    assert (card["format"], card["tokenizer"]) == (5, "ptb")


def test_settings_for_english_do_nothing_and_say_so_once(
    write: Callable[..., Path], picture: Path, caplog: pytest.LogCaptureFixture
) -> None:
    captioner = Captioner.load(write(get_tokenizer("unicode-az"), ["was an in", "is on a"]), "cpu")
    config = GenerationConfig(no_dangling_end=True, max_new_tokens=2)
    for _ in range(2):
        assert captioner.caption(picture, config)[0].words
    assert caplog.text.count("no_dangling_end knows English words only") == 1
    with pytest.raises(ParamsError, match="force_words"):
        captioner.caption(picture, GenerationConfig(force_words=("龙",)))
