"""Learned weights of several scores of a candidate, a dual encoder's among them: what ``choosing.py`` compares.

The project does not have this method, because it chooses no better than the fixed weights of ``neighbours``. The dual
encoder maps images and captions to one space, where a caption is near the images that it describes. The image is the
mean of its features over the grid, mapped linearly; the caption is read by a bidirectional GRU, whose states are pooled
over the words by their mean and by their maximum. Both are trained by the contrastive loss of CLIP (Radford et al.
2021, "Learning Transferable Visual Models From Natural Language Supervision", figure 3).
"""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from wordgaze.generation.neighbours import NeighbourReranker
from wordgaze.generation.outputs import Caption
from wordgaze.metrics.base import Tokens
from wordgaze.metrics.cider import Cider
from wordgaze.metrics.nearest import nearest
from wordgaze.text.vocabulary import PAD, UNK, Vocabulary

EPOCHS, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 12, 256, 1e-3, 0.02  # of the dual encoder
WARMUP_STEPS = 50
RANDOM_EPOCHS = 3  # the first epochs have random batches; those of the others are groups of similar images
GROUP_SIZE, NEAREST = 32, 48  # a group: an image that is drawn at random, and some of its nearest ones
INITIAL_TEMPERATURE = 0.07  # that of CLIP
MAX_WORDS = 20

FOLDS = 5  # of the cross-validation
STEPS, PENALTY = 300, 1e-3  # of the fit of the weights, and of their squares

NUM_IMAGES, NUM_CAPTIONS = 10, 20  # the nearest training images, and the nearest training captions
SIGNALS = ("score", "log_prob", "length", "neighbours", "regression", "similarity", "retrieval")
"""Log-probability with and without the length penalty, and length; the two terms of ``neighbours``; the cosine with the
image in the space of the dual encoder, and CIDEr against the training captions that are nearest to the image there."""

_ENCODED = 1024  # captions at a time


