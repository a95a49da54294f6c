"""Methods that the project does not have, to be measured by ablation.py beside those that it has."""

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
GLUE = "##"  # a piece of a word that begins so is joined to what was said before it


class ScheduledSampling(Decoder):
    """Words that the decoder itself would say take the place of given ones, ever more often (Bengio et al. 2015).

    In two passes, as Mihaylova and Martins 2019: what it would say is drawn where all words before are the given ones.
    """

    most, rise = 0.25, 300  # the share of words in the end, and the steps until then

    def __init__(self, config: DecoderConfig, channels: int, vocabulary_size: int) -> None:
        super().__init__(config, channels, vocabulary_size)
        self.steps = 0

    def forward(self, features: Tensor, captions: Tensor) -> DecoderOutput:
        """As the decoder's; the targets are the captions given."""
        if not self.training:
            return super().forward(features, captions)
        self.steps += 1
        with torch.no_grad():
            first = super().forward(features, captions)
            never = torch.tensor([PAD, START, END])
            drawn = first.logits.index_fill(1, never, -torch.inf).softmax(1).multinomial(1).squeeze(1)
            share = self.most * min(1.0, self.steps / self.rise)
            own = (torch.rand(len(drawn)) < share) & (first.targets != END)
            said = torch.where(own, drawn, first.targets)
            shape = (*captions.shape[:2], first.weights.shape[1])
            mixed = captions.new_full((shape[0] * shape[1] * shape[2],), PAD)
            mixed = mixed.index_copy(0, first.positions, said).view(shape)
            # In the order that was passed in, as ``order`` of the output counts them.
            mixed = torch.empty_like(mixed).scatter(1, first.order.unsqueeze(2).expand_as(mixed), mixed)
        return super().forward(features, mixed)._replace(targets=first.targets)


