"""Methods that the project does not have, which ablation.py compares with those that it has."""

import sys
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, pad, relu

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.models.attention import RowIndex
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import MAX_DEVIATION, Decoder, DecoderOutput, StepOutput
from wordgaze.text.vocabulary import END, PAD, START, Vocabulary

Captions = dict[str, list[list[str]]]
GLUE = "##"  # the prefix of a subword that continues the word before it


class ScheduledSampling(Decoder):
    """A decoder that is trained with scheduled sampling (Bengio et al. 2015): a share of the input words, which grows
    with the steps, is sampled from the decoder.

    It takes two passes (Mihaylova and Martins 2019): the words of the first, which is teacher forcing, are the inputs
    of the second.
    """

    max_share, ramp_steps = 0.25, 300

    def __init__(self, config: DecoderConfig, channels: int, vocabulary_size: int) -> None:
        super().__init__(config, channels, vocabulary_size)
        self.steps = 0

    def forward(self, features: Tensor, captions: Tensor, *_: object) -> DecoderOutput:
        """As :meth:`Decoder.forward` of a whole batch; the targets are the words of ``captions``."""
        if not self.training:
            return super().forward(features, captions)
        self.steps += 1
        with torch.no_grad():
            first = super().forward(features, captions)
            special = torch.tensor([PAD, START, END])
            sampled = first.logits.index_fill(1, special, -torch.inf).softmax(1).multinomial(1).squeeze(1)
            share = self.max_share * min(1.0, self.steps / self.ramp_steps)
            replace = (torch.rand(len(sampled)) < share) & (first.targets != END)
            words = torch.where(replace, sampled, first.targets)
            shape = (*captions.shape[:2], first.weights.shape[1])
            mixed = captions.new_full((shape[0] * shape[1] * shape[2],), PAD)
            mixed = mixed.index_copy(0, first.positions, words).view(shape)
            # Back into the order in which the captions were passed in.
            mixed = torch.empty_like(mixed).scatter(1, first.order.unsqueeze(2).expand_as(mixed), mixed)
        return super().forward(features, mixed)._replace(targets=first.targets)


