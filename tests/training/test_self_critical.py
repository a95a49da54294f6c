"""Self-critical training: the estimator against the exact gradient of the expected reward, and what is rewarded."""

from collections.abc import Sequence
from itertools import chain, product

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models.variants import WORDS, decoder_of, pictures
from wordgaze.config.params import Stage2Params
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.generate import generate
from wordgaze.generation.outputs import Caption, FinishReason
from wordgaze.metrics.bleu import Bleu
from wordgaze.metrics.cider import Cider
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import END, PAD, SPECIAL, START, UNK, Vocabulary
from wordgaze.training import self_critical
from wordgaze.training.batches import Batch, pad_captions
from wordgaze.training.self_critical import Reward, SelfCriticalLoss, failure_rates, leave_one_out_baseline

LONGEST = 2
VOCABULARY = Vocabulary((*SPECIAL, *"abcde"))
REFERENCES = {"p": [["a", "b"], ["a"]], "q": [["c", "a"], ["d", "e"]], "r": [["b", "c"]]}
GIVEN = [[4, 5, END], [4, END]]  # 2.5 words a caption
COPIES, COUNT = 16, 60
TEMPERATURE = 0.8


def critical(references: dict[str, list[list[str]]] = REFERENCES, longest: int = LONGEST) -> SelfCriticalLoss:
    return SelfCriticalLoss(
        VOCABULARY, references, Stage2Params(num_samples=4, sample_temperature=TEMPERATURE), longest
    )


def flat_gradient(decoder: Decoder, value: Tensor) -> Tensor:
    gradients = torch.autograd.grad(value, list(decoder.parameters()), allow_unused=True)
    every = zip(gradients, decoder.parameters(), strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in every])


def every_caption() -> list[list[int]]:
    """All captions of at most two words; those of two are cut there."""
    words = range(len(SPECIAL), WORDS)
    return [[END], *([word, END] for word in words), *map(list, product(words, repeat=LONGEST))]


def probability(decoder: Decoder, picture: Tensor, caption: Sequence[int]) -> Tensor:
    memory = decoder.encode(picture.unsqueeze(0))
    state, last, total = decoder.init_state(memory, 1), START, torch.zeros(())
    for word in caption:
        output = decoder.step(torch.tensor([last]), decoder.prepare_step(state, memory), memory)
        possible = [i for i in range(WORDS) if i not in (PAD, START, UNK)]
        logits = output.logits[0] / TEMPERATURE
        total = total + logits[word] - logits[possible].logsumexp(0)
        state, last = output.state, word
    return total.exp()


def exact_gradient(decoder: Decoder) -> Tensor:
    """Of the reward of a caption drawn for "p" or "q", in the mean."""
    truths = [[[*words, "<end>"] for words in of_one] for of_one in REFERENCES.values()]
    captions, expected, total = every_caption(), torch.zeros(()), torch.zeros(())
    for place, picture in enumerate(pictures(2)):
        texts = [[VOCABULARY.words[i] for i in caption] for caption in captions]
        rewards = Cider(truths).reward([place] * len(texts), texts)
        for caption, reward in zip(captions, rewards, strict=True):
            likely = probability(decoder, picture, caption)
            expected, total = expected + likely * reward / 2, total + likely
    assert total.item() == pytest.approx(2)  # no caption is left out
    return flat_gradient(decoder, expected)


def estimates(decoder: Decoder, count: int) -> Tensor:
    """(count, parameters), each from ``COPIES`` times both pictures: of the gradient of the reward, minus the loss."""
    torch.manual_seed(0)
    batch = Batch(pictures(2).repeat(COPIES, 1, 1), pad_captions([GIVEN] * 2 * COPIES), ("p", "q") * COPIES)
    minimise, found = critical(), []
    for _ in range(count):
        loss = minimise(decoder, decoder, batch.features, batch)
        found.append(flat_gradient(decoder, -2.5 * loss.loss))
    return torch.stack(found)


@pytest.mark.parametrize("position", ["first", "between"])
def test_the_mean_of_the_estimates_is_the_exact_gradient(position: str) -> None:
    decoder = decoder_of(attention_position=position, num_layers=2)
    exact, found = exact_gradient(decoder), estimates(decoder, COUNT)
    error = (found.mean(0) - exact).norm()
    expected = (found.var(0).sum() / COUNT).sqrt()  # of a mean of so many independent estimates
    assert error < 1.5 * expected
    assert expected < 0.1 * exact.norm()


def test_the_mean_of_the_others_lowers_the_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = decoder_of()
    with_it = estimates(decoder, COUNT)
    monkeypatch.setattr(self_critical, "leave_one_out_baseline", torch.zeros_like)
    without = estimates(decoder, COUNT)
    assert with_it.var(0).sum() < 0.85 * without.var(0).sum()


