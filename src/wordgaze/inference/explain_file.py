"""The explanation of an image file, written as an animation, a sheet of attention maps and JSON."""

from dataclasses import replace
from pathlib import Path

from wordgaze.core.errors import ParamsError
from wordgaze.core.files import atomic_write, check_output, write_json
from wordgaze.core.printable import escaped
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.caption_files import check_inputs_are_kept
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.explanation import Explanation, ModelVersion
from wordgaze.inference.outliers import warn_of_outliers
from wordgaze.vision.decoding_process import decode_safely


def explain_file(
    picture: Path,
    folder: Path,
    words: str | None,
    generation_config: GenerationConfig,
    seed: int = 0,
    *,
    model: ModelVersion | None = None,
    gif: Path | None = None,
    png: Path | None = None,
    json: Path | None = None,
    occlusion: bool = False,
) -> Explanation:
    """Explains ``words``, or else the caption that the captioner in ``folder`` generates, and writes each given file.

    ``model`` is recorded in the JSON. With ``occlusion`` the sheet and the JSON also have what covering parts of the
    image does to each word. Warns of an image that is unlike those of the training. Raises ParamsError when there is no
    file to write or one has the wrong ending, and otherwise as :meth:`wordgaze.Captioner.explain`.
    """
    _check_outputs(gif, png, json)
    check_inputs_are_kept([path for path in (gif, png) if path is not None], [picture])
    image = decode_safely(picture)
    captioner = Captioner.load(folder)
    explanation = replace(captioner.explain(image, words, generation_config, seed, occlusion=occlusion), model=model)
    warn_of_outliers(escaped(picture), int(explanation.caption.is_outlier), 1, captioner.dataset)
    if gif is not None:
        explanation.save_gif(gif)
    if png is not None:
        with atomic_write(png) as temporary:
            explanation.draw().save(temporary, "PNG")
    if json is not None:
        write_json(json, explanation.to_dict())
    return explanation


def _check_outputs(gif: Path | None, png: Path | None, json: Path | None) -> None:
    outputs = {".gif": gif, ".png": png, ".json": json}
    if not any(outputs.values()):
        raise ParamsError("there is nothing to write; give --gif, --png or --json a file name")
    for ending, path in outputs.items():
        if path is not None and path.suffix.lower() != ending:
            raise ParamsError(f"{path} does not end with {ending}; give --{ending[1:]} a file name that does")
        if path is not None:
            check_output(path, f"--{ending[1:]}")
