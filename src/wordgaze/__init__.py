"""Image captioning with visual attention: captions, and the attention of each word over the image.

    import wordgaze

    captioner = wordgaze.load()
    captioner.caption("photo.jpg")[0].text
    captioner.explain("photo.jpg").draw().show()

The names below are imported when they are first used, so that ``import wordgaze`` itself takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wordgaze.core.errors import WordgazeError
    from wordgaze.evaluation.score import score
    from wordgaze.generation.config import GenerationConfig
    from wordgaze.generation.outputs import Caption
    from wordgaze.inference.captioner import Captioner
    from wordgaze.inference.explanation import Explanation
    from wordgaze.inference.onnx_captioner import OnnxCaptioner
    from wordgaze.tracking.resolve import load

    __version__: str

__all__ = [
    "Caption",
    "Captioner",
    "Explanation",
    "GenerationConfig",
    "OnnxCaptioner",
    "WordgazeError",
    "__version__",
    "load",
    "score",
]

_MODULES = {
    "Caption": "wordgaze.generation.outputs",
    "Captioner": "wordgaze.inference.captioner",
    "Explanation": "wordgaze.inference.explanation",
    "GenerationConfig": "wordgaze.generation.config",
    "OnnxCaptioner": "wordgaze.inference.onnx_captioner",
    "WordgazeError": "wordgaze.core.errors",
    "load": "wordgaze.tracking.resolve",
    "score": "wordgaze.evaluation.score",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used (PEP 562)."""
    if name == "__version__":
        value = _version()
    elif name in _MODULES:
        value = getattr(import_module(_MODULES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """The version of the installed distribution; ``0+unknown`` when the package is only on the path."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("wordgaze")
    except PackageNotFoundError:
        return "0+unknown"
