"""The names in captioner folders of format 3, and what they are called since format 4."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

CONFIG_KEYS = {
    "layers": "num_layers",
    "look": "attention_position",
    "pace": "window_stride",
    "hard": "hard_attention",
    "soft_share": "soft_attention_share",
    "tied": "tie_embeddings",
    "vectors": "word_vectors",
    "vectors_frozen": "freeze_word_vectors",
}
"""Keys of the decoder's configuration."""

TENSOR_PARTS = {
    "classes": "lm_head.weight",
    "biases": "lm_head.bias",
    "shift": "feature_mean",
    "scale": "feature_scale",
    "project": "feature_projection",
    "embed": "embedding",
    "widen": "embedding_projection",
    "attend": "attention",
    "key": "key_projection",
    "query": "query_projection",
    "sentinel_key": "sentinel_key_projection",
    "place": "center_predictor",
    "below": "input_projection",
    "recurrent": "recurrent_projection",
    "first_state": "init_state_projection",
    "gate": "context_gate",
    "word_gates": "word_to_gates",
    "mean_gates": "mean_to_gates",
    "top_gates": "top_to_gates",
    "context_gates": "context_to_gates",
    "hidden_out": "hidden_to_output",
    "context_out": "context_to_output",
}
"""Parts between the dots of the names of the decoder's tensors."""


def upgrade_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """The decoder's configuration of format 3 with the keys of format 4."""
    return {CONFIG_KEYS.get(key, key): value for key, value in values.items()}


def upgrade_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The decoder's tensors of format 3, without a common prefix, under the names of format 4."""
    return {_upgrade_name(name): tensor for name, tensor in tensors.items()}


def _upgrade_name(name: str) -> str:
    return ".".join(TENSOR_PARTS.get(part, part) for part in name.split("."))
