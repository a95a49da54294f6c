"""Exports a captioner as ONNX graphs: its encoder, its decoder, and all that a runtime needs to caption an image."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wordgaze.core.errors import ModelError
from wordgaze.core.files import atomic_directory, check_output_folder, sha256, write_json
from wordgaze.export.calibration import calibrate_encoder
from wordgaze.export.tracing import OPSET, write_graphs
from wordgaze.export.weights import narrow_graph
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.numpy_search import NUMPY_STRATEGIES, UNSUPPORTED
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.captioner_folder import CaptionerCard, build_decoder, encoder_state, read_captioner
from wordgaze.inference.conformance import CONFORMANCE_FOLDER, TOLERANCES, write_conformance
from wordgaze.inference.exported_folder import ExportedCard, ExportedDtype, FileRecord, Transform
from wordgaze.inference.folder_names import ENCODER_GRAPH, EXPORTED_CARD, INIT_GRAPH, STEP_GRAPH, is_exported
from wordgaze.models.recurrent import CELLS
from wordgaze.text.vocabulary import SPECIAL, Vocabulary
from wordgaze.vision.decoding_process import decode_safely
from wordgaze.vision.encoders import encoder_from_spec, fold_batch_norm

_log = logging.getLogger(__name__)

INTERPOLATIONS = ("bilinear", "bicubic", "lanczos")
GRAPHS = (ENCODER_GRAPH, INIT_GRAPH, STEP_GRAPH)


class ExportSettings(NamedTuple):
    """How a captioner is exported.

    ``dtype`` is how the weights are stored. With ``calibration``, image files such as the encoder will see, the encoder
    computes in 8 bits too. ``conformance`` are the image files of the conformance set; none writes no set.
    """

    dtype: ExportedDtype = "fp32"
    calibration: Sequence[Path] = ()
    conformance: Sequence[Path] = ()
    overwrite: bool = False


def export_onnx(source: Path, folder: Path, settings: ExportSettings) -> int:
    """Writes the captioner in ``source`` as an exported captioner to ``folder``, whole or not at all.

    Returns the bytes of its graphs. Raises ModelError for a source without a captioner, for one that has a part that
    cannot be exported, and for a ``folder`` that exists, unless it is an exported captioner and ``overwrite``.
    """
    check_export_target(folder, settings.overwrite)
    check_output_folder(folder, "FOLDER")
    with atomic_directory(folder) as temporary:
        return write_exported(source, temporary, settings)


def write_exported(source: Path, folder: Path, settings: ExportSettings) -> int:
    """As :func:`export_onnx`, into an empty folder."""
    if settings.calibration and settings.dtype != "int8":
        raise ModelError(f"an encoder is calibrated for 8 bits, and the dtype is {settings.dtype}; give --dtype int8")
    card, state = read_captioner(source)
    transform = _transform(card)
    decoder, vocabulary = build_decoder(source, card, state)
    encoder = encoder_from_spec(card.encoder, encoder_state(source, card, state))
    fold_batch_norm(encoder.bodies)
    write_graphs(folder, encoder, decoder.eval())
    if settings.calibration:
        calibrate_encoder(folder / ENCODER_GRAPH, encoder, settings.calibration)
    for name in GRAPHS[bool(settings.calibration) :]:
        narrow_graph(folder / name, settings.dtype)
    for name, data in vocabulary.tokenizer.files().items():
        (folder / name).write_bytes(data)
    exported = ExportedCard(
        opset=OPSET,
        dtype=settings.dtype,
        calibrated=bool(settings.calibration),
        tokenizer=card.tokenizer,
        separator=_separator(vocabulary),
        vocabulary=card.vocabulary,
        transform=transform,
        memory=("memory", "keys", "mean_gates")[: 3 if decoder.attention_layer > 0 else 2],
        states=tuple(f"state_{n}" for n in range(decoder.config.num_layers * CELLS[decoder.config.cell].num_states)),
        generation=_generation(card.generation),
        dataset=card.dataset,
        files={name: _record(folder / name) for name in GRAPHS},
    )
    write_json(folder / EXPORTED_CARD, exported.model_dump(mode="json"))
    if settings.conformance:
        captioner = Captioner.load(source, "cpu")
        images = [(path.stem, decode_safely(path)) for path in settings.conformance]
        write_conformance(
            folder / CONFORMANCE_FOLDER,
            images,
            transform.image_size,
            TOLERANCES[settings.dtype],
            lambda image, config: captioner.caption(image, config)[0],
        )
    return sum(record.bytes for record in exported.files.values())


def check_export_target(folder: Path, overwrite: bool) -> None:
    """Raises ModelError if ``folder`` must not be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not is_exported(folder):
        raise ModelError(f"{folder} exists and was not exported by wordgaze; give the name of a new folder")
    if not overwrite:
        raise ModelError(f"{folder} exists; give --overwrite to replace it, or the name of a new folder")


def _transform(card: CaptionerCard) -> Transform:
    spec = card.encoder
    if spec.interpolation not in INTERPOLATIONS:
        raise ModelError(
            f"encoder {spec.name} resizes by {spec.interpolation}, which cannot be exported; one of"
            f" {', '.join(INTERPOLATIONS)} can"
        )
    return Transform(image_size=spec.image_size, interpolation=spec.interpolation, grid=spec.grid)


def _separator(vocabulary: Vocabulary) -> str:
    """What stands between two words of the vocabulary's language."""
    words = vocabulary.words[len(SPECIAL) :][:2]
    return " " if " " in vocabulary.tokenizer.join(words) or len(words) < 2 else ""


def _generation(config: GenerationConfig) -> GenerationConfig:
    """The settings that an exported captioner has by default: without what needs PyTorch."""
    update: dict[str, object] = {name: GenerationConfig.model_fields[name].default for name in UNSUPPORTED}
    if config.strategy not in NUMPY_STRATEGIES:
        update["strategy"] = "beam"
    left_out = [name for name in UNSUPPORTED if getattr(config, name)]
    left_out += [f"strategy {config.strategy}"] if config.strategy not in NUMPY_STRATEGIES else []
    if left_out:
        _log.info("an exported captioner has no %s: its captions are those of beam search", ", no ".join(left_out))
    return config.model_copy(update=update)


def _record(path: Path) -> FileRecord:
    return FileRecord(bytes=path.stat().st_size, sha256=sha256(path))