def test_each_caption_gets_its_own_reward_in_whatever_order_they_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four captions of each image, not sorted by length, against log-probabilities computed one caption at a time."""
    drawn = [["a", "a b", "", "b c"], ["d e", "", "c a", "c"]]
    captions = [[caption(text, "length" if " " in text else "end") for text in texts] for texts in drawn]
    decoder, minimise = decoder_of(), critical()
    monkeypatch.setattr(minimise, "draw", lambda *_: captions)
    batch = Batch(pictures(2), pad_captions([GIVEN] * 2), ("p", "q"))
    loss = minimise(decoder, decoder.eval(), batch.features, batch)
    rewards = minimise.reward(("p", "q"), captions)
    assert len(set(rewards[0].tolist())) > 2
    advantages, expected = rewards - leave_one_out_baseline(rewards), torch.zeros(())
    for b, texts in enumerate(drawn):
        for r, text in enumerate(texts):
            words = [VOCABULARY.index[word] for word in text.split()] + ([] if " " in text else [END])
            expected = expected - advantages[b, r] * probability(decoder, batch.features[b], words).log()
    torch.testing.assert_close(loss.loss, expected / 8 / 2.5, atol=1e-5, rtol=1e-4)


def test_the_baseline_is_the_mean_of_the_others() -> None:
    rewards = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])
    assert torch.equal(leave_one_out_baseline(rewards), torch.tensor([[4.0, 3.5, 1.5], [1.5, 1.5, 0.0]]))


def greedy(decoder: Decoder, features: Tensor, longest: int) -> list[Caption]:
    params = GenerationConfig(strategy="greedy", max_new_tokens=longest)
    return [of_one[0] for of_one in generate(decoder, features, VOCABULARY, params)]


def test_the_captions_of_greedy_decoding_come_to_be_worth_more() -> None:
    references = {"p": [["a", "b", "c"]], "q": [["c", "a"]], "r": [["e", "b"]]}
    decoder, features = decoder_of(), 3 * pictures(3)
    minimise, optimizer = critical(references, 4), torch.optim.Adam(decoder.parameters(), lr=0.05)
    given = pad_captions([[[4, 5, 6, END]], [[6, 4, END]], [[8, 5, END]]])
    torch.manual_seed(1)

    def worth() -> float:
        return float(minimise.reward(tuple(references), [[c] for c in greedy(decoder, features, 4)]).mean())

    before, rewards = worth(), []
    for _ in range(60):
        loss = minimise(decoder, decoder, features, Batch(features, given, tuple(references)))
        optimizer.zero_grad()
        loss.loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        assert loss.metrics["train_loss"] == -loss.metrics["train_reward"]
        rewards.append(loss.metrics["train_reward"])
    assert worth() > before + 2
    assert np.mean(rewards[-20:]) > 2 * np.mean(rewards[:20])


def caption(text: str, ended: FinishReason = "end") -> Caption:
    return Caption(tuple(text.split()), 0.0, 0.0, (), np.zeros((0, 1, 1), np.float32), ended)


def test_an_ending_is_rewarded_as_a_word_is() -> None:
    truths = {"p": ["a dog runs in the snow".split()], "q": ["a cat sleeps".split()]}
    drawn = [
        caption("a dog runs in the snow"),
        caption("a dog runs in the snow", "length"),
        caption("a dog runs in the"),
    ]
    whole, cut, dangling = Reward(truths, 0.0)(["p"], [drawn])[0].tolist()
    assert whole == pytest.approx(10)
    assert dangling < cut < whole
    # Without END as a word, four words of six would be worth what they are in the middle.
    bare = Cider(list(truths.values())).reward([0], [drawn[2].words])[0]
    assert dangling < bare


def test_the_reward_is_mixed_of_cider_and_smoothed_bleu() -> None:
    truths = {"p": ["a dog runs in the snow".split()], "q": ["a cat sleeps".split(), "one cat".split()]}
    drawn = [[caption("a dog sleeps"), caption("")], [caption("a cat"), caption("cat", "length")]]
    by = {share: Reward(truths, share)(["p", "q"], drawn) for share in (0.0, 0.3, 1.0)}
    torch.testing.assert_close(by[0.3], 0.7 * by[0.0] + 0.3 * by[1.0])
    # "a dog sleeps <end>": 3 of 4 words, 1 of 3 pairs, no triple of 2, no quadruple of 1; 7 words are wanted.
    by_hand = (3 / 4 * 2 / 4 * 1 / 3 * 1 / 2) ** 0.25 * np.exp(1 - 7 / 4)
    assert float(by[1.0][0, 0]) == pytest.approx(by_hand, rel=1e-5)
    ended = [[*words, "<end>"] for words in truths["q"]]
    plain = Bleu([ended])
    assert float(plain.scores(plain.statistics([["a", "cat", "<end>"]]))["bleu_4"][0]) < 1e-3 < float(by[1.0][1, 0])


def test_what_is_drawn_stops_at_the_longest_and_depends_on_the_random_numbers_alone() -> None:
    decoder, minimise = decoder_of(), critical(longest=3)
    torch.manual_seed(3)
    first, second = (minimise.draw(decoder, pictures(2)) for _ in range(2))
    torch.manual_seed(3)
    again = minimise.draw(decoder, pictures(2))

    def words(drawn: list[list[Caption]]) -> list[tuple[str, ...]]:
        return [caption.words for caption in chain.from_iterable(drawn)]

    assert words(first) == words(again) != words(second)
    assert {len(of_one) for of_one in first} == {4}
    assert max(map(len, words(first))) == 3
    assert not set(chain.from_iterable(words(first))) & set(SPECIAL)


def test_failure_rates_count_what_goes_wrong() -> None:
    drawn = [
        caption("a dog runs on the grass"),
        caption("a man in a"),
        caption("a man on a horse on a", "length"),
        caption("two dogs two dogs run"),
        caption("a red red ball"),
        caption("", "end"),
        caption("a boy", "length"),
        caption("a red ball and a blue ball"),
    ]
    assert failure_rates(drawn) == {"train_dangling": 2 / 8, "train_endless": 2 / 8, "train_repeating": 3 / 8}
