"""Captions name what their image shows: with the name that is required, instead of the words that it excludes."""

import re
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch

from tests.generation.test_generate import EVERY, every_strategy
from tests.generation.tiny import decoder_of, pictures, settings, with_bias
from wordgaze.generation import generate as module
from wordgaze.generation.generate import generate
from wordgaze.generation.naming import ExcludedWordsLogitsProcessor, ObjectName
from wordgaze.generation.outputs import Caption
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import SPECIAL, Vocabulary

WORDS = Vocabulary((*SPECIAL, "a", "an", "two", "dog", "dogs", "owl", "owls", "runs", "sits", "bird"))
OWL = ObjectName(
    singular="owl",
    plural="owls",
    accepted=frozenset({"bird"}),
    excluded=(frozenset({"dog", "unheard"}), frozenset({"dogs"})),
    probability=0.8,
    classes=("great grey owl",),
)


def decoder(seed: int = 0) -> Decoder:
    return decoder_of(WORDS, seed)[0]


def captions(strategy: str, names: Sequence[ObjectName | None], seed: int = 0, **rules: object) -> list[Caption]:
    config = EVERY[strategy](**{"max_new_tokens": 6, **rules})
    return [best for best, *_ in generate(decoder(seed), pictures(6), WORDS, config, names=names)]


@every_strategy
@pytest.mark.parametrize("seed", range(4))
def test_a_caption_has_the_name_of_its_image_and_no_excluded_word(strategy: str, seed: int) -> None:
    plain = captions(strategy, [None] * 6, seed)
    named = captions(strategy, [OWL, None] * 3, seed)
    assert [c.text for c in named[1::2]] == [c.text for c in plain[1::2]]
    for before, after in zip(plain[::2], named[::2], strict=True):
        if OWL.fits(before.words):
            assert after.text == before.text  # it is named already
        else:
            assert {"owl", "owls"} & set(after.words)
            assert not {"dog", "dogs"} & set(after.words)
            assert after.naming == f"owl: the classifiers see great grey owl (80%); otherwise: {before.text}"


def test_other_words_that_name_the_object_are_as_good() -> None:
    assert OWL.fits(["a", "bird", "sits"])
    assert OWL.fits(["two", "owls"])
    assert not OWL.fits(["a", "dog", "runs"])


def test_the_name_stands_where_the_excluded_word_would_stand() -> None:
    """Two dogs become two owls: the plural takes the probability of the plural."""
    log_probs = torch.full((2, len(WORDS)), 0.01)
    log_probs[:, WORDS.index["dogs"]] = 0.7
    log_probs[:, WORDS.index["dog"]] = 0.2
    log_probs = (log_probs / log_probs.sum(1, keepdim=True)).log()
    log_probs[:, 0] = -torch.inf  # PAD, which another processor forbids
    before = log_probs.clone()
    processor = ExcludedWordsLogitsProcessor([None, OWL], WORDS, torch.device("cpu"))
    after = processor(torch.zeros(2, 0, dtype=torch.long), log_probs, torch.tensor([0, 1]))
    assert torch.equal(after[0], before[0])
    probabilities = dict(zip(WORDS.words, after[1].exp().tolist(), strict=True))
    was = dict(zip(WORDS.words, before[1].exp().tolist(), strict=True))
    assert probabilities["dog"] == probabilities["dogs"] == 0
    assert probabilities["owls"] == pytest.approx(was["owls"] + was["dogs"])
    assert probabilities["owl"] == pytest.approx(was["owl"] + was["dog"])
    assert sum(probabilities.values()) == pytest.approx(sum(was.values()))


def test_a_name_without_a_plural_takes_the_probability_of_the_plurals_too() -> None:
    only = ObjectName("owl", excluded=OWL.excluded)
    log_probs = torch.full((1, len(WORDS)), 1 / len(WORDS)).log()
    log_probs[:, 0] = -torch.inf
    after = ExcludedWordsLogitsProcessor([only], WORDS, torch.device("cpu"))(
        torch.zeros(1, 0, dtype=torch.long), log_probs, torch.tensor([0])
    )
    assert float(after[0, WORDS.index["owl"]].exp()) == pytest.approx(3 / len(WORDS))


@pytest.mark.parametrize("seed", range(6))
def test_the_article_fits_the_name(seed: int) -> None:
    biased = with_bias(decoder(seed), WORDS.index["a"], 3.0)
    found = generate(biased, pictures(6), WORDS, EVERY["beam"](max_new_tokens=6), names=[OWL] * 6)
    pairs = [pair for best, *_ in found for pair in pairwise(best.words)]
    assert ("a", "owl") not in pairs
    assert {"owl", "owls"} & {word for pair in pairs for word in pair}


@every_strategy
@pytest.mark.parametrize("seed", range(3))
def test_the_article_fits_a_forced_word_too(strategy: str, seed: int) -> None:
    """The words of the prefix stay as they are given."""
    biased = with_bias(decoder(seed), WORDS.index["a"], 3.0)
    config = EVERY[strategy](max_new_tokens=6, force_words=["bird|owl", "owls"])
    for prefix in ([], ["two", "a"]):
        for of_image in generate(biased, pictures(6), WORDS, config, prefix=prefix):
            for caption in of_image:
                assert list(caption.words[: len(prefix)]) == prefix
                pairs = set(pairwise(caption.words[len(prefix) :]))
                assert not {("a", "owl"), ("an", "bird"), ("a", "owls")} & pairs


