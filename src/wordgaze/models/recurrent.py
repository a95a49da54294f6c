"""Recurrent layers that take their gates' pre-activations in parts.

A recurrent cell computes W x + U h + b. Here W x and U h are computed by the caller, each where it is cheapest: the
products with the words do not depend on the recurrence and are computed for all steps at once, and the products with
the last hidden state are shared by hypotheses that differ in their last word only.
"""

import torch
from torch import Tensor, nn

from wordgaze.models.kernels.step_linear import StepLinear

LayerState = tuple[Tensor, ...]  # the hidden state h (N, H), and for the LSTM the memory cell c (N, H)


class LSTMCell:
    """Hochreiter and Schmidhuber 1997, with forget gates. Order of the gates: input, forget, output, candidate."""

    num_gates = 4
    num_states = 2

    @staticmethod
    def step(input_gates: Tensor, recurrent_gates: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """W x + b (N, 4H), U h (N, 4H) and the state → the hidden state (N, H) and the new state."""
        i, f, o, g = (input_gates + recurrent_gates).chunk(4, dim=1)
        cell = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        return hidden, (hidden, cell)


class GRUCell:
    """Cho et al. 2014. Order of the gates: reset, update, candidate; the reset gate multiplies U h, as in cuDNN."""

    num_gates = 3
    num_states = 1

    @staticmethod
    def step(input_gates: Tensor, recurrent_gates: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """W x + b (N, 3H), U h (N, 3H) and the state → the hidden state (N, H) and the new state."""
        (input_r, input_z, input_n), (hidden_r, hidden_z, hidden_n) = (
            input_gates.chunk(3, dim=1),
            recurrent_gates.chunk(3, dim=1),
        )
        z = torch.sigmoid(input_z + hidden_z)
        n = torch.tanh(input_n + torch.sigmoid(input_r + hidden_r) * hidden_n)
        hidden = z * state[0] + (1 - z) * n
        return hidden, (hidden,)


CELLS: dict[str, type[LSTMCell] | type[GRUCell]] = {"lstm": LSTMCell, "gru": GRUCell}


class RecurrentLayer(nn.Module):
    """One layer. ``input_size`` is the width of the layer below, 0 for the first layer, whose input the decoder
    projects. ``has_sentinel`` adds a gate whose product with the memory cell is the visual sentinel (Lu et al. 2017,
    equations 9 and 10)."""

    def __init__(self, cell: str, input_size: int, hidden_size: int, has_sentinel: bool) -> None:
        super().__init__()
        self.cell, self.hidden_size, self.has_sentinel = CELLS[cell], hidden_size, has_sentinel
        self.gate_size = (self.cell.num_gates + has_sentinel) * hidden_size  # G
        self.input_projection = StepLinear(input_size, self.gate_size) if input_size else None
        self.recurrent_projection = StepLinear(hidden_size, self.gate_size, bias=False)

    def forward(
        self, input_gates: Tensor, recurrent_gates: Tensor, state: LayerState
    ) -> tuple[Tensor, LayerState, Tensor | None]:
        """input_gates (N, G), recurrent_gates (N, G) → the hidden state (N, H), the new state, the sentinel (N, H)."""
        if not self.has_sentinel:
            return *self.cell.step(input_gates, recurrent_gates, state), None
        size = self.cell.num_gates * self.hidden_size
        hidden, new_state = self.cell.step(input_gates[:, :size], recurrent_gates[:, :size], state)
        gate = torch.sigmoid(input_gates[:, size:] + recurrent_gates[:, size:])
        return hidden, new_state, gate * torch.tanh(new_state[1])
