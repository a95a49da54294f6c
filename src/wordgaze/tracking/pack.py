"""``wordgaze pack``: from a captioner of any address to a small folder with a model card."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wordgaze.evaluation.model_card.records import training_records
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioner_folder import CaptionerCard, read_card
from wordgaze.inference.pack import PackedSizes, check_target, pack_captioner
from wordgaze.inference.precision import WeightsDtype
from wordgaze.tracking.card import copied_card, make_model_card, recorded_costs, shipped_card, weights_checksum
from wordgaze.tracking.resolve import resolve


def pack_model(
    model: str,
    folder: Path,
    settings: Mapping[str, Any],
    *,
    dtype: WeightsDtype | None = None,
    keep_neighbours: bool = False,
    overwrite: bool = False,
) -> PackedSizes:
    """Packs a captioner; see :func:`wordgaze.inference.pack.pack_captioner`.

    Without a ``dtype`` int8 stays int8, since a wider one restores nothing, and fp16 is taken for all else.
    ``settings`` are decoding settings that replace the captioner's own. The model card is filled from the records of
    the project in the working directory, if they are of this captioner; else it is that of ``model``, if it has one.
    Raises as :func:`resolve` and
    ``pack_captioner``.
    """
    source = resolve(model).folder
    check_target(source, folder, overwrite)
    card = read_card(source)
    dtype = dtype or ("int8" if card.dtype == "int8" else "fp16")
    weights = weights_checksum(source)
    costs = recorded_costs(weights)
    options = [_option(name.replace("_", "-"), value) for name, value in settings.items()]
    kept = ["--keep-neighbours"] if keep_neighbours else []
    command = " ".join(["wordgaze pack", _named(model), folder.name, f"--dtype {dtype}", *kept, *options])
    shipped = shipped_card(source, weights)

    def documents(packed: CaptionerCard) -> Mapping[str, str]:
        if shipped is not None:
            return copied_card(shipped, command).files()
        return make_model_card(folder.name, packed, weights, command, costs).files()

    return pack_captioner(
        source,
        folder,
        dtype=dtype,
        keep_neighbours=keep_neighbours,
        generation=GenerationConfig(**(card.generation.model_dump() | dict(settings))),
        dataset=training_records(weights).dataset,
        documents=documents,
        overwrite=overwrite,
    )


def _named(model: str) -> str:
    """The model without the folders of the machine."""
    return shlex.quote(Path(model).name if Path(model).is_absolute() else model)


def _option(name: str, value: object) -> str:
    """An option of the command line as it was given."""
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    values = value if isinstance(value, (list, tuple)) else [value]
    return " ".join(f"--{name} {shlex.quote(str(one))}" for one in values)