class _Block(nn.Module):
    """Attention to the words before, attention to the grid, and two layers; norms come first (Xiong et al. 2020)."""

    def __init__(self, width: int, heads: int, rate: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, rate
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.own, self.own_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ask, self.grid, self.seen_out = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(
        self, x: Tensor, past: Tensor, grid: Tensor, each: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x (N, T, D); past (N, P, 2D), keys and values of earlier words; grid (B, L, 2D), each (N,) whose → what
        becomes of x, past with its own, and weights (N, T, L)."""
        query, more = self.own(self.norms[0](x)).split((x.shape[2], 2 * x.shape[2]), 2)
        past = torch.cat([past, more], 1)
        said, _ = self._attend(query, past, mask)
        x = x + self._drop(self.own_out(said))
        seen, weights = self._attend(self.ask(self.norms[1](x)), grid if each is None else grid[each], None)
        x = x + self._drop(self.seen_out(seen))
        return x + self._drop(self.narrow(self._drop(relu(self.wide(self.norms[2](x)))))), past, weights

    def _attend(self, query: Tensor, known: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """query (N, T, D), known (B, L, 2D), N a multiple of B → (N, T, D), mean weights over the heads (N, T, L)."""
        many, length, _ = query.shape
        query = query.reshape(len(known), -1, query.shape[2])  # those who ask the same share a product
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (query, *known.chunk(2, 2))
        )  # (B, heads, ·, d)
        energy = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
        weights = (energy if mask is None else energy + mask).softmax(3)
        found = (weights @ v).transpose(1, 2).flatten(2)
        return found.reshape(many, length, -1), weights.mean(1).reshape(many, length, -1)

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.rate, self.training)


class Grid(NamedTuple):
    """features (B, L, D) and what each layer makes of them (B, L, 2D)."""

    features: Tensor
    layers: tuple[Tensor, ...]


class Past(NamedTuple):
    """Of each layer keys and values of the words said (N, T, 2D), and their number (N,)."""

    layers: tuple[Tensor, ...]
    step: Tensor


class Transformer(nn.Module):
    """A small transformer (Vaswani et al. 2017) in the decoder's place; widths and dropouts are the decoder's."""

    layers, heads = 2, 8

    def __init__(self, config: DecoderConfig, channels: int, vocabulary_size: int) -> None:
        super().__init__()
        self.config, width = config, config.hidden_size
        self.register_buffer("feature_mean", torch.zeros(channels))
        self.register_buffer("feature_scale", torch.ones(channels))
        self.project, self.embed = nn.Linear(channels, width), nn.Embedding(vocabulary_size, width, padding_idx=PAD)
        self.places = nn.Parameter(0.02 * torch.randn(64, width))
        self.blocks = nn.ModuleList(_Block(width, self.heads, config.dropout_output) for _ in range(self.layers))
        self.norm, self.classify = nn.LayerNorm(width), nn.Linear(width, vocabulary_size)
        nn.init.normal_(self.embed.weight, std=0.1)

    standardise = Decoder.standardise

    @property
    def device(self) -> torch.device:
        return self.places.device

    @property
    def dtype(self) -> torch.dtype:
        return self.places.dtype

    def encode(self, features: Tensor) -> Grid:
        away = ((features - self.feature_mean) * self.feature_scale).clamp(-MAX_DEVIATION, MAX_DEVIATION)
        grid = dropout(relu(self.project(away)), self.config.dropout_features, self.training)
        return Grid(grid, tuple(block.grid(grid) for block in self.blocks))

    def init_state(self, memory: Grid, captions: int) -> Past:
        count, _, width = memory.features.shape
        empty = memory.features.new_zeros(count * captions, 0, 2 * width)
        return Past((empty,) * self.layers, empty.new_zeros(len(empty), dtype=torch.long))

    def word_table(self) -> tuple[()]:
        return ()

    def prepare_step(self, state: Past, memory: Grid, rows: RowIndex | None = None) -> Past:
        return state

    def step(
        self, words: Tensor, step_inputs: Past, memory: Grid, rows: RowIndex | None = None, table: object = None
    ) -> StepOutput:
        each = rows.image if rows else None
        x = (self.embed(words) + self.places[step_inputs.step]).unsqueeze(1)
        past = []
        for block, own, grid in zip(self.blocks, step_inputs.layers, memory.layers, strict=True):
            x, longer, weights = block(x, own, grid, each, None)
            past.append(longer)
        logits = self.classify(self.norm(x.squeeze(1)))
        return StepOutput(logits, Past(tuple(past), step_inputs.step + 1), weights.squeeze(1))

    def forward(self, features: Tensor, captions: Tensor) -> DecoderOutput:
        _, ranks, length = captions.shape
        memory, rate = self.encode(features), self.config.dropout_embedding
        flat = captions.flatten(0, 1)
        said = pad(flat[:, :-1], (1, 0), value=START)
        x = dropout(self.embed(said) + self.places[:length], rate, self.training)
        later = torch.full((length, length), -torch.inf).triu(1)
        for block, own, grid in zip(self.blocks, self.init_state(memory, ranks).layers, memory.layers, strict=True):
            x, _, weights = block(x, own, grid, None, later)
        real = flat != PAD
        place = real.flatten().nonzero().squeeze(1)
        hidden = dropout(self.norm(x.flatten(0, 1)[place]), self.config.dropout_output, self.training)
        logits = self.classify(hidden)
        weights = weights * real.unsqueeze(2)
        undrawn = torch.zeros_like(flat, dtype=torch.float)
        order = torch.arange(ranks).expand(len(captions), -1)
        return DecoderOutput(logits, flat.flatten()[place], place, weights, weights, undrawn, order)


def in_pieces(captions: Captions, known: Vocabulary, min_count: int) -> tuple[Captions, Vocabulary]:
    """Captions whose rare words are the longest known word that they begin with and the rest, where that rest occurs
    ``min_count`` times; and the vocabulary that has these rests too."""

    def pieces(word: str) -> tuple[str, ...]:
        if word not in known.index:
            for end in range(len(word) - 1, 2, -1):
                if word[:end] in known.index:
                    return word[:end], GLUE + word[end:]
        return (word,)

    split = {image: [[p for word in words for p in pieces(word)] for words in of_one]
             for image, of_one in captions.items()}  # fmt: skip
    return split, Vocabulary.count((words for of_one in split.values() for words in of_one), min_count)


def whole(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a caption, its pieces joined."""
    return tuple(" ".join(words).replace(f" {GLUE}", "").split())
