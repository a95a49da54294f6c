"""The modules that become the three ONNX graphs of a captioner.

Shapes: B images, R hypotheses per image, L cells, D features, H hidden, V words. The batch and the number of hypotheses
are separate dimensions, and both are free.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wordgaze.models.attention import Memory
from wordgaze.models.decoder import Decoder, State
from wordgaze.models.recurrent import CELLS
from wordgaze.vision.encoders import Encoder
from wordgaze.vision.networks import feature_maps


class EncoderGraph(nn.Module):
    """Pixels to features, without the parts of :class:`Encoder` that depend on the device."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.spec, self.bodies = encoder.spec, encoder.bodies
        self.scales, self.offsets = [], []
        for network in self.spec.networks:
            std = torch.tensor(network.std)
            self.scales.append((255 * std).view(1, 3, 1, 1))
            self.offsets.append((torch.tensor(network.mean) / std).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 pixels (B, 3, S, S) → features (B, L, D)."""
        parts: list[Tensor] = []
        for number, (body, network) in enumerate(zip(self.bodies, self.spec.networks, strict=True)):
            maps = feature_maps(body, network.layers, pixels.float() / self.scales[number] - self.offsets[number])
            parts += [_pooled(each, self.spec.grid).flatten(2).transpose(1, 2) for each in maps]
        return torch.cat(parts, dim=2)


class InitGraph(nn.Module):
    """Features to what is computed once per image: the memory, and the state before the first word."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

        self.memory_names, self.state_names = _memory_names(decoder), _state_names(decoder)
        self.num_memory = len(self.memory_names)
        self.output_names = [*self.memory_names, *self.state_names]

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """features (B, L, C) → features (B, L, D), keys (B, L, A), mean gates (B, G) if any, states (B, 1, H)."""
        memory = self.decoder.encode(features)
        state = self.decoder.init_state(memory, 1)
        states = [part.unsqueeze(1) for layer in state.layers for part in layer]
        return (*memory[: self.num_memory], *states)


class StepGraph(nn.Module):
    """One step of generation."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

        self.memory_names, self.state_names = _memory_names(decoder), _state_names(decoder)
        self.input_names = ["words", "step", *self.memory_names, *self.state_names]
        self.output_names = ["logits", "weights", *(f"next_{name}" for name in self.state_names)]

    def forward(self, words: Tensor, step: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """words (B, R), step (1,), memory, states (B, R, H) → logits (B, R, V), weights (B, R, L), states (B, R, H).

        ``step`` is the number of words before this one.
        """
        batch_size, num_rows = words.shape
        num_memory = len(self.memory_names)
        memory = self._memory(*tensors[:num_memory])
        parts = iter(part.flatten(0, 1) for part in tensors[num_memory:])
        num_states = len(tensors[num_memory:]) // len(self.decoder.layers)
        layers = tuple(tuple(next(parts) for _ in range(num_states)) for _ in self.decoder.layers)
        state = State(layers, step.expand(batch_size * num_rows))
        output = self.decoder.step(words.flatten(), self.decoder.prepare_step(state, memory), memory)
        states = [part for layer in output.state.layers for part in layer]
        shaped = (part.view(batch_size, num_rows, -1) for part in (output.logits, output.weights, *states))
        return tuple(shaped)

    def _memory(self, features: Tensor, keys: Tensor, mean_gates: Tensor | None = None) -> Memory:
        none = features[:, 0, :0]
        return Memory(features, keys, none if mean_gates is None else mean_gates, none)


def _memory_names(decoder: Decoder) -> list[str]:
    return ["memory", "keys", *(["mean_gates"] if decoder.attention_layer > 0 else [])]


def _state_names(decoder: Decoder) -> list[str]:
    count = decoder.config.num_layers * CELLS[decoder.config.cell].num_states
    return [f"state_{number}" for number in range(count)]


def _pooled(features: Tensor, grid: Sequence[int]) -> Tensor:
    """Adaptive average pooling (B, C, H, W) → (B, C, rows, columns) as two products, which ONNX lacks."""
    rows, columns = (_pooling(size, cells) for size, cells in zip(features.shape[2:], grid, strict=True))
    return rows @ features @ columns.T


def _pooling(size: int, cells: int) -> Tensor:
    """(cells, size): the weights with which a cell of adaptive pooling takes the values of a row."""
    weights = torch.zeros(cells, size)
    for cell in range(cells):
        first, last = cell * size // cells, math.ceil((cell + 1) * size / cells)
        weights[cell, first:last] = 1 / (last - first)
    return weights
