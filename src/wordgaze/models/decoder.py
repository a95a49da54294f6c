"""The decoder: recurrent layers that generate a caption word by word, with attention over the image at each word.

The position of the attention among the layers gives the models of the literature: before all layers
(``attention_position: first``, "Show, Attend and Tell", Xu et al. 2015), after the first (``between``, the top-down
decoder, Anderson et al. 2018), or after the last (``last``, Luong et al. 2015; with a sentinel Lu et al. 2017).

Shapes: B images, R captions per image, T words per caption, L cells, D features, H hidden, E embedding, V words, G
gates of the first layer; N rows, one for each caption that has a word at the step.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from wordgaze.models.attention import Attention, AttentionOutput, Memory, RowIndex
from wordgaze.models.config import DecoderConfig
from wordgaze.models.kernels.dropout import BatchRows, dropout
from wordgaze.models.kernels.linear import Linear, linear
from wordgaze.models.kernels.packing import BatchPart, PartRows, StepRows, pack_captions, part_rows
from wordgaze.models.kernels.step_linear import StepLinear, deferred_weight_gradients
from wordgaze.models.recurrent import CELLS, LayerState, RecurrentLayer
from wordgaze.text.vocabulary import PAD

MAX_DEVIATION = 8.0  # standardised features are clipped here, because a channel may be silent in nearly all images


class State(NamedTuple):
    """The recurrent state: of each layer its tensors (N, H), and the number of words generated so far (N,)."""

    layers: tuple[LayerState, ...]
    step: Tensor

    def select(self, rows: Tensor) -> "State":
        """The state of these rows."""
        return State(tuple(tuple(part[rows] for part in layer) for layer in self.layers), self.step[rows])


class StepInputs(NamedTuple):
    """The part of a step that does not depend on the word, which hypotheses with the same state share: the state; of
    each layer U h (N, G); of the first layer's input what is not the word's (N, G); and the attention (N, …), where it
    comes before all layers."""

    state: State
    recurrent_gates: tuple[Tensor, ...]
    input_gates: Tensor
    attention: AttentionOutput | tuple[()]


class StepOutput(NamedTuple):
    """``logits`` (N, V) of the next word, the new ``state``, and the attention ``weights`` (N, L) of that word."""

    logits: Tensor
    state: State
    weights: Tensor


class WordTable(NamedTuple):
    """What the steps compute from the vocabulary alone: every word's ``gates`` (V, G), and ``weight`` (V', E) and
    ``bias`` (V',) of the output layer, V' being V rounded up to a multiple of 64."""

    gates: Tensor
    weight: Tensor
    bias: Tensor


class DecoderOutput(NamedTuple):
    """The output of teacher forcing.

    ``logits`` (N, V) and ``targets`` (N,) of the N words, without padding; ``positions`` (N,) of these words in
    (B, R, T) as a flat index; ``weights``, ``distribution`` (B·R, T, L) and ``sample_log_prob`` (B·R, T) of the
    attention (see AttentionOutput), zero after the end of a caption. ``order`` (B, R): the r-th caption of image b in
    this output is the caption ``order[b, r]`` that was passed in.
    """

    logits: Tensor
    targets: Tensor
    positions: Tensor
    weights: Tensor
    distribution: Tensor
    sample_log_prob: Tensor
    order: Tensor


Recurrence: TypeAlias = Callable[[Sequence[Tensor], Sequence[StepRows], State, Memory], tuple[Tensor, ...]]
"""The type of ``Decoder.unroll``."""


class LMHead(nn.Module):
    """The output layer x W^T + b. With ``tie_embeddings`` W is computed from the embeddings; the layer has b alone."""

    def __init__(self, input_size: int, vocabulary_size: int, tie_embeddings: bool) -> None:
        super().__init__()
        self.weight = None if tie_embeddings else nn.Parameter(torch.empty(vocabulary_size, input_size))
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def reset_parameters(self) -> None:
        """Draws the weight as ``nn.Linear`` does."""
        if self.weight is not None:
            nn.init.kaiming_uniform_(self.weight, a=5**0.5)


class Decoder(nn.Module):
    """Generates captions from the features of images.

    ``channels``: the number of channels of the features. ``vector_size``: the width of pretrained word vectors, where
    it is not ``embedding_size``.

    The gates of the first layer are W [word; mean feature; top hidden state; context] + U h. W is kept as one linear
    layer for each part of the input, so that each product is computed where it is cheapest: the words' for all steps
    at once, the mean feature's once per image, and only the others within the recurrence.
    """

    def __init__(self, config: DecoderConfig, channels: int, vocabulary_size: int, vector_size: int = 0) -> None:
        super().__init__()
        self.config, self.channels, self.vocabulary_size = config, channels, vocabulary_size
        embedding_size, hidden_size, num_layers = config.embedding_size, config.hidden_size, config.num_layers
        feature_size = config.feature_size or channels  # D
        self.vector_size = vector_size or embedding_size
        self.attention_layer = {"first": 0, "between": 1, "last": num_layers}[config.attention_position]

        # The order in which modules are made decides the random initial weights and the order of parameters().
        output_size = embedding_size if config.output == "deep" else hidden_size
        self.lm_head = LMHead(output_size, vocabulary_size, config.tie_embeddings)
        if config.standardise:
            self.register_buffer("feature_mean", torch.zeros(channels))
            self.register_buffer("feature_scale", torch.ones(channels))
        self.feature_projection = Linear(channels, feature_size) if config.feature_size else nn.Identity()
        self.embedding = nn.Embedding(vocabulary_size, self.vector_size, padding_idx=PAD)
        self.embedding.weight.requires_grad_(not config.freeze_word_vectors)
        has_projection = self.vector_size != embedding_size
        self.embedding_projection = Linear(self.vector_size, embedding_size) if has_projection else nn.Identity()
        self.attention = Attention(config, feature_size)
        self.layers = nn.ModuleList(
            RecurrentLayer(
                config.cell, hidden_size if n else 0, hidden_size, config.sentinel and n + 1 == self.attention_layer
            )
            for n in range(num_layers)
        )
        self.init_state_projection = Linear(feature_size, num_layers * CELLS[config.cell].num_states * hidden_size)
        if config.gate:
            self.context_gate = Linear(hidden_size, 1)
        first_size = self._layer(0).gate_size
        self.word_to_gates = Linear(embedding_size, first_size)
        if self.attention_layer > 0:
            self.mean_to_gates = Linear(feature_size, first_size, bias=False)
        if 0 < self.attention_layer < num_layers:
            self.top_to_gates = StepLinear(hidden_size, first_size, bias=False)
        if self.attention_layer < num_layers:
            context_size = self._layer(self.attention_layer).gate_size
            self.context_to_gates = StepLinear(feature_size, context_size, bias=False)
        if config.output == "deep":
            self.hidden_to_output = Linear(hidden_size, embedding_size)
            self.context_to_output = Linear(feature_size, embedding_size, bias=False)
        if config.tie_embeddings:
            with torch.no_grad():  # rows of length 1 make all words about equally likely in the beginning
                self.embedding.weight *= self.vector_size**-0.5
        self.lm_head.reset_parameters()

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.lm_head.bias.device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the weights."""
        return self.lm_head.bias.dtype

    @torch.no_grad()
    def standardise(self, features: Tensor) -> None:
        """Sets mean and scale of each channel from features (B, L, channels) of training images."""
        std, mean = torch.std_mean(features.flatten(0, 1).float(), dim=0)
        self.get_buffer("feature_mean").copy_(mean)
        self.get_buffer("feature_scale").copy_(1 / (std + 1e-4))

    def encode(self, features: Tensor, images: BatchRows | None = None) -> Memory:
        """features (B, L, channels) → what is computed once per image. ``images``: where they are in a batch that
        processes divide among them."""
        config = self.config
        batch_size = features.shape[0]  # torch.export takes len() for a constant
        channels = features.new_ones(batch_size, 1, self.channels, dtype=torch.float32)
        channels = dropout(channels, config.dropout_channels, self.training, images)  # drops a channel in all cells
        if config.standardise:
            features = self._standardised(features, channels)
        elif self.training and config.dropout_channels:
            features = features * channels.to(features.dtype)
        if config.feature_size:
            features = torch.relu(self.feature_projection(features))
        features = dropout(features, config.dropout_features, self.training, images)  # (B, L, D)
        mean_gates = self.mean_to_gates(features.mean(dim=1)) if self.attention_layer > 0 else features[:, 0, :0]
        is_soft = features.new_zeros(batch_size, dtype=torch.bool)
        if config.hard_attention and self.training:
            is_soft = torch.rand(batch_size, device=features.device) < config.soft_attention_share
        return Memory(features, self.attention.keys(features), mean_gates, is_soft)

    def init_state(self, memory: Memory, captions: int) -> State:
        """The state before the first word, from the mean feature (Xu et al. 2015, section 3.1.2): B · ``captions``
        rows."""
        parts = torch.tanh(self.init_state_projection(memory.features.mean(dim=1)))
        parts = parts.repeat_interleave(captions, dim=0)  # (B·R, layers · states · H)
        split = iter(torch.split(parts, self.config.hidden_size, dim=1))
        num_states = CELLS[self.config.cell].num_states
        layers = tuple(tuple(next(split) for _ in range(num_states)) for _ in self.layers)
        return State(layers, torch.zeros(parts.shape[0], device=parts.device))

    def word_table(self) -> WordTable:
        """What :meth:`step` computes from the vocabulary alone, for all words at once; it pays for many steps."""
        gates = self.word_to_gates(self.embedding_projection(self.embedding.weight))
        return WordTable(gates, *self._padded_output_layer())

    def prepare_step(self, state: State, memory: Memory, rows: RowIndex | None = None) -> StepInputs:
        """The part of the next step that does not depend on the word: state (B·R, …), or (N, …) with ``rows``."""
        recurrent_gates = tuple(
            self._layer(n).recurrent_projection(state.layers[n][0]) for n in range(len(self.layers))
        )
        top = state.layers[-1][0]  # (N, H)
        if self.attention_layer == 0:
            attention = self._attend(top, memory, state.step, rows)
            return StepInputs(state, recurrent_gates, self.context_to_gates(attention.context), attention)
        if rows is None:
            # Not repeat_interleave, which torch.onnx exports for the batch size of the example alone.
            captions = top.shape[0] // memory.mean_gates.shape[0]
            input_gates = memory.mean_gates.unsqueeze(1).expand(-1, captions, -1).flatten(0, 1)
        else:
            input_gates = memory.mean_gates[rows.image]
        if self.attention_layer < len(self.layers):
            input_gates = input_gates + self.top_to_gates(top)
        return StepInputs(state, recurrent_gates, input_gates, ())

    def step(
        self,
        words: Tensor,
        step_inputs: StepInputs,
        memory: Memory,
        rows: RowIndex | None = None,
        table: WordTable | None = None,
    ) -> StepOutput:
        """One step of generation: the last words (N,) and the result of :meth:`prepare_step` → the next words' logits.

        ``table`` is the result of :meth:`word_table`.
        """
        embedded = self.embedding_projection(self.embedding(words))  # (N, E)
        word_gates = table.gates[words] if table else self.word_to_gates(embedded)
        hidden, attention, sentinel, state = self._recurrent_step(word_gates, step_inputs, memory, rows)
        attention = attention or self._attend(hidden, memory, step_inputs.state.step, rows, sentinel)
        weight, bias = (table.weight, table.bias) if table else (self._output_weight(), self.lm_head.bias)
        logits = self._logits(embedded, hidden, attention.context, weight, bias)
        return StepOutput(logits, state, attention.weights)

    def forward(
        self,
        features: Tensor,
        captions: Tensor,
        recurrence: Recurrence | None = None,
        part: BatchPart | None = None,
    ) -> DecoderOutput:
        """Teacher forcing: features (B, L, channels), captions (B, R, T), padded behind END with PAD. ``recurrence``
        computes what :meth:`unroll` does. With ``part`` dropout is that which these images have in the whole batch."""
        packing = pack_captions(captions)
        rows = part_rows(part, captions) if part else PartRows()
        memory = self.encode(features, rows.images)
        embedded = self.embedding_projection(self.embedding(packing.inputs))  # (M, E)
        embedded = dropout(embedded, self.config.dropout_embedding, self.training, rows.inputs)
        state = self.init_state(memory, captions.shape[1])
        word_gates = self.word_to_gates(embedded).split(packing.counts)  # T times (N, G)
        outputs = (recurrence or self.unroll)(word_gates, packing.steps, state, memory)
        hidden, first, *others = outputs
        if self.attention_layer == len(self.layers):  # no step depends on it, so all steps are computed at once
            attention = self._attend(hidden, memory, first, packing.rows, *others)
        else:
            attention = AttentionOutput(first, *others)
        hidden, context, weights, distribution, sample_log_prob = (
            packing.words_only(part) for part in (hidden, *attention)
        )
        embedded = packing.words_only(embedded)
        logits = self._logits(embedded, hidden, context, *self._padded_output_layer(), rows.words)  # (N, V)
        return DecoderOutput(
            logits,
            packing.targets,
            packing.positions,
            packing.unpack(weights),
            packing.unpack(distribution),
            packing.unpack(sample_log_prob),
            packing.order,
        )

    def unroll(
        self, word_gates: Sequence[Tensor], steps: Sequence[StepRows], state: State, memory: Memory
    ) -> tuple[Tensor, ...]:
        """The recurrence of teacher forcing: word_gates, T times (N, G) → the hidden states (M, H) of the rows of all
        steps, and the parts of their AttentionOutput (M, …).

        Where the attention comes after all layers, these are what it needs besides: the step (M,), and the sentinel
        (M, H), if any.
        """
        outputs: list[tuple[Tensor, ...]] = []
        with deferred_weight_gradients(self, len(word_gates[0])):
            for gates, (keep, rows) in zip(word_gates, steps, strict=True):
                if keep is not None:
                    state = state.select(keep)
                step_inputs = self.prepare_step(state, memory, rows)
                hidden, attention, sentinel, state = self._recurrent_step(gates, step_inputs, memory, rows)
                rest = attention or (step_inputs.state.step, *([] if sentinel is None else [sentinel]))
                outputs.append((hidden, *rest))
        return tuple(torch.cat(part) for part in zip(*outputs, strict=True))

    def _standardised(self, features: Tensor, channels: Tensor) -> Tensor:
        """features (B, L, channels) standardised, clipped, and multiplied by ``channels`` (B, 1, channels), which are
        not negative: the largest tensor of all is read and written twice, instead of once per operation."""
        mean, scale = self.get_buffer("feature_mean").float(), self.get_buffer("feature_scale").float() * channels
        limit = MAX_DEVIATION * channels
        return torch.addcmul(-mean * scale, features.float(), scale).clamp(-limit, limit).to(features.dtype)

    def _recurrent_step(
        self, word_gates: Tensor, step_inputs: StepInputs, memory: Memory, rows: RowIndex | None
    ) -> tuple[Tensor, AttentionOutput | tuple[()], Tensor | None, State]:
        """word_gates (N, G) → the top hidden state (N, H), the attention, the sentinel of the top layer, if any, and
        the new state. The attention is () where it comes after all layers and is left to the caller."""
        input_gates, attention = word_gates + step_inputs.input_gates, step_inputs.attention
        sentinel = None
        hidden = input_gates  # read by the layers above the first, when it is the hidden state of the layer below
        new_states: list[LayerState] = []
        for n, layer_state in enumerate(step_inputs.state.layers):
            layer = self._layer(n)
            if layer.input_projection is not None:
                input_gates = layer.input_projection(hidden)
            if 0 < n == self.attention_layer:
                attention = self._attend(hidden, memory, step_inputs.state.step, rows, sentinel)
                input_gates = input_gates + self.context_to_gates(attention.context)
            hidden, new_state, sentinel = layer(input_gates, step_inputs.recurrent_gates[n], layer_state)
            new_states.append(new_state)
        return hidden, attention, sentinel, State(tuple(new_states), step_inputs.state.step + 1)

    def _attend(
        self, query: Tensor, memory: Memory, step: Tensor, rows: RowIndex | None, sentinel: Tensor | None = None
    ) -> AttentionOutput:
        """query (N, H) → the attention, its context scaled by the gate β (Xu et al. 2015, section 4.2.1), if any."""
        output: AttentionOutput = self.attention(query, memory, step, rows, sentinel)
        if not self.config.gate:
            return output
        return output._replace(context=torch.sigmoid(self.context_gate(query)) * output.context)

    def _logits(
        self,
        embedded: Tensor,
        hidden: Tensor,
        context: Tensor,
        weight: Tensor,
        bias: Tensor,
        rows: BatchRows | None = None,
    ) -> Tensor:
        """(N, E), (N, H), (N, D) → (N, V). deep: p(word) ∝ exp(L_o tanh(E y + L_h h + L_z z)), Xu et al. 2015,
        equation 7; plain: p(word) ∝ exp(L_o h), with the context added unless it is a layer's input (Lu et al. 2017,
        equation 13)."""
        rate = self.config.dropout_output
        if self.config.output == "deep":
            hidden = dropout(hidden, rate, self.training, rows)
            output = torch.tanh(embedded + self.hidden_to_output(hidden) + self.context_to_output(context))
        else:
            output = hidden + context if self.attention_layer == len(self.layers) else hidden
        return linear(dropout(output, rate, self.training, rows), weight, bias)[:, : self.vocabulary_size]

    def _output_weight(self) -> Tensor:
        """The weight of the output layer (V, E), or (V, H) with plain output."""
        if self.lm_head.weight is not None:
            return self.lm_head.weight
        weight: Tensor = self.embedding_projection(self.embedding.weight)
        return weight

    def _padded_output_layer(self) -> tuple[Tensor, Tensor]:
        """Weight and bias with rows of zeros up to a multiple of 64, which makes the product up to twice as fast on a
        CPU."""
        rows = -self.vocabulary_size % 64
        return pad(self._output_weight(), (0, 0, 0, rows)), pad(self.lm_head.bias, (0, rows))

    def _layer(self, number: int) -> RecurrentLayer:
        layer = self.layers[number]
        assert isinstance(layer, RecurrentLayer)
        return layer
