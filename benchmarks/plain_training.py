"""The plain loop that benchmarks/training.py compares with: a decoder, a loss and a trainer as in tutorials."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, dropout1d, pad
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from wordgaze.config.params import TrainParams
from wordgaze.models.decoder import MAX_DEVIATION, Decoder
from wordgaze.text.vocabulary import PAD, START
from wordgaze.training.batches import Example
from wordgaze.vision.feature_store import FeatureSource


class PlainDecoder(nn.Module):
    """The same model, without packing or sharing between the captions of an image; starts from a decoder's weights."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        own = copy.deepcopy(decoder)
        self.config, self.top_down = own.config, own.config.attention_position == "between"
        self.is_last = own.config.attention_position == "last"
        if own.config.standardise:
            self.register_buffer("feature_mean", own.get_buffer("feature_mean"))
            self.register_buffer("feature_scale", own.get_buffer("feature_scale"))
        self.feature_projection, self.embedding = _linear(own.feature_projection), own.embedding
        self.init_state_projection = _linear(own.init_state_projection)
        score = own.attention.score
        self.key_projection, self.query_projection = _linear(score.key_projection), _linear(score.query_projection)
        self.energy = score.energy
        self.hidden_to_output, self.context_to_output = _linear(own.hidden_to_output), _linear(own.context_to_output)
        self.gate = _linear(own.context_gate) if own.config.gate else None
        self.lm_head = nn.Linear(own.lm_head.weight.shape[1], own.vocabulary_size)
        self.lm_head.weight, self.lm_head.bias = own.lm_head.weight, own.lm_head.bias
        first, *upper_layers = own.layers
        if self.top_down:
            lower = (own.word_to_gates.weight, own.mean_to_gates.weight, own.top_to_gates.weight)
            cells = [_cell(lower, own.word_to_gates.bias, first.recurrent_projection.weight)]
            upper = (upper_layers[0].input_projection.weight, own.context_to_gates.weight)
            cells.append(
                _cell(upper, upper_layers[0].input_projection.bias, upper_layers[0].recurrent_projection.weight)
            )
        elif self.is_last:
            lower = (own.word_to_gates.weight, own.mean_to_gates.weight)
            recurrent, bias = first.recurrent_projection.weight, own.word_to_gates.bias
            size = 4 * own.config.hidden_size
            cells = [_cell([part[:size] for part in lower], bias[:size], recurrent[:size])]
            self.sentinel_gate = nn.Linear(lower[0].shape[1] + lower[1].shape[1] + recurrent.shape[1], size // 4)
            gate = torch.cat([part[size:].detach() for part in (*lower, recurrent)], 1)
            self.sentinel_gate.weight, self.sentinel_gate.bias = nn.Parameter(gate), nn.Parameter(bias[size:].detach())
            self.sentinel_key_projection = _linear(own.attention.sentinel_key_projection)
        else:
            lower = (own.word_to_gates.weight, own.context_to_gates.weight)
            cells = [_cell(lower, own.word_to_gates.bias, first.recurrent_projection.weight)]
        self.cells = nn.ModuleList(cells)

    def forward(self, features: Tensor, captions: Tensor) -> tuple[Tensor, Tensor]:
        """features (N, L, channels), captions (N, T) → logits (N, T, V), weights (N, T, L)."""
        config = self.config
        if config.standardise:
            features = (features - self.feature_mean) * self.feature_scale
            features = features.clamp(-MAX_DEVIATION, MAX_DEVIATION)
        features = dropout1d(features.transpose(1, 2), config.dropout_channels, self.training).transpose(1, 2)
        grid = dropout(torch.relu(self.feature_projection(features)), config.dropout_features, self.training)
        keys, mean = self.key_projection(grid), grid.mean(1)
        parts = torch.tanh(self.init_state_projection(mean)).chunk(2 * config.num_layers, 1)
        states = list(zip(parts[::2], parts[1::2], strict=True))
        inputs = pad(captions[:, :-1], (1, 0), value=START)
        words = dropout(self.embedding(inputs), config.dropout_embedding, self.training)
        logits, attention = [], []
        for t in range(captions.shape[1]):
            word = words[:, t]
            if self.top_down:
                states[0] = self.cells[0](torch.cat([word, mean, states[1][0]], 1), states[0])
            if self.is_last:
                inputs = torch.cat([word, mean], 1)
                gate = torch.sigmoid(self.sentinel_gate(torch.cat([inputs, states[0][0]], 1)))
                states[0] = self.cells[0](inputs, states[0])
                sentinel = gate * torch.tanh(states[0][1])
            query = states[0][0]
            asked = self.query_projection(query)
            energy = self.energy(torch.tanh(keys + asked.unsqueeze(1))).squeeze(2)
            if self.is_last:
                own = self.energy(torch.tanh(self.sentinel_key_projection(sentinel) + asked))
                every = torch.softmax(torch.cat([energy, own], 1), 1)
                weights = every[:, :-1]
                context = (weights.unsqueeze(2) * grid).sum(1) + every[:, -1:] * sentinel
            else:
                weights = torch.softmax(energy, 1)
                context = (weights.unsqueeze(2) * grid).sum(1)
                if self.gate is not None:
                    context = torch.sigmoid(self.gate(query)) * context
                lower = states[0][0] if self.top_down else word
                states[-1] = self.cells[-1](torch.cat([lower, context], 1), states[-1])
            hidden = dropout(states[-1][0], config.dropout_output, self.training)
            output = torch.tanh(word + self.hidden_to_output(hidden) + self.context_to_output(context))
            logits.append(self.lm_head(dropout(output, config.dropout_output, self.training)))
            attention.append(weights)
        return torch.stack(logits, 1), torch.stack(attention, 1)


def _linear(own: nn.Linear) -> nn.Linear:
    """PyTorch's layer with the weights of one of the decoder's."""
    layer = nn.Linear(own.in_features, own.out_features, bias=own.bias is not None)
    layer.weight, layer.bias = own.weight, own.bias
    return layer


def _cell(inputs: Sequence[Tensor], bias: Tensor, recurrent: Tensor) -> nn.LSTMCell:
    """PyTorch's cell with the decoder's weights. Its gates are ordered input, forget, candidate, output."""

    def reordered(part: Tensor) -> Tensor:
        i, f, o, g = part.detach().chunk(4)
        return torch.cat([i, f, g, o])

    weights = torch.cat([part.detach() for part in inputs], 1)
    cell = nn.LSTMCell(weights.shape[1], recurrent.shape[1])
    cell.weight_ih, cell.weight_hh = nn.Parameter(reordered(weights)), nn.Parameter(reordered(recurrent))
    cell.bias_ih = nn.Parameter(reordered(bias))
    cell.bias_hh = nn.Parameter(torch.zeros_like(bias), requires_grad=False)
    return cell


def plain_loss(logits: Tensor, weights: Tensor, captions: Tensor, params: TrainParams) -> tuple[Tensor, Tensor]:
    """The loss to be minimised, and the cross entropy per word."""
    flat, targets = logits.flatten(0, 1), captions.flatten()
    loss = cross_entropy(flat, targets, ignore_index=PAD, label_smoothing=params.label_smoothing)
    attended = (weights * (captions != PAD).unsqueeze(2)).sum(1)
    loss = loss + params.doubly_stochastic * (1 - attended).square().mean()
    return loss, cross_entropy(flat.detach(), targets, ignore_index=PAD)


class CaptionDataset(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of the features of an image, read for every caption, and the caption."""

    def __init__(self, examples: Sequence[Example], source: FeatureSource) -> None:
        self.pairs = [(example.image, torch.tensor(words)) for example in examples for words in example.captions]
        self.source = source

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, words = self.pairs[index]
        return self.source.read([image])[0].float(), words


def collate(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    features, captions = zip(*pairs, strict=True)
    return torch.stack(features), pad_sequence(captions, batch_first=True, padding_value=PAD)


class PlainTrainer:
    """The plain loop, with the learning rate schedule ``lr_lambda``."""

    def __init__(
        self, decoder: Decoder, params: TrainParams, lr_lambda: Callable[[int], float], device: torch.device
    ) -> None:
        self.model, self.params = PlainDecoder(decoder).to(device), params
        self.lr_lambda, self.device = lr_lambda, device
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, params.learning_rate, (0.9, 0.98), weight_decay=params.weight_decay)
        self.num_steps = 0

    def step(self, features: Tensor, captions: Tensor) -> float:
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.params.learning_rate * self.lr_lambda(self.num_steps)
        captions = captions.to(self.device)
        loss, cross_entropy_per_word = plain_loss(
            *self.model(features.to(self.device), captions), captions, self.params
        )
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.params.max_grad_norm)
        self.optimizer.step()
        self.num_steps += 1
        return float(cross_entropy_per_word)
