"""A small decoder of every kind."""

import torch
from torch import Tensor

from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import PAD

CHANNELS, CELLS, WORDS = 6, 9, 9
HIDDEN = 5

VARIANTS: dict[str, dict[str, object]] = {
    "soft": {},
    "channels": {"feature_size": 0},
    "standardised": {"standardise": True},
    "concat": {"attention": "concat"},
    "dot": {"attention": "dot"},
    "general": {"attention": "general"},
    "local_m": {"span": "local_m", "window": 2, "window_stride": 1.5},
    "local_p": {"span": "local_p", "window": 2, "attention_position": "last"},
    "hard": {"hard_attention": True},
    "adaptive": {"attention_position": "last", "sentinel": True, "gate": False, "output": "plain"},
    "adaptive deep": {"attention_position": "last", "num_layers": 2, "sentinel": True, "attention": "general"},
    "top_down": {"attention_position": "between", "num_layers": 2, "gate": False, "output": "plain"},
    "top_down sentinel": {"attention_position": "between", "num_layers": 3, "sentinel": True},
    "gru": {"cell": "gru", "num_layers": 2},
    "gru top_down": {"cell": "gru", "attention_position": "between", "num_layers": 2, "span": "local_m", "window": 3},
    "tied": {"tie_embeddings": True},
    "tied plain": {"tie_embeddings": True, "output": "plain"},
    "plain": {"output": "plain", "gate": False},
    "hard local top_down": {
        "hard_attention": True,
        "span": "local_p",
        "attention_position": "between",
        "num_layers": 2,
    },
}


def config(**values: object) -> DecoderConfig:
    small = {"embedding_size": 5, "hidden_size": HIDDEN, "attention_size": 6, "feature_size": 5}
    dropouts = dict.fromkeys(("dropout_embedding", "dropout_features", "dropout_output"), 0.0)
    return DecoderConfig.model_validate({**small, **dropouts, **values})


def decoder_of(vector_size: int = 0, **values: object) -> Decoder:
    """A decoder whose weights are large enough for every part to matter."""
    torch.manual_seed(1)
    decoder = Decoder(config(**values), CHANNELS, WORDS, vector_size).eval()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return decoder


def pictures(count: int = 2) -> Tensor:
    return torch.randn(count, CELLS, CHANNELS, generator=torch.Generator().manual_seed(2))


def padded(captions: list[list[list[int]]], ranks: int = 3, length: int = 6) -> Tensor:
    """Captions of pictures as a tensor (B, ranks, length)."""
    tensor = torch.full((len(captions), ranks, length), PAD)
    for b, of_one in enumerate(captions):
        for r, words in enumerate(of_one):
            tensor[b, r, : len(words)] = torch.tensor(words)
    return tensor
