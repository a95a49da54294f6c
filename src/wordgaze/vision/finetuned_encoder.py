"""The folder that stage ``finetune`` writes: the weights of a fine-tuned encoder, and how they were trained.

encoder.json          ``blocks``, the number of blocks that were trained; 0 if the encoder is as its package has it
encoder.safetensors   the weights of the whole encoder; missing if no block was trained
SHA256SUMS            the checksums of these files
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from wordgaze.core.checksums import read_checksums, read_tensors, write_checksums
from wordgaze.core.errors import DataError, ModelError
from wordgaze.core.files import atomic_directory, write_json, write_tensors
from wordgaze.vision.encoders import Encoder

_CARD, _WEIGHTS = "encoder.json", "encoder.safetensors"
_REPEAT = "run dvc repro -f -s finetune"


def write_encoder(folder: Path, state: Mapping[str, Tensor] | None, card: Mapping[str, object]) -> None:
    """Writes the folder, whole or not at all; ``state`` is None for an encoder that was not trained."""
    with atomic_directory(folder) as temporary:
        write_json(temporary / _CARD, dict(card))
        if state is not None:
            write_tensors(temporary / _WEIGHTS, state)
        write_checksums(temporary, sorted(path.name for path in temporary.iterdir()))


def load_finetuned(folder: Path, encoder: Encoder) -> None:
    """Gives an encoder the weights of the folder.

    Raises DataError if they are missing or damaged, ModelError if they are those of another encoder.
    """
    if not (folder / _WEIGHTS).is_file():
        raise DataError(f"{folder / _WEIGHTS} is missing; {_REPEAT}")
    state = read_tensors(folder / _WEIGHTS, read_checksums(folder, (_WEIGHTS,), _REPEAT).get(_WEIGHTS), _REPEAT)
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"{folder} has the weights of another encoder than {encoder.spec.name}; {_REPEAT}") from error
