"""One recurrent layer whose gates are computed in parts, each where it is cheapest.

The products with the words do not wait for the recurrence, and those with the last state are shared by hypotheses
that part at a word: so a layer takes what its input and its last state are worth to the gates, not these themselves.
"""

import torch
from torch import Tensor, nn

from wordgaze.models.kernels.step_linear import StepLinear

LayerState = tuple[Tensor, ...]  # hidden (N, H), and the LSTM's memory cell (N, H)


class Lstm:
    """Hochreiter and Schmidhuber 1997, with forget gates: into, forget, out, new."""

    gates = 4
    states = 2

    @staticmethod
    def move(inputs: Tensor, recurrent: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """What a state becomes; the first value is the hidden state."""
        into, forget, out, new = (inputs + recurrent).chunk(4, dim=1)
        cell = torch.sigmoid(forget) * state[1] + torch.sigmoid(into) * torch.tanh(new)
        hidden = torch.sigmoid(out) * torch.tanh(cell)
        return hidden, (hidden, cell)


class Gru:
    """Cho et al. 2014: reset, update, new; the reset gate is applied behind the product, as cuDNN does."""

    gates = 3
    states = 1

    @staticmethod
    def move(inputs: Tensor, recurrent: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """What a state becomes; the first value is the hidden state."""
        (reset, update, new), (of_reset, of_update, of_new) = inputs.chunk(3, dim=1), recurrent.chunk(3, dim=1)
        kept = torch.sigmoid(update + of_update)
        proposed = torch.tanh(new + torch.sigmoid(reset + of_reset) * of_new)
        hidden = kept * state[0] + (1 - kept) * proposed
        return hidden, (hidden,)


CELLS: dict[str, type[Lstm] | type[Gru]] = {"lstm": Lstm, "gru": Gru}


class RecurrentLayer(nn.Module):
    """``below``: the width of the layer under this one, 0 for none. ``sentinel``: has one more gate, whose product
    with the memory cell is the visual sentinel (Lu et al. 2017, equations 9 and 10)."""

    def __init__(self, cell: str, below: int, hidden: int, sentinel: bool) -> None:
        super().__init__()
        self.cell, self.hidden, self.has_sentinel = CELLS[cell], hidden, sentinel
        self.width = (self.cell.gates + sentinel) * hidden
        self.below = StepLinear(below, self.width) if below else None
        self.recurrent = StepLinear(hidden, self.width, bias=False)

    def forward(self, inputs: Tensor, recurrent: Tensor, state: LayerState) -> tuple[Tensor, LayerState, Tensor | None]:
        """inputs and recurrent (N, G), what they are worth to the gates → hidden (N, H), state, sentinel (N, H)."""
        if not self.has_sentinel:
            return *self.cell.move(inputs, recurrent, state), None
        own = self.cell.gates * self.hidden
        hidden, after = self.cell.move(inputs[:, :own], recurrent[:, :own], state)
        return hidden, after, torch.sigmoid(inputs[:, own:] + recurrent[:, own:]) * torch.tanh(after[1])
