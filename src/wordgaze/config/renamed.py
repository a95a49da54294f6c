"""Keys of ``params.yaml`` that were renamed: the old name is refused with the new one."""

from collections.abc import Iterator

_TRAIN = {
    "samples": "max_train_images",
    "dev_images": "max_dev_images",
    "reinforce": "reinforce_weight",
    "entropy": "entropy_weight",
    "clip_norm": "max_grad_norm",
    "average": "ema_decay",
    "processes": "devices",
    "num_processes": "devices",
}
_GENERATION = {
    "num": "num_return_sequences",
    "max_length": "max_new_tokens",
    "beam_width": "num_beams",
    "groups": "num_beam_groups",
    "diversity": "diversity_penalty",
    "neighbours": "num_neighbours",
    "expected_weight": "regression_weight",
    "min_length": "min_new_tokens",
    "no_repeat_ngram": "no_repeat_ngram_size",
    "complete": "no_dangling_end",
    "banned": "bad_words",
    "required": "force_words",
}
_SECTIONS = {"decode": "generation"}
_MOVED = {
    "train_stage2.finetune_blocks": "finetune.blocks",
    "train_stage2.finetune_learning_rate": "finetune.learning_rate",
}
_KEYS: dict[str, dict[str, str]] = {
    "dataset": {
        "train_images": "max_train_images",
        "dev_images": "max_dev_images",
        "test_images": "max_test_images",
    },
    "dataset.scenes": {
        "pictures": "num_images",
        "size": "image_size",
    },
    "model": {
        "layers": "num_layers",
        "look": "attention_position",
        "pace": "window_stride",
        "hard": "hard_attention",
        "soft_share": "soft_attention_share",
        "tied": "tie_embeddings",
        "vectors": "word_vectors",
        "vectors_frozen": "freeze_word_vectors",
    },
    "train_stage1": _TRAIN,
    "train_stage2": {
        **_TRAIN,
        "drawn": "num_samples",
        "draw_temperature": "sample_temperature",
        "bleu_share": "bleu_weight",
        "cross_entropy": "cross_entropy_weight",
    },
    "decode": _GENERATION,
    "generation": _GENERATION,
    "evaluate": {
        "attention_pictures": "num_attention_images",
        "resamples": "bootstrap_resamples",
    },
}

RENAMED: dict[str, str] = {
    **_SECTIONS,
    **_MOVED,
    **{
        f"{section}.{old}": f"{_SECTIONS.get(section, section)}.{new}"
        for section, keys in _KEYS.items()
        for old, new in keys.items()
    },
}
"""Old dotted key → new dotted key."""


def renamed(key: str, value: object) -> Iterator[tuple[str, str]]:
    """(old, new) for an unknown ``key``, and, if it is a renamed section, for the keys in it that are renamed too.

    Yields nothing for a key that was never valid.
    """
    if key in RENAMED:
        yield key, RENAMED[key]
    if key in _SECTIONS and isinstance(value, dict):
        yield from ((old, RENAMED[old]) for old in (f"{key}.{name}" for name in value) if old in RENAMED)
