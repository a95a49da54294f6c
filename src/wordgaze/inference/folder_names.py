"""The names of the files in the folders of captioners, known without PyTorch, which reading a captioner needs."""

from pathlib import Path

CARD, WEIGHTS = "captioner.json", "weights.safetensors"
MODEL_CARD, CARD_PAGE = "README.md", "model_card.html"
TRAINING_IMAGES = "training_images.txt"

EXPORTED_CARD = "config.json"
ENCODER_GRAPH, INIT_GRAPH, STEP_GRAPH = "encoder.onnx", "decoder_init.onnx", "decoder_step.onnx"


def is_exported(folder: Path) -> bool:
    """Whether a folder looks like an exported captioner."""
    return (folder / EXPORTED_CARD).is_file() and (folder / STEP_GRAPH).is_file()
