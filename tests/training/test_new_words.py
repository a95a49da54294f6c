"""A decoder gets words by their vectors: they are used as the known nouns that are most like them."""

from itertools import chain
from pathlib import Path

import pytest

from tests.generation.tiny import decoder_of, pictures
from wordgaze.core.errors import ModelError
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.generate import generate
from wordgaze.text.vocabulary import SPECIAL, Vocabulary
from wordgaze.training.new_words import BIAS_OFFSET, add_words, class_nouns

KNOWN = Vocabulary((*SPECIAL, "a", "runs", "horse", "horses", "cup", "cups"))
VECTORS = {
    "horse": (1.0, 0.1, 0.0), "zebra": (1.0, 0.1, 0.0), "horses": (1.0, 0.0, 0.9), "zebras": (1.0, 0.0, 0.9),
    "cup": (-1.0, 0.0, 0.0), "cups": (-1.0, 0.0, 0.9), "teapot": (-1.0, 0.2, 0.0),
}  # fmt: skip


@pytest.fixture
def vectors(tmp_path: Path) -> str:
    path = tmp_path / "vectors.txt"
    path.write_text("".join(f"{word} {' '.join(map(str, row))}\n" for word, row in VECTORS.items()))
    return str(path)


def test_a_new_word_is_near_the_known_nouns_that_it_is_like(vectors: str) -> None:
    decoder, _ = decoder_of(KNOWN, 1)
    extended, vocabulary = add_words(decoder, KNOWN, vectors)
    assert vocabulary.words[: len(KNOWN)] == KNOWN.words  # the token ids of the others stay
    assert set(vocabulary.words) - set(KNOWN.words) == {"zebra", "zebras", "teapot"}  # "owl" has no vector
    for rows in (extended.embedding.weight.detach(), extended.state_dict()["lm_head.weight"]):
        for new, like in (("zebra", "horse"), ("zebras", "horses"), ("teapot", "cup")):
            distance = {
                k: float((rows[vocabulary.index[new]] - rows[vocabulary.index[k]]).norm()) for k in KNOWN.words[4:]
            }
            assert min(distance, key=distance.__getitem__) == like
    bias, before = extended.lm_head.bias.detach(), decoder.lm_head.bias.detach()
    assert float(bias[vocabulary.index["zebra"]]) < float(before[KNOWN.index["horse"]]) + BIAS_OFFSET / 2


def test_the_captions_of_before_do_not_change(vectors: str) -> None:
    decoder, _ = decoder_of(KNOWN, 1)
    extended, vocabulary = add_words(decoder, KNOWN, vectors)
    config = GenerationConfig(num_beams=3, max_new_tokens=6)
    before = chain(*generate(decoder, pictures(6), KNOWN, config))
    after = list(chain(*generate(extended, pictures(6), vocabulary, config)))
    assert [caption.words for caption in after] == [caption.words for caption in before]
    required = GenerationConfig(num_beams=3, max_new_tokens=6, force_words=["zebra"])
    assert all("zebra" in best.words for best, *_ in generate(extended, pictures(6), vocabulary, required))


def test_without_a_vector_nothing_is_added(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("lundi 1.0 2.0\n")
    with pytest.raises(ModelError, match=r"other.txt has none of the \d+ words"):
        add_words(decoder_of(KNOWN, 1)[0], KNOWN, str(tmp_path / "other.txt"))


def test_the_nouns_are_single_words_with_their_plurals() -> None:
    nouns = dict(class_nouns())
    assert nouns["goose"] == "geese"
    assert nouns["zebra"] == "zebras"
    assert not any(" " in word for word in nouns)