@pytest.mark.parametrize(
    ("before", "possible"),
    [
        ("a", {"owl"}),
        ("an", {"owl"}),
        ("two", {"owls"}),
        ("group of", {"owls"}),
        ("dog of", {"owl", "owls"}),
        ("runs", {"owl", "owls"}),
        ("", {"owl", "owls"}),
    ],
)
def test_the_word_before_decides_between_singular_and_plural(before: str, possible: set[str]) -> None:
    """Neither "a boots" nor "two elephant"."""
    words = Vocabulary((*SPECIAL, "a", "an", "two", "group", "of", "dog", "owl", "owls", "runs"))
    processor = ExcludedWordsLogitsProcessor([OWL], words, torch.device("cpu"))
    token_ids = torch.tensor([[words.index[word] for word in before.split()]], dtype=torch.long)
    after = processor(token_ids, torch.zeros(1, len(words)), torch.tensor([0]))
    assert {word for word in ("owl", "owls") if after[0, words.index[word]] > -torch.inf} == possible


def test_a_name_with_one_form_may_follow_any_word() -> None:
    """It could not be said otherwise where no other word is left."""
    only = ObjectName("owl", excluded=OWL.excluded)
    processor = ExcludedWordsLogitsProcessor([only], WORDS, torch.device("cpu"))
    for word in ("a", "two"):
        after = processor(torch.tensor([[WORDS.index[word]]]), torch.zeros(1, len(WORDS)), torch.tensor([0]))
        assert after[0, WORDS.index["owl"]] > -torch.inf


def test_a_required_word_of_the_user_is_kept_beside_the_name() -> None:
    for caption in captions("beam", [OWL] * 6, force_words=["sits"]):
        assert "sits" in caption.words
        assert OWL.fits(caption.words)


NO_ANIMAL = ObjectName(absent=(frozenset({"dog", "owl", "bird"}), frozenset({"dogs", "owls"})))


@every_strategy
@pytest.mark.parametrize("seed", range(4))
def test_what_an_image_does_not_show_is_not_in_its_caption(strategy: str, seed: int) -> None:
    animals = {"dog", "dogs", "owl", "owls", "bird"}
    plain, named = (captions(strategy, [name] * 6, seed) for name in (None, NO_ANIMAL))
    assert seed in (0, 3) or any(animals & set(caption.words) for caption in plain)
    for before, after in zip(plain, named, strict=True):
        assert not animals & set(after.words)
        if not animals & set(before.words):
            assert after.text == before.text
        else:
            assert "they see nothing of the kind; otherwise: " in after.naming


def test_words_of_the_user_win_over_the_names() -> None:
    for caption in captions("beam", [OWL] * 6, force_words=["dog"]):
        assert "dog" in caption.words
        assert OWL.fits(caption.words)
    for caption in captions("beam", [OWL] * 6, bad_words=["owl", "owls"]):
        assert not {"owl", "owls"} & set(caption.words)
    assert all("dog" in caption.words for caption in captions("beam", [NO_ANIMAL] * 6, force_words=["dog"]))


ARTICLES = (*SPECIAL, "a", "an", "dog", "owl", "runs")


def with_owls(vocabulary: Vocabulary, strategy: str = "beam", **rules: object) -> list[list[str]]:
    """The captions of images by random decoders, in which an owl is forced."""
    given = {"max_new_tokens": 4, "num_return_sequences": 4, "force_words": ["owl"], **rules}
    config, found = settings(strategy, **given), []
    for seed in range(8):
        random = decoder_of(vocabulary, seed)[0]
        for word in {"a", "an"} & vocabulary.index.keys():
            with_bias(random, vocabulary.index[word], 2.0)
        found += [[each.text for each in of_image] for of_image in generate(random, pictures(4), vocabulary, config)]
    return found


def before_articles(monkeypatch: pytest.MonkeyPatch, *arguments: object, **rules: object) -> list[list[str]]:
    """The same captions as the search finds them."""
    with monkeypatch.context() as patched:
        patched.setattr(module, "with_articles", lambda words, *_: tuple(words))
        return with_owls(*arguments, **rules)


def test_a_forced_word_has_its_article_and_captions_stay_different(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = Vocabulary(ARTICLES)
    before, after = before_articles(monkeypatch, vocabulary), with_owls(vocabulary)
    assert any("a owl" in text for of_image in before for text in of_image)
    for found, fitting in zip(before, after, strict=True):
        right = [re.sub(r"\ba owl", "an owl", text) for text in found]
        assert len(set(fitting)) == len(fitting) and set(fitting) == set(right)
    assert any(len(fitting) < len(found) for found, fitting in zip(before, after, strict=True))


def test_samples_may_be_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = Vocabulary(ARTICLES)
    before, after = before_articles(monkeypatch, vocabulary, "sample"), with_owls(vocabulary, "sample")
    assert after == [[re.sub(r"\ba owl", "an owl", text) for text in found] for found in before] != before


@pytest.mark.parametrize(
    ("words", "rules"),
    [
        (ARTICLES, {"bad_words": ["an"]}),
        (ARTICLES, {"bad_words": ["an owl"]}),
        (ARTICLES, {"force_words": ["a", "owl"]}),
        (ARTICLES, {"force_words": ["a|dog", "owl"]}),
        (tuple(word for word in ARTICLES if word != "an"), {}),
    ],
)
def test_an_article_that_is_unwanted_or_unknown_is_not_put_in(
    words: tuple[str, ...], rules: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    after = with_owls(Vocabulary(words), **rules)
    assert any("a owl" in text for of_image in after for text in of_image)
    assert after == before_articles(monkeypatch, Vocabulary(words), **rules)
