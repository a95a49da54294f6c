"""A template is filled with what is known of a caption, and a wrong one is refused before any work."""

from pathlib import Path

import numpy as np
import pytest

from wordgaze.core.errors import ModelError, ParamsError
from wordgaze.generation.outputs import Caption
from wordgaze.inference.caption_template import CaptionTemplate

CAPTION = Caption(("a", "dog"), -2.0, -2.0, (-1.0, -1.0), np.zeros((2, 1, 1), np.float32), "end", 0.875)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{caption}", "a dog"),
        ("A photo of {caption}.", "A photo of a dog."),
        ("{stem}: {caption} ({confidence:.0%})", "b: a dog (88%)"),
        ("{name} {probability:.3f} {log_prob}", "b.jpg 0.135 -2.0"),
        ("{{{caption}}}", "{a dog}"),
    ],
)
def test_fields_are_filled(template: str, text: str) -> None:
    assert CaptionTemplate(template).fill(CAPTION, Path("a/b.jpg")) == text


def test_the_text_stays_on_one_line() -> None:
    assert CaptionTemplate("{name}\t{caption}").fill(CAPTION, Path("a\nb.jpg")) == "a�b.jpg�a dog"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{title}", r"^{title} is not a valid field of a template; use {caption}, {name}, {stem}, {confidence}, "),
        ("{}", "{} is not a valid field"),
        ("{caption.__class__}", "{caption.__class__} is not a valid field"),
        ("{caption[0]}", "is not a valid field"),
        ("{caption", r"is not a valid template \(expected"),
        ("caption}", r"is not a valid template \(Single"),
        ("{caption:.2f}", "is not a valid template"),
        ("{caption:{name}}", "is not supported"),
        ("{caption!r}", "is not supported"),
    ],
)
def test_a_wrong_template_is_refused(template: str, reason: str) -> None:
    with pytest.raises(ParamsError, match=reason):
        CaptionTemplate(template)


def test_a_confidence_that_the_captioner_lacks_is_refused() -> None:
    without = Caption(CAPTION.words, -2.0, -2.0, (-1.0, -1.0), CAPTION.attention, "end")
    with pytest.raises(ModelError, match=r"{confidence} needs a captioner with a calibrated confidence"):
        CaptionTemplate("{confidence}").fill(without, Path("a.jpg"))
