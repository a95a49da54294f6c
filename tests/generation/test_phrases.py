"""Forced and forbidden words that consist of several tokens."""

import pytest
import torch

from tests.generation.tiny import decoder_of, pictures, settings, with_bias
from wordgaze.core.errors import ParamsError
from wordgaze.generation.caption_words import in_words
from wordgaze.generation.generate import generate
from wordgaze.generation.phrases import BadPhrasesLogitsProcessor, ForcePhrasesLogitsProcessor
from wordgaze.text.tokenizers import get_tokenizer
from wordgaze.text.tokenizers.subwords import train_subwords
from wordgaze.text.vocabulary import END, SPECIAL, Vocabulary

VOCABULARY = Vocabulary((*SPECIAL, *"男人女孩狗在跑步a"), get_tokenizer("characters"))
STRATEGIES = [
    {"strategy": "beam", "num_beams": 3},
    {"strategy": "greedy"},
    {"strategy": "sample", "num_return_sequences": 4},
    {"strategy": "diverse", "num_beams": 4, "num_beam_groups": 2},
    {"strategy": "mbr", "num_beams": 2, "mbr_samples": 3},
]


def texts(max_new_tokens: int = 8, **values: object) -> list[str]:
    decoder, vocabulary = decoder_of(VOCABULARY, 3)
    config = settings(str(values.pop("strategy")), max_new_tokens=max_new_tokens, **values)
    found = generate(decoder, pictures(6), vocabulary, config)
    return ["".join(caption.words) for of_image in found for caption in of_image]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda values: str(values["strategy"]))
@pytest.mark.parametrize("words", [("男人",), ("女孩|男人", "跑步"), ("狗在跑步",), ("狗", "女孩")])
def test_words_of_several_tokens_occur_as_a_whole(strategy: dict[str, object], words: tuple[str, ...]) -> None:
    found = texts(force_words=words, **strategy)
    assert len(found) >= 6
    for text in found:
        for entry in words:
            assert any(word in text for word in entry.split("|")), (text, entry)


def test_there_is_just_room_for_the_words() -> None:
    assert all(sorted(text) == sorted("男人跑步") for text in texts(4, strategy="beam", force_words=("男人", "跑步")))
    with pytest.raises(ParamsError, match="max_new_tokens is 3"):
        texts(3, strategy="beam", force_words=("男人", "跑步"))


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda values: str(values["strategy"]))
def test_a_forbidden_word_does_not_occur_but_its_characters_may(strategy: dict[str, object]) -> None:
    free = "|".join(texts(20, **strategy, min_new_tokens=12))
    pair = next(free[i : i + 2] for i in range(len(free)) if free[i : i + 2] != free[i + 1 : i + 3] and "|" not in free[i : i + 2] and free[i] != free[i + 1])  # fmt: skip
    found = texts(20, bad_words=(pair,), **strategy, min_new_tokens=12)
    assert all(pair not in text for text in found)
    assert any(pair[0] in text for text in found)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda values: str(values["strategy"]))
@pytest.mark.parametrize(
    "words", [("男人男女",), ("狗在男", "男人男狗"), ("狗|男人女孩",), ("男女|男人女孩", "女孩狗")]
)
def test_every_caption_has_words_that_overlap_or_differ_in_length(
    strategy: dict[str, object], words: tuple[str, ...]
) -> None:
    """A phrase that is begun within another one, or that has no room any more, does not lead into a dead end."""
    for room in range(sum(min(map(len, entry.split("|"))) for entry in words), 10):
        found = texts(room, force_words=words, **strategy)
        assert len(found) >= 6
        assert all(any(word in text for word in entry.split("|")) for text in found for entry in words)


def test_words_that_cannot_occur_are_refused() -> None:
    for words, bad in ((("龙",), ()), (("男龙",), ()), (("男人",), ("男人",))):
        with pytest.raises(ParamsError, match="is not in the vocabulary of the captioner, or is in bad_words"):
            texts(strategy="beam", force_words=words, bad_words=bad)
    assert all("男人" in text for text in texts(strategy="beam", force_words=("男人",), bad_words=("人男", "龙")))


def test_what_was_begun_must_be_completed() -> None:
    processor = ForcePhrasesLogitsProcessor([[(4, 5, 6), (7,)], [(8, 9)]], 1, 12, 10, torch.device("cpu"))
    image = torch.zeros(1, dtype=torch.long)

    def allowed(*tokens: int) -> set[int]:
        log_probs = torch.zeros(1, 12)
        row = torch.tensor([tokens], dtype=torch.long).view(1, -1)
        return set((processor(row, log_probs, image)[0] == 0).nonzero().flatten().tolist())

    every = set(range(12))
    assert allowed() == every - {END}
    assert allowed(4) == {5} and allowed(10, 4, 5) == {6}
    assert allowed(4, 5, 6) == every - {END} and allowed(7, 8) == {9}
    assert allowed(7, 4) == every - {END}  # the first word is there already
    assert allowed(7, 8, 9) == every
    missing = processor.num_missing(torch.tensor([[4, 5], [10, 4], [7, 8], [10, 10]]), image.expand(4))
    assert missing.tolist() == [1 + 2, 2 + 2, 1, 1 + 2]
    assert processor.fulfilled(torch.tensor([[4, 5]]), image).tolist() == [[True, False]]


def test_the_last_token_of_a_forbidden_phrase_does_not_follow() -> None:
    processor = BadPhrasesLogitsProcessor([(4, 5), (4, 6, 7)], torch.device("cpu"))
    log_probs = processor(torch.tensor([[4], [5]]), torch.zeros(2, 8), torch.tensor([0, 0]))
    assert (log_probs == -torch.inf).nonzero().tolist() == [[0, 5]]
    log_probs = processor(torch.tensor([[4, 6]]), torch.zeros(1, 8), torch.tensor([0]))
    assert (log_probs == -torch.inf).nonzero().tolist() == [[0, 7]]


def test_a_forced_word_is_not_the_beginning_of_a_longer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = train_subwords(["hund", "hunde", "hundert", "ein hund", "läuft schnell"], 27)
    vocabulary = Vocabulary.count([tokenizer.tokenize("ein hundert hunde hund läuft schnell")], 1, 0, tokenizer)
    decoder, _ = decoder_of(vocabulary, 3)
    with_bias(decoder, vocabulary.index["rt"], 4.0)  # so that words go on
    for word in ("hund", "hunde"):
        config = settings("beam", num_beams=3, max_new_tokens=12, force_words=(word,))
        found = generate(decoder, pictures(6), vocabulary, config)
        assert all(word in in_words(best, tokenizer).words for best, *_ in found)
    both = settings("beam", num_beams=3, max_new_tokens=12, force_words=("hund", "hunde"))
    found = generate(decoder, pictures(6), vocabulary, both)
    assert all("hunde" in in_words(best, tokenizer).words for best, *_ in found)
    monkeypatch.setattr("wordgaze.generation.logits_processor_list.continuations", lambda *_: ())
    config = settings("beam", num_beams=3, max_new_tokens=12, force_words=("hund",))
    found = generate(decoder, pictures(6), vocabulary, config)
    assert not all("hund" in in_words(best, tokenizer).words for best, *_ in found)
