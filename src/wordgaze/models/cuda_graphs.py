"""The recurrence of teacher forcing as a CUDA graph.

On a GPU a small decoder takes the time that Python needs to launch its kernels: several thousand per training step, for
each word those of the attention, the cells and their gradients. A CUDA graph records the kernels of all words once and
launches them together, forward and backward.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import pad

from wordgaze.models.attention import Memory
from wordgaze.models.decoder import Decoder, State
from wordgaze.models.kernels.packing import StepRows

MAX_GRAPHS = 8
"""Graphs of different shapes that are kept; each holds the activations of a batch. Further shapes run without one."""

_MULTIPLE = 4  # steps are added up to a multiple of this, so that batches of similar length share a graph

Unroll = Callable[..., tuple[Tensor, ...]]


class GraphedRecurrence:
    """Computes what ``decoder.unroll`` computes, with weights in ``dtype``, by one graph per shape.

    A graph overwrites the outputs of its last call, so the backward pass of one call must precede the next call. The
    weights are read where they lie, and may change between two calls. Shapes that differ within a batch, as those of
    packed captions do, run without a graph. On a CPU the same code runs uncaptured.
    """

    def __init__(self, decoder: Decoder, dtype: torch.dtype) -> None:
        self.decoder, self.dtype = decoder, dtype
        self._recurrence = _Recurrence(decoder)
        # Those of fp32, which are not in their places while ``functional_call`` runs the decoder.
        self._weights = dict(self._recurrence.named_parameters())
        self._graphs: dict[tuple[object, ...], Unroll] = {}

    def __call__(
        self, word_gates: Sequence[Tensor], steps: Sequence[StepRows], state: State, memory: Memory
    ) -> tuple[Tensor, ...]:
        """As ``decoder.unroll``."""
        if any(keep is not None or rows is not None for keep, rows in steps):
            return self.decoder.unroll(word_gates, steps, state, memory)
        rows = len(word_gates[0])
        gates = pad(torch.stack(list(word_gates)), (0, 0, 0, 0, 0, -len(word_gates) % _MULTIPLE))  # (T', N, G)
        inputs = (gates, *memory, *(part for layer in state.layers for part in layer), state.step)
        unroll = self._graph(inputs)
        if unroll is None:
            return self.decoder.unroll(word_gates, steps, state, memory)
        return tuple(part[: rows * len(word_gates)] for part in unroll(*inputs, *self._weights.values()))

    def _graph(self, inputs: Sequence[Tensor]) -> Unroll | None:
        """The graph for inputs of these shapes, captured at first use; None if there are MAX_GRAPHS others."""
        key = (self.decoder.training, *((tensor.shape, tensor.dtype, tensor.requires_grad) for tensor in inputs))
        if key not in self._graphs and len(self._graphs) < MAX_GRAPHS:
            self._graphs[key] = self._captured(inputs)
        return self._graphs.get(key)

    def _captured(self, inputs: Sequence[Tensor]) -> Unroll:
        if inputs[0].device.type != "cuda":
            return self._unroll
        # New leaves of the autograd graph: those that exist belong to the stream on which no graph is captured. A leaf
        # with the memory of a weight is not copied to, when the weight is passed in its place.
        samples = [tensor.detach().clone() for tensor in inputs] + [p.detach() for p in self._weights.values()]
        for sample, tensor in zip(samples, [*inputs, *self._weights.values()], strict=True):
            sample.requires_grad_(tensor.requires_grad)
        with warnings.catch_warnings():  # the leaves are of the stream that warms up, not of the one that captures
            warnings.filterwarnings("ignore", "The AccumulateGrad node's stream does not match", UserWarning)
            graphed: Any = torch.cuda.make_graphed_callables(self._unroll, tuple(samples), allow_unused_input=True)
        return graphed  # type: ignore[no-any-return]

    def _unroll(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """``decoder.unroll`` as a function of tensors alone: (word_gates (T, N, G), the parts of Memory, those of
        State, the weights of fp32), which are cast here."""
        count = len(self._weights)
        weights = {name: p.to(self.dtype) for name, p in zip(self._weights, inputs[-count:], strict=True)}
        outputs: tuple[Tensor, ...] = functional_call(self._recurrence, weights, inputs[:-count])
        return outputs


class _Recurrence(nn.Module):
    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, word_gates: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        memory, (*parts, step) = Memory(*inputs[:4]), inputs[4:]
        num_layers = len(self.decoder.layers)
        per_layer = len(parts) // num_layers
        layers = tuple(tuple(parts[n * per_layer : (n + 1) * per_layer]) for n in range(num_layers))
        steps = [StepRows(None, None)] * len(word_gates)
        return self.decoder.unroll(word_gates.unbind(), steps, State(layers, step), memory)
