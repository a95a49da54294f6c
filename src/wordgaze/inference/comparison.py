"""Strategies and captioners side by side on one image."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wordgaze.core.errors import ModelError, ParamsError
from wordgaze.core.files import atomic_write, check_output
from wordgaze.core.printable import escaped
from wordgaze.generation.config import GenerationConfig, parse_generation_config
from wordgaze.generation.outputs import Caption
from wordgaze.generation.presets import PRESETS
from wordgaze.inference.attention_maps import comparison_sheet
from wordgaze.inference.caption_files import check_inputs_are_kept, check_sheet
from wordgaze.inference.captioner import Captioner, caption_ensemble
from wordgaze.inference.outliers import warn_of_outliers
from wordgaze.vision.decoding_process import decode_safely

WARPING = frozenset({"temperature", "top_k", "top_p", "typical_p", "min_p"})
"""The settings that restrict what is sampled from."""


class ComparedStrategy(NamedTuple):
    """The captions of one strategy, best first, and the seconds it took, including the encoder."""

    strategy: str
    captions: list[Caption]
    seconds: float


def compare_strategies(
    picture: Path, folders: Sequence[Path], settings: Mapping[str, Any], seed: int = 0
) -> Iterator[ComparedStrategy]:
    """Captions an image with each preset that the first captioner supports; several captioners form an ensemble.

    ``settings`` are fields of GenerationConfig that all presets share; see :func:`strategy_config`. Warns of an image
    that is unlike those of the training of a single captioner.
    """
    image = decode_safely(picture)
    captioners = [Captioner.load(folder) for folder in folders]
    configs = {name: strategy_config(captioners[0], name, settings) for name in captioners[0].presets}
    for name, config in configs.items():
        started = time.perf_counter()
        [captions] = caption_ensemble(captioners, [image], config, seed)
        yield ComparedStrategy(name, captions, time.perf_counter() - started)
    is_outlier = len(captioners) == 1 and captioners[0].is_outlier(image)
    warn_of_outliers(escaped(picture), int(is_outlier), 1, captioners[0].dataset)


def strategy_config(captioner: Captioner, strategy: str, settings: Mapping[str, Any]) -> GenerationConfig:
    """The settings of a strategy: the preset's, before ``settings``, before the captioner's own. Raises as
    :func:`preset_config`."""
    return preset_config(strategy, with_own_settings(captioner, settings))


def with_own_settings(captioner: Captioner, settings: Mapping[str, Any]) -> dict[str, Any]:
    """``settings``, and those of a captioner's own settings that any strategy can have."""
    return {**captioner.generation_config.model_dump(exclude={"strategy", "num_beam_groups"}), **settings}


def preset_config(name: str, settings: Mapping[str, Any]) -> GenerationConfig:
    """The settings of a preset combined with ``settings``; the preset's own take precedence.

    A preset that restricts the sampling ignores other such settings, because its name would be wrong otherwise. Raises
    ParamsError for an unknown preset and for wrong settings.
    """
    if name not in PRESETS:
        raise ParamsError(f"strategy {name!r} is unknown; choose one of {', '.join(PRESETS)}")
    preset = PRESETS[name]
    is_warped = not WARPING.isdisjoint(preset)
    shared = {key: value for key, value in settings.items() if not (is_warped and key in WARPING)}
    # Groups of one hypothesis suit any number of beams.
    groups = {"num_beam_groups": shared["num_beams"]} if "num_beams" in shared else {}
    return parse_generation_config(**{**groups, **shared, **preset})


def compare_attention(
    picture: Path, words: str, models: Sequence[str], folders: Sequence[Path], output: Path
) -> list[tuple[str, Caption]]:
    """Draws the attention of several captioners for the same words of an image, one row per captioner.

    ``models`` are the names of the captioners in ``folders``. Returns each name with the caption, whose
    log-probabilities are the captioner's. Warns where the image is unlike those of a captioner's training. Raises
    CaptionsError for ``words`` without a word, ModelError for a word that is not in a vocabulary, and ImageError for an
    ``output`` that is not a ``.png`` or ``.jpg``.
    """
    check_sheet(output, "--output")
    check_output(output, "--output")
    check_inputs_are_kept([output], [picture])
    image = decode_safely(picture)
    rows = []
    for name, folder in zip(models, folders, strict=True):
        captioner = Captioner.load(folder)
        try:
            caption = captioner.explain(image, words).caption
        except ModelError as error:
            raise ModelError(f"{name}: {error}") from error
        warn_of_outliers(escaped(picture), int(caption.is_outlier), 1, captioner.dataset, name)
        rows.append((name, caption))
    with atomic_write(output) as temporary:
        comparison_sheet(image, rows).save(temporary)
    return rows