class DualEncoder(nn.Module):
    """Maps images and captions to vectors of length 1, D wide.

    ``channels`` (C) and ``vocabulary_size`` are those of the decoder whose captions are compared. ``feature_mean`` and
    ``feature_scale`` (C,) standardise the mean features of an image.
    """

    def __init__(
        self, channels: int, vocabulary_size: int, size: int = 512, word_size: int = 256, dropout: float = 0.4
    ) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("feature_mean", torch.zeros(channels))
        self.register_buffer("feature_scale", torch.ones(channels))
        self.image_dropout = nn.Dropout(dropout)
        self.image_projection = nn.Linear(channels, size)
        self.word_dropout = nn.Dropout(dropout / 2)
        self.embedding = nn.Embedding(vocabulary_size, word_size, padding_idx=PAD)
        self.gru = nn.GRU(word_size, size // 2, batch_first=True, bidirectional=True)
        self.caption_projection = nn.Linear(size, size)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(INITIAL_TEMPERATURE)))

    def token_ids(self, captions: Sequence[Sequence[str]], vocabulary: Vocabulary) -> Tensor:
        """The token ids (N, T) of captions without END, padded with PAD.

        A caption without words is one unknown word.
        """
        ids = [[vocabulary.index.get(word, UNK) for word in words] or [UNK] for words in captions]
        padded = torch.full((len(ids), max(map(len, ids), default=1)), PAD)
        for row, of_caption in zip(padded, ids, strict=True):
            row[: len(of_caption)] = torch.tensor(of_caption)
        return padded

    def encode_images(self, means: Tensor) -> Tensor:
        """The vectors (B, D) of images with mean features ``means`` (B, C)."""
        return normalize(self.image_projection(self.image_dropout(self.standardised(means))), dim=1)

    def standardised(self, means: Tensor) -> Tensor:
        """The mean features (B, C), each channel with mean 0 and deviation 1 over the training images."""
        return (means - self.get_buffer("feature_mean")) * self.get_buffer("feature_scale")

    def encode_captions(self, token_ids: Tensor) -> Tensor:
        """The vectors (N, D) of captions ``token_ids`` (N, T), padded with PAD; none of them is empty."""
        is_word = (token_ids != PAD).unsqueeze(2)  # (N, T, 1)
        lengths = is_word.sum(1)  # (N, 1)
        words = self.word_dropout(self.embedding(token_ids))
        packed = pack_padded_sequence(words, lengths.squeeze(1).cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=token_ids.shape[1])
        mean = states.sum(1) / lengths
        highest = states.masked_fill(~is_word, -1e4).amax(1)
        return normalize(self.caption_projection(self.word_dropout(mean + highest)), dim=1)

    def forward(self, means: Tensor, token_ids: Tensor) -> Tensor:
        """The contrastive loss of B images, each with one caption: means (B, C), token_ids (B, T)."""
        logits = self.encode_images(means) @ self.encode_captions(token_ids).T * self.log_scale.exp()
        own = torch.arange(len(logits), device=logits.device)
        return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def fit_dual_encoder(means: Tensor, captions: Sequence[Sequence[Tokens]], vocabulary: Vocabulary) -> DualEncoder:
    """The dual encoder of M training images: their mean features (M, C), and the captions of each.

    Each image of a batch has one of its captions, which is a negative example for the others. In the first epochs the
    batches are random; later ones are made of groups of similar images, whose captions are hard to tell apart (hard
    negatives; Faghri et al. 2018, "VSE++").
    """
    torch.manual_seed(1)
    encoder = DualEncoder(means.shape[1], len(vocabulary))
    deviation, mean = torch.std_mean(means, dim=0, correction=0)
    encoder.get_buffer("feature_mean").copy_(mean)
    encoder.get_buffer("feature_scale").copy_(1 / (deviation + 1e-4))
    optimizer = torch.optim.AdamW(encoder.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    per_epoch = math.ceil(len(means) / BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(step, EPOCHS * per_epoch))
    token_ids = [encoder.token_ids([words[:MAX_WORDS] for words in of_image], vocabulary) for of_image in captions]
    similar = similar_images(normalize(encoder.standardised(means), dim=1))
    for epoch in range(EPOCHS):
        for batch in batches(len(means), per_epoch, similar if epoch >= RANDOM_EPOCHS else None):
            loss = encoder(means[batch], drawn([token_ids[i] for i in batch.tolist()]))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return encoder.eval()


@torch.inference_mode()
def caption_vectors(encoder: DualEncoder, captions: Sequence[Tokens], vocabulary: Vocabulary) -> Tensor:
    """The vectors (N, D) of captions."""
    parts = [captions[i : i + _ENCODED] for i in range(0, len(captions), _ENCODED)]
    return torch.cat([encoder.encode_captions(encoder.token_ids(part, vocabulary)) for part in parts])


@torch.inference_mode()
def signals_of(
    candidates: Sequence[Sequence[Caption]],
    means: Tensor,
    neighbours: NeighbourReranker,
    encoder: DualEncoder,
    captions: Sequence[Sequence[Tokens]],
) -> list[Tensor]:
    """(K, S) of each of B images with K candidates: their SIGNALS.

    ``means`` (B, C) are the mean features of the images; ``captions`` those of each training image of ``neighbours``.
    """
    words = [[caption.words for caption in of_image] for of_image in candidates]
    vectors, images = neighbours.embed(means.unsqueeze(1)), encoder.encode_images(means)
    near = nearest(vectors, neighbours.vectors.float(), NUM_IMAGES).tolist()
    flat = [tuple(caption) for of_image in captions for caption in of_image]
    places = (images @ caption_vectors(encoder, flat, neighbours.vocabulary).T).topk(NUM_CAPTIONS, 1).indices.tolist()
    columns = [
        [[caption.score for caption in of_image] for of_image in candidates],
        [[caption.log_prob for caption in of_image] for of_image in candidates],
        [[float(len(caption.words)) for caption in of_image] for of_image in candidates],
        agreement([[caption for i in row for caption in captions[i]] for row in near], words, neighbours),
        neighbours.regression.scores(vectors, words),
        similarities(images, words, encoder, neighbours.vocabulary),
        agreement([[flat[i] for i in row] for row in places], words, neighbours),
    ]
    return [torch.tensor(of_image).T for of_image in zip(*columns, strict=True)]


def agreement(
    references: Sequence[Sequence[Tokens]], words: Sequence[Sequence[Tokens]], neighbours: NeighbourReranker
) -> list[list[float]]:
    """CIDEr of each candidate against the references of its image."""
    cider = Cider(references, neighbours.frequencies)
    return [cider.reward([i] * len(of_image), of_image) for i, of_image in enumerate(words)]


def similarities(
    images: Tensor, words: Sequence[Sequence[Tokens]], encoder: DualEncoder, vocabulary: Vocabulary
) -> list[list[float]]:
    """The cosine of each candidate with its image; images (B, D)."""
    vectors = caption_vectors(encoder, list(chain(*words)), vocabulary)
    ends = accumulate(map(len, words), initial=0)
    return [(vectors[a:b] @ image).tolist() for image, (a, b) in zip(images, pairwise(ends), strict=True)]


def similar_images(vectors: Tensor) -> Tensor:
    """(M, K): of each of M images with ``vectors`` (M, C) the nearest ones, itself among them."""
    number = min(NEAREST, len(vectors))
    return torch.cat([(part @ vectors.T).topk(number, dim=1).indices for part in torch.split(vectors, _ENCODED)])


def batches(num_images: int, count: int, similar: Tensor | None) -> Iterator[Tensor]:
    """The images of the ``count`` batches of an epoch: all in random order or, with ``similar`` (M, K), groups of
    similar images around some of them."""
    parts = torch.randperm(num_images).tensor_split(max(1, min(count, num_images // 2)))
    if similar is None:
        yield from parts
        return
    for batch in parts:
        first = batch[: max(1, len(batch) // GROUP_SIZE)]
        chosen = torch.randperm(similar.shape[1])[:GROUP_SIZE]
        yield torch.unique(torch.cat([first, similar[first][:, chosen].flatten()]))


def drawn(token_ids: Sequence[Tensor]) -> Tensor:
    """(B, T): one caption of each image, drawn at random; the captions of an image are (R, T)."""
    rows = [of_image[int(torch.randint(len(of_image), ()))] for of_image in token_ids]
    drawn = torch.full((len(rows), max(map(len, rows))), PAD)
    for place, row in zip(drawn, rows, strict=True):
        place[: len(row)] = row
    return drawn[:, : int((drawn != PAD).sum(1).max())]


def factor(step: int, total: int) -> float:
    """The factor of the learning rate: a linear warm-up, times half a cosine down to 0."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / total))


class Candidates(NamedTuple):
    """N images with at most K candidates each: ``signals`` (N, K, S), ``rewards`` (N, K), and ``exists`` (N, K)."""

    signals: Tensor
    rewards: Tensor
    exists: Tensor

    @classmethod
    def padded(cls, signals: Sequence[Tensor], rewards: Sequence[Sequence[float]]) -> "Candidates":
        """From the signals (K, S) and the K rewards of each image."""
        exists = pad_sequence([torch.ones(len(each), dtype=torch.bool) for each in rewards], batch_first=True)
        return cls(pad_sequence(list(signals), batch_first=True), padded(rewards), exists)

    def of_images(self, images: Tensor) -> "Candidates":
        """The candidates of these images."""
        return Candidates(*(tensor[images] for tensor in self))


def padded(rewards: Sequence[Sequence[float]]) -> Tensor:
    """(N, K): the rewards of the candidates of each image, 0 where there are fewer."""
    return pad_sequence([torch.tensor(each) for each in rewards], batch_first=True)


def fit_weights(candidates: Candidates) -> Tensor:
    """(S,): the weights of the signals whose softmax over an image's candidates has the highest expected reward.

    The expected reward is a listwise objective (Cao et al. 2007, "Learning to Rank"): how far a candidate's score lies
    above that of the image's others matters, and not the score itself.
    """
    exists = candidates.exists.unsqueeze(2)  # (N, K, 1)
    counts = exists.sum(1, keepdim=True)
    centred = (candidates.signals - (candidates.signals * exists).sum(1, keepdim=True) / counts) * exists
    scale = 1 / ((centred**2).sum((0, 1)) / exists.sum()).sqrt().clamp_min(1e-6)  # (S,)
    signals = centred * scale
    weights = torch.zeros(signals.shape[2], requires_grad=True)
    optimizer = torch.optim.Adam([weights], 0.03)
    for _ in range(STEPS):
        logits = (signals @ weights).masked_fill(~candidates.exists, -torch.inf)
        expected = (torch.softmax(logits, dim=1) * candidates.rewards).sum(1).mean()
        loss = PENALTY * weights.square().sum() - expected
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return weights.detach() * scale


def held_out_rewards(candidates: Candidates) -> Tensor:
    """(N,): the rewards of the candidates that are chosen by weights which were fitted to other images."""
    rewards = torch.empty(len(candidates.rewards))
    numbers = torch.arange(len(candidates.rewards))
    for part in range(min(FOLDS, len(numbers))):
        held_out = candidates.of_images(numbers[part::FOLDS])
        others = numbers[numbers % FOLDS != part]
        weights = fit_weights(candidates.of_images(others if len(others) else numbers))
        scores = (held_out.signals @ weights).masked_fill(~held_out.exists, -torch.inf)
        rewards[part::FOLDS] = held_out.rewards.gather(1, scores.argmax(1, keepdim=True)).squeeze(1)
    return rewards
