"""The text that a caption becomes part of, such as ``A photo of {caption}``."""

from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from wordgaze.core.errors import ModelError, ParamsError
from wordgaze.core.printable import printable
from wordgaze.generation.outputs import Caption

PLAIN = "{caption}"
_EXAMPLE: dict[str, str | float] = {
    "caption": "a dog", "name": "a.jpg", "stem": "a", "confidence": 0.5, "probability": 0.1, "log_prob": -2.3,
}  # fmt: skip


@dataclass(frozen=True)
class CaptionTemplate:
    """A text with fields in braces, as for ``str.format``: caption, name, stem, confidence, probability, log_prob.

    ``name`` is the name of the image's file and ``stem`` is that without its ending. Raises ParamsError for another
    field, and for a format that does not fit a field.
    """

    text: str = PLAIN

    def __post_init__(self) -> None:
        try:
            for _, field, form, conversion in Formatter().parse(self.text):
                if field is not None and field not in _EXAMPLE:
                    fields = ", ".join(f"{{{name}}}" for name in _EXAMPLE)
                    raise ParamsError(f"{{{field}}} is not a valid field of a template; use {fields}")
                if conversion or "{" in (form or ""):
                    raise ValueError("a conversion or a nested field is not supported")
            self.text.format_map(_EXAMPLE)
        except ValueError as error:
            raise ParamsError(f"{self.text!r} is not a valid template ({error}); write {{{{ for a brace") from error

    @property
    def needs_confidence(self) -> bool:
        """Whether it has the field ``confidence``."""
        return any(field == "confidence" for _, field, _, _ in Formatter().parse(self.text))

    def fill(self, caption: Caption, path: Path) -> str:
        """The text for a caption of the image at ``path``, on one line.

        Raises ModelError where the confidence is needed and the captioner has no calibration.
        """
        if self.needs_confidence:
            required_confidence(caption, "{confidence}")
        values = {
            "caption": caption.text, "name": path.name, "stem": path.stem, "confidence": caption.confidence,
            "probability": caption.probability, "log_prob": caption.log_prob,
        }  # fmt: skip
        return caption.text if self.text == PLAIN else printable(self.text.format_map(values))


def required_confidence(caption: Caption, what: str) -> float:
    """The confidence of a caption. Raises ModelError, which begins with ``what`` needs it, if there is none."""
    if caption.confidence is None:
        raise ModelError(
            f"{what} needs a captioner with a calibrated confidence; leave it out or choose another --model"
        )
    return caption.confidence
