"""The decoder: recurrent layers that say a caption word by word, and an attention that looks before each word.

Where the attention stands among the layers makes the models of the field: before them all (``look: first``, "Show,
Attend and Tell", Xu et al. 2015), behind the first (``between``, the top-down decoder, Anderson et al. 2018), behind
the last (``last``, Luong et al. 2015; with a sentinel Lu et al. 2017).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, dropout1d, linear, pad

from wordgaze.models.attention import Attention, AttentionOutput, Memory, RowIndex
from wordgaze.models.config import DecoderConfig
from wordgaze.models.kernels.step_linear import StepLinear, one_sequence
from wordgaze.models.recurrent import CELLS, LayerState, RecurrentLayer
from wordgaze.text.vocabulary import PAD, START

FARTHEST = 8.0  # deviations: what a channel that is nearly always silent shows at most


class State(NamedTuple):
    """The recurrent state: of each layer its tensors (N, H), and the number of words said (N,)."""

    layers: tuple[LayerState, ...]
    step: Tensor


class StepInputs(NamedTuple):
    """What a state is worth to the next word, whichever that word will be; hypotheses that part at it share this.

    The state itself; of each layer the product of its last hidden state (N, G); the rest of the first layer's input
    (N, G); and where the attention stands first, what it saw."""

    state: State
    recurrent: tuple[Tensor, ...]
    inputs: Tensor
    looked: AttentionOutput | tuple[()]


class StepOutput(NamedTuple):
    """logits (N, V) of the next words, the new state, and where the attention looked for them, weights (N, L)."""

    logits: Tensor
    state: State
    weights: Tensor


class WordTable(NamedTuple):
    """Every word's share of the gates (V, G), and the classifier, its rows rounded up (V', E) with biases (V',)."""

    gates: Tensor
    classes: Tensor
    biases: Tensor


class DecoderOutput(NamedTuple):
    """What teacher forcing gives: of the N real words logits (N, V), targets (N,) and their place (N,), caption · T +
    step; of each step of each caption weights (B·R, T, L) and the logarithm of the probability of the cell that was
    drawn (B·R, T), both zero where a caption is over."""

    logits: Tensor
    targets: Tensor
    place: Tensor
    weights: Tensor
    drawn: Tensor


class _LayersOutput(NamedTuple):
    hidden: Tensor
    looked: AttentionOutput
    state: State


class Decoder(nn.Module):
    """``vector_size`` is the width of word vectors that were trained elsewhere, where it is not ``embedding_size``.

    The product of the embedded words with the gates' weights does not wait for the recurrence, so it is computed for
    all steps at once; what is left inside the loop is the attention and the products with context and states.
    """

    def __init__(self, sizes: DecoderConfig, channels: int, vocabulary_size: int, vector_size: int = 0) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.feature_size or channels
        embedding, hidden = sizes.embedding_size, sizes.hidden_size
        self.vocabulary_size, self.vector_size = vocabulary_size, vector_size or embedding
        self.before = {"first": 0, "between": 1, "last": sizes.num_layers}[
            sizes.attention_position
        ]  # layers under the attention
        if sizes.standardise:
            self.register_buffer("shift", torch.zeros(channels))
            self.register_buffer("scale", torch.ones(channels))
        self.project = nn.Linear(channels, sizes.feature_size) if sizes.feature_size else nn.Identity()
        self.embed = nn.Embedding(vocabulary_size, self.vector_size, padding_idx=PAD)
        self.embed.weight.requires_grad_(not sizes.freeze_word_vectors)
        self.widen = nn.Linear(self.vector_size, embedding) if self.vector_size != embedding else nn.Identity()
        self.attend = Attention(sizes, width)
        self.layers = nn.ModuleList(
            RecurrentLayer(sizes.cell, hidden if n else 0, hidden, sizes.sentinel and n + 1 == self.before)
            for n in range(sizes.num_layers)
        )
        self.first_state = nn.Linear(width, sizes.num_layers * CELLS[sizes.cell].states * hidden)
        if sizes.gate:
            self.gate = nn.Linear(hidden, 1)
        first = self._layer(0).width
        self.word_gates = nn.Linear(embedding, first)
        if self.before:
            self.mean_gates = nn.Linear(width, first, bias=False)
        if 0 < self.before < sizes.num_layers:
            self.top_gates = StepLinear(hidden, first, bias=False)
        if self.before < sizes.num_layers:
            self.context_gates = StepLinear(width, self._layer(self.before).width, bias=False)
        if sizes.output == "deep":
            self.hidden_out = nn.Linear(hidden, embedding)
            self.context_out = nn.Linear(width, embedding, bias=False)
        if sizes.tie_embeddings:
            with torch.no_grad():  # as classes, vectors of length one make a beginner's words about equally likely
                self.embed.weight *= self.vector_size**-0.5
        else:
            self.classes = nn.Parameter(torch.empty(vocabulary_size, embedding if sizes.output == "deep" else hidden))
            nn.init.kaiming_uniform_(self.classes, a=5**0.5)  # as nn.Linear begins
        self.biases = nn.Parameter(torch.zeros(vocabulary_size))

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.biases.device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the weights."""
        return self.biases.dtype

    @torch.no_grad()
    def standardise(self, features: Tensor) -> None:
        """Takes mean and deviation of each channel from features (B, L, channels) of training images."""
        deviation, mean = torch.std_mean(features.flatten(0, 1).float(), dim=0)
        self.get_buffer("shift").copy_(mean)
        self.get_buffer("scale").copy_(1 / (deviation + 1e-4))

    def encode(self, features: Tensor) -> Memory:
        """features (B, L, channels) → what the steps need of them."""
        sizes = self.sizes
        if sizes.standardise:
            away = (features - self.get_buffer("shift")) * self.get_buffer("scale")
            features = away.clamp(-FARTHEST, FARTHEST).to(features.dtype)
        features = dropout1d(features.transpose(1, 2), sizes.dropout_channels, self.training).transpose(1, 2)
        projected = torch.relu(self.project(features)) if sizes.feature_size else features
        projected = dropout(projected, sizes.dropout_features, self.training)
        gates = self.mean_gates(projected.mean(dim=1)) if self.before else projected[:, 0, :0]
        soft = features.new_zeros(len(features), dtype=torch.bool)
        if sizes.hard_attention and self.training:
            soft = torch.rand(len(features), device=features.device) < sizes.soft_attention_share
        return Memory(projected, self.attend.keys(projected), gates, soft)

    def init_state(self, memory: Memory, captions: int) -> State:
        """The state before the first word, from the mean feature (Xu et al., section 3.1.2), ``captions`` a picture."""
        parts = torch.tanh(self.first_state(memory.features.mean(dim=1))).repeat_interleave(captions, dim=0)
        each = iter(torch.split(parts, self.sizes.hidden_size, dim=1))
        layers = tuple(tuple(next(each) for _ in range(CELLS[self.sizes.cell].states)) for _ in self.layers)
        return State(layers, torch.zeros(len(parts), device=parts.device))

    def word_table(self) -> WordTable:
        """What the steps need of the words, for all of them at once: it pays where many words are to be said."""
        return WordTable(self.word_gates(self.widen(self.embed.weight)), *self._classes())

    def prepare_step(self, state: State, memory: Memory, rows: RowIndex | None = None) -> StepInputs:
        """Looks ahead to the next word: state (B·R, …), or (N, …) with ``rows``."""
        recurrent = tuple(self._layer(n).recurrent(state.layers[n][0]) for n in range(len(self.layers)))
        top = state.layers[-1][0]
        if not self.before:
            looked = self._attend(top, memory, state.step, rows, None)
            return StepInputs(state, recurrent, self.context_gates(looked.context), looked)
        pictures = len(memory.gates)
        if rows is None:
            inputs = memory.gates.repeat_interleave(len(top) // pictures, dim=0)
        else:
            inputs = memory.gates[torch.div(rows.place, rows.width, rounding_mode="floor")]
        if self.before < len(self.layers):
            inputs = inputs + self.top_gates(top)
        return StepInputs(state, recurrent, inputs, ())

    def step(
        self,
        words: Tensor,
        step_inputs: StepInputs,
        memory: Memory,
        rows: RowIndex | None = None,
        table: WordTable | None = None,
    ) -> StepOutput:
        """words (N,), the last ones said, after a step_inputs → what comes next."""
        embedded = self.widen(self.embed(words))
        moved = self._move(table.gates[words] if table else self.word_gates(embedded), step_inputs, memory, rows)
        classes = (table.classes, table.biases) if table else (self._class_weights(), self.biases)
        logits = self._output(embedded, moved.hidden, moved.looked.context, classes)
        return StepOutput(logits, moved.state, moved.looked.weights)

    def forward(self, features: Tensor, captions: Tensor) -> DecoderOutput:
        """Teacher forcing: features (B, L, channels), captions (B, R, T), padded behind END with PAD.

        The real words alone are computed, packed step after step, each step's by picture; a picture's captions are
        sorted by length, so that those which go on are its first.
        """
        batch, ranks, _ = captions.shape
        captions = _longest_first(captions)
        real = (captions != PAD).permute(2, 0, 1)  # (T, B, R)
        step, picture, rank = real.nonzero().unbind(1)
        counts = [n for n in real.sum((1, 2)).tolist() if n]
        length = len(counts)
        widths = real.any(1).sum(1).tolist()  # the most captions that a picture still has at step t
        caption = picture * ranks + rank

        memory = self.encode(features)
        said = pad(captions[:, :, :-1], (1, 0), value=START)[picture, rank, step]
        embedded = dropout(self.widen(self.embed(said)), self.sizes.dropout_embedding, self.training)
        state, before = self.init_state(memory, ranks), torch.arange(batch * ranks, device=captions.device)
        steps: list[tuple[Tensor, ...]] = []
        packed = (self.word_gates(embedded), picture, rank, caption)
        by_step = zip(*(part.split(counts) for part in packed), widths[:length], strict=True)
        with one_sequence(self):
            for gates, pictures, own, now, width in by_step:
                if len(now) < len(before):
                    state, before = _taken(state, torch.searchsorted(before, now)), now
                rows = RowIndex(pictures * width + own, width) if len(now) < batch * width else None
                moved = self._move(gates, self.prepare_step(state, memory, rows), memory, rows)
                state = moved.state
                steps.append((moved.hidden, *moved.looked))
        hidden, context, weights, drawn = (torch.cat(part) for part in zip(*steps, strict=True))
        place = caption * length + step
        everywhere = RowIndex(place, ranks * length)
        weights = everywhere.spread(weights, batch).view(batch * ranks, length, -1)
        drawn = everywhere.spread(drawn, batch).view(batch * ranks, length)
        logits = self._output(embedded, hidden, context, self._classes())
        return DecoderOutput(logits, captions[picture, rank, step], place, weights, drawn)

    def _move(
        self, word_gates: Tensor, step_inputs: StepInputs, memory: Memory, rows: RowIndex | None
    ) -> _LayersOutput:
        """One step through the layers, past the attention wherever it stands."""
        inputs, looked = word_gates + step_inputs.inputs, step_inputs.looked
        hidden, sentinel = inputs, None
        states: list[LayerState] = []
        for n, state in enumerate(step_inputs.state.layers):
            layer = self._layer(n)
            if layer.below is not None:
                inputs = layer.below(hidden)
            if 0 < n == self.before:
                looked = self._attend(hidden, memory, step_inputs.state.step, rows, sentinel)
                inputs = inputs + self.context_gates(looked.context)
            hidden, after, sentinel = layer(inputs, step_inputs.recurrent[n], state)
            states.append(after)
        if self.before == len(self.layers):
            looked = self._attend(hidden, memory, step_inputs.state.step, rows, sentinel)
        assert isinstance(looked, AttentionOutput)
        return _LayersOutput(hidden, looked, State(tuple(states), step_inputs.state.step + 1))

    def _attend(
        self, query: Tensor, memory: Memory, step: Tensor, rows: RowIndex | None, sentinel: Tensor | None
    ) -> AttentionOutput:
        looked: AttentionOutput = self.attend(query, memory, step, rows, sentinel)
        if not self.sizes.gate:
            return looked
        return looked._replace(context=torch.sigmoid(self.gate(query)) * looked.context)

    def _class_weights(self) -> Tensor:
        if not self.sizes.tie_embeddings:
            return self.classes
        weights: Tensor = self.widen(self.embed.weight)
        return weights

    def _classes(self) -> tuple[Tensor, Tensor]:
        """The classifier with rows of zeros up to a multiple of 64: the product is up to twice as fast on a CPU."""
        more = -self.vocabulary_size % 64
        return pad(self._class_weights(), (0, 0, 0, more)), pad(self.biases, (0, more))

    def _output(self, embedded: Tensor, hidden: Tensor, context: Tensor, classes: tuple[Tensor, Tensor]) -> Tensor:
        """deep: p(word) ∝ exp(L_o tanh(E y + L_h h + L_z z)), Xu et al., equation 7; plain: p(word) ∝ exp(L_o h), with
        the context added where no layer has taken it in (Lu et al. 2017, equation 13)."""
        rate = self.sizes.dropout_output
        if self.sizes.output == "deep":
            hidden = dropout(hidden, rate, self.training)
            mixed = torch.tanh(embedded + self.hidden_out(hidden) + self.context_out(context))
        else:
            mixed = hidden + context if self.before == len(self.layers) else hidden
        return linear(dropout(mixed, rate, self.training), *classes)[:, : self.vocabulary_size]

    def _layer(self, number: int) -> RecurrentLayer:
        layer = self.layers[number]
        assert isinstance(layer, RecurrentLayer)
        return layer


def _longest_first(captions: Tensor) -> Tensor:
    """captions (B, R, T), each picture's in the order of their lengths."""
    order = (captions != PAD).sum(2).argsort(dim=1, descending=True, stable=True)
    return captions.gather(1, order.unsqueeze(2).expand_as(captions))


def _taken(state: State, rows: Tensor) -> State:
    """The state of these rows."""
    return State(tuple(tuple(part[rows] for part in layer) for layer in state.layers), state.step[rows])
