"""The decoder of "Show, Attend and Tell" (Xu et al. 2015): an LSTM that looks before every word."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from wordgaze.model.attention import AdditiveAttention, Rows
from wordgaze.params import ModelParams
from wordgaze.text.vocabulary import PAD, START


class Memory(NamedTuple):
    """What a decoder knows of its pictures, computed once: features (B, L, D) and keys (B, L, A)."""

    features: Tensor
    keys: Tensor


class State(NamedTuple):
    """The recurrent state: hidden and cell, each (B·R, H)."""

    hidden: Tensor
    cell: Tensor


class Glimpse(NamedTuple):
    """What a state sees before the next word, whichever that word will be: its share of the gates (N, 4H), the cell
    (N, H), the gated context (N, D) and the weights (N, L). Hypotheses that part at this word share it."""

    gates: Tensor
    cell: Tensor
    context: Tensor
    weights: Tensor


class WordTable(NamedTuple):
    """Every word's share of the gates (V, 4H), and the classifier, its rows rounded up (V', E) with biases (V',)."""

    gates: Tensor
    classes: Tensor
    biases: Tensor


class Taught(NamedTuple):
    """What teacher forcing gives: logits (N, V) and targets (N,) of the N real words, weights (B·R, T, L), all zero
    where a caption is over."""

    logits: Tensor
    targets: Tensor
    weights: Tensor


class Decoder(nn.Module):
    """Soft attention, the gating scalar β (section 4.2.1) and the deep output layer (equation 7).

    The product of the embedded words with the gates' weights does not wait for the recurrence, so it is computed for
    all steps at once; what is left inside the loop is the attention and the product with context and hidden state.
    """

    def __init__(self, sizes: ModelParams, channels: int, vocabulary_size: int) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.feature_size or channels
        embedding, hidden = sizes.embedding_size, sizes.hidden_size
        self.project = nn.Linear(channels, sizes.feature_size) if sizes.feature_size else nn.Identity()
        self.embed = nn.Embedding(vocabulary_size, embedding, padding_idx=PAD)
        self.attend = AdditiveAttention(width, hidden, sizes.attention_size)
        self.start_hidden = nn.Linear(width, hidden)
        self.start_cell = nn.Linear(width, hidden)
        self.gate = nn.Linear(hidden, 1)
        self.word_gates = nn.Linear(embedding, 4 * hidden)
        self.state_gates = nn.Linear(width + hidden, 4 * hidden, bias=False)
        self.hidden_out = nn.Linear(hidden, embedding)
        self.context_out = nn.Linear(width, embedding, bias=False)
        self.classify = nn.Linear(embedding, vocabulary_size)

    def look(self, features: Tensor) -> Memory:
        """features (B, L, channels) → what the steps need of them."""
        projected = torch.relu(self.project(features)) if self.sizes.feature_size else features
        projected = dropout(projected, self.sizes.dropout_features, self.training)
        return Memory(projected, self.attend.keys(projected))

    def start(self, memory: Memory, captions: int) -> State:
        """The state before the first word, from the mean feature (section 3.1.2), for ``captions`` a picture."""
        mean = memory.features.mean(dim=1).repeat_interleave(captions, dim=0)
        return State(torch.tanh(self.start_hidden(mean)), torch.tanh(self.start_cell(mean)))

    def table(self) -> WordTable:
        """What the steps need of the words, for all of them at once: it pays where many words are to be said."""
        return WordTable(self.word_gates(self.embed.weight), *self._classes())

    def glimpse(self, state: State, memory: Memory, rows: Rows | None = None) -> Glimpse:
        """Looks at the pictures: state (B·R, …), or (N, …) with ``rows``."""
        context, weights = self.attend(state.hidden, memory.keys, memory.features, rows)
        context = torch.sigmoid(self.gate(state.hidden)) * context
        return Glimpse(self.state_gates(torch.cat([context, state.hidden], dim=1)), state.cell, context, weights)

    def say(self, words: Tensor, glimpse: Glimpse, table: WordTable | None = None) -> tuple[Tensor, State]:
        """words (N,), the last ones said, after a glimpse → logits (N, V) of the next words, the new state."""
        embedded = self.embed(words)
        state = _move(table.gates[words] if table else self.word_gates(embedded), glimpse)
        classes = (table.classes, table.biases) if table else (self.classify.weight, self.classify.bias)
        return self._output(embedded, state.hidden, glimpse.context, classes), state

    def attention(self, glimpse: Glimpse) -> Tensor:
        """The weights (N, L) of a glimpse."""
        return glimpse.weights

    def teach(self, features: Tensor, captions: Tensor) -> Taught:
        """Teacher forcing: features (B, L, channels), captions (B, R, T), padded behind END with PAD.

        Captions are sorted by length within a picture, so that a step computes no more than the most captions that
        any picture still has; the vocabulary is projected to for real words only.
        """
        batch, ranks, length = captions.shape
        lengths = (captions != PAD).sum(2)  # (B, R)
        order = lengths.argsort(dim=1, descending=True, stable=True)
        captions = captions.gather(1, order.unsqueeze(2).expand_as(captions))
        active = [int(n) for n in (captions != PAD).sum(1).amax(0)]  # captions a picture still alive at step t

        memory = self.look(features)
        said = torch.cat([captions.new_full((batch, ranks, 1), START), captions[:, :, :-1]], dim=2)
        embedded = dropout(self.embed(said), self.sizes.dropout_embedding, self.training)
        word_gates = self.word_gates(embedded)  # (B, R, T, 4H)
        state, rows = self.start(memory, ranks), ranks
        steps: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        all_weights: list[Tensor] = []
        for t in range(length):
            if active[t] < rows:
                state = State(*(_first(part, batch, rows, active[t]) for part in state))
                rows = active[t]
            if not rows:
                break
            glimpse = self.glimpse(state, memory)
            state = _move(word_gates[:, :rows, t].flatten(0, 1), glimpse)
            targets = captions[:, :rows, t].flatten()
            real = targets != PAD
            said_now = embedded[:, :rows, t].flatten(0, 1)
            steps.append((said_now[real], state.hidden[real], glimpse.context[real], targets[real]))
            shown = (glimpse.weights * real.unsqueeze(1)).view(batch, rows, -1)
            all_weights.append(nn.functional.pad(shown, (0, 0, 0, ranks - rows)))
        words, hidden, context, targets = (torch.cat(part) for part in zip(*steps, strict=True))
        weights = torch.stack(all_weights, dim=2).flatten(0, 1)  # (B·R, T, L)
        return Taught(self._output(words, hidden, context, self._classes()), targets, weights)

    def _classes(self) -> tuple[Tensor, Tensor]:
        """The classifier with rows of zeros up to a multiple of 64: the product is up to twice as fast on a CPU."""
        more = -len(self.classify.bias) % 64
        return nn.functional.pad(self.classify.weight, (0, 0, 0, more)), nn.functional.pad(
            self.classify.bias, (0, more)
        )

    def _output(self, embedded: Tensor, hidden: Tensor, context: Tensor, classes: tuple[Tensor, Tensor]) -> Tensor:
        """p(word) ∝ exp(L_o(E y + L_h h + L_z z)), equation 7."""
        hidden = dropout(hidden, self.sizes.dropout_output, self.training)
        mixed = embedded + self.hidden_out(hidden) + self.context_out(context)
        mixed = dropout(torch.tanh(mixed), self.sizes.dropout_output, self.training)
        return nn.functional.linear(mixed, *classes)[:, : self.classify.out_features]


def _move(word_gates: Tensor, glimpse: Glimpse) -> State:
    """The LSTM cell (Hochreiter and Schmidhuber 1997), its products done."""
    into, forget, out, new = (word_gates + glimpse.gates).chunk(4, dim=1)
    cell = torch.sigmoid(forget) * glimpse.cell + torch.sigmoid(into) * torch.tanh(new)
    return State(torch.sigmoid(out) * torch.tanh(cell), cell)


def _first(rows: Tensor, batch: int, ranks: int, kept: int) -> Tensor:
    return rows.view(batch, ranks, -1)[:, :kept].flatten(0, 1)