class _Block(nn.Module):
    """Causal self-attention, cross-attention over the grid, and a feed-forward network, in the pre-norm order (Xiong et
    al. 2020)."""

    def __init__(self, width: int, num_heads: int, dropout_rate: float) -> None:
        super().__init__()
        self.num_heads, self.dropout_rate = num_heads, dropout_rate
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.self_qkv, self.self_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.cross_query, self.cross_key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.cross_out = nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(
        self, x: Tensor, past: Tensor, grid: Tensor, image: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x (N, T, D); past (N, P, 2D), keys and values of the words before; grid (B, L, 2D), those of the cells; image
        (N,) of each row → the new x (N, T, D), past with the T words added, attention weights (N, T, L)."""
        query, key_value = self.self_qkv(self.norms[0](x)).split((x.shape[2], 2 * x.shape[2]), 2)
        past = torch.cat([past, key_value], 1)
        context, _ = self._attend(query, past, mask)
        x = x + self._dropout(self.self_out(context))
        query = self.cross_query(self.norms[1](x))
        context, weights = self._attend(query, grid if image is None else grid[image], None)
        x = x + self._dropout(self.cross_out(context))
        hidden = self._dropout(relu(self.expand(self.norms[2](x))))
        return x + self._dropout(self.contract(hidden)), past, weights

    def _attend(self, query: Tensor, key_value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """query (N, T, D), key_value (B, L, 2D), N a multiple of B → context (N, T, D), weights (N, T, L), the
        mean over the heads."""
        num_rows, length, _ = query.shape
        query = query.reshape(len(key_value), -1, query.shape[2])  # the queries of an image share one product
        q, k, v = (
            part.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for part in (query, *key_value.chunk(2, 2))
        )  # (B, heads, ·, d)
        energy = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
        weights = (energy if mask is None else energy + mask).softmax(3)
        context = (weights @ v).transpose(1, 2).flatten(2)
        return context.reshape(num_rows, length, -1), weights.mean(1).reshape(num_rows, length, -1)

    def _dropout(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout_rate, self.training)


class TransformerMemory(NamedTuple):
    """``features`` (B, L, D) and the keys and values that each of the ``layers`` computes from them (B, L, 2D)."""

    features: Tensor
    layers: tuple[Tensor, ...]


class TransformerState(NamedTuple):
    """The keys and values of the words so far in each of the ``layers`` (N, T, 2D), and their number (N,)."""

    layers: tuple[Tensor, ...]
    step: Tensor


class Transformer(nn.Module):
    """A small transformer (Vaswani et al. 2017) instead of the decoder, with its width and dropout rates."""

    num_layers, num_heads = 2, 8

    def __init__(self, config: DecoderConfig, channels: int, vocabulary_size: int) -> None:
        super().__init__()
        self.config, self.vocabulary_size, width = config, vocabulary_size, config.hidden_size
        self.register_buffer("feature_mean", torch.zeros(channels))
        self.register_buffer("feature_scale", torch.ones(channels))
        self.feature_projection = nn.Linear(channels, width)
        self.embedding = nn.Embedding(vocabulary_size, width, padding_idx=PAD)
        self.position_embedding = nn.Parameter(0.02 * torch.randn(64, width))
        self.blocks = nn.ModuleList(
            _Block(width, self.num_heads, config.dropout_output) for _ in range(self.num_layers)
        )
        self.norm, self.lm_head = nn.LayerNorm(width), nn.Linear(width, vocabulary_size)
        nn.init.normal_(self.embedding.weight, std=0.1)

    standardise = Decoder.standardise

    @property
    def device(self) -> torch.device:
        return self.position_embedding.device

    @property
    def dtype(self) -> torch.dtype:
        return self.position_embedding.dtype

    def encode(self, features: Tensor) -> TransformerMemory:
        standardised = ((features - self.feature_mean) * self.feature_scale).clamp(-MAX_DEVIATION, MAX_DEVIATION)
        features = standardised.to(features.dtype)  # the buffers are fp32 in a step of bf16
        grid = dropout(relu(self.feature_projection(features)), self.config.dropout_features, self.training)
        return TransformerMemory(grid, tuple(block.cross_key_value(grid) for block in self.blocks))

    def init_state(self, memory: TransformerMemory, captions: int) -> TransformerState:
        count, _, width = memory.features.shape
        empty = memory.features.new_zeros(count * captions, 0, 2 * width)
        return TransformerState((empty,) * self.num_layers, empty.new_zeros(len(empty), dtype=torch.long))

    def word_table(self) -> tuple[()]:
        return ()

    def prepare_step(
        self, state: TransformerState, memory: TransformerMemory, rows: RowIndex | None = None
    ) -> TransformerState:
        return state

    def step(
        self,
        words: Tensor,
        step_inputs: TransformerState,
        memory: TransformerMemory,
        rows: RowIndex | None = None,
        table: object = None,
    ) -> StepOutput:
        image = rows.image if rows else None
        x = (self.embedding(words) + self.position_embedding[step_inputs.step]).unsqueeze(1)
        layers = []
        for block, layer, grid in zip(self.blocks, step_inputs.layers, memory.layers, strict=True):
            x, past, weights = block(x, layer, grid, image, None)
            layers.append(past)
        logits = self.lm_head(self.norm(x.squeeze(1)))
        return StepOutput(logits, TransformerState(tuple(layers), step_inputs.step + 1), weights.squeeze(1))

    def forward(self, features: Tensor, captions: Tensor, *_: object) -> DecoderOutput:
        """As :meth:`Decoder.forward` of a whole batch."""
        batch_size, num_captions, length = captions.shape
        memory, config = self.encode(features), self.config
        flat = captions.flatten(0, 1)
        inputs = pad(flat[:, :-1], (1, 0), value=START)
        x = dropout(self.embedding(inputs) + self.position_embedding[:length], config.dropout_embedding, self.training)
        causal_mask = torch.full((length, length), -torch.inf, dtype=x.dtype).triu(1)
        state = self.init_state(memory, num_captions)
        for block, past, grid in zip(self.blocks, state.layers, memory.layers, strict=True):
            x, _, weights = block(x, past, grid, None, causal_mask)
        real = flat != PAD
        positions = real.flatten().nonzero().squeeze(1)
        hidden = dropout(self.norm(x.flatten(0, 1)[positions]), config.dropout_output, self.training)
        logits = self.lm_head(hidden)
        weights = weights * real.unsqueeze(2)
        sample_log_prob = torch.zeros_like(flat, dtype=torch.float)
        order = torch.arange(num_captions).expand(batch_size, -1)
        return DecoderOutput(logits, flat.flatten()[positions], positions, weights, weights, sample_log_prob, order)


def split_rare_words(captions: Captions, known: Vocabulary, min_count: int) -> tuple[Captions, Vocabulary]:
    """Splits each word that is not ``known`` into the longest known word that it begins with and the rest.

    Returns the captions, and a vocabulary that also has the rests that occur ``min_count`` times.
    """

    def split(word: str) -> tuple[str, ...]:
        if word not in known.index:
            for end in range(len(word) - 1, 2, -1):
                if word[:end] in known.index:
                    return word[:end], GLUE + word[end:]
        return (word,)

    result = {image: [[part for word in words for part in split(word)] for words in of_image]
              for image, of_image in captions.items()}  # fmt: skip
    return result, Vocabulary.count((words for of_image in result.values() for words in of_image), min_count)


def join_subwords(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a caption, with subwords joined."""
    return tuple(" ".join(words).replace(f" {GLUE}", "").split())
