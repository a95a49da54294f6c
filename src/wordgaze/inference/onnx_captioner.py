"""An exported captioner, run by ONNX Runtime. PyTorch is not needed."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from wordgaze.core.errors import ModelError
from wordgaze.generation.caption_words import in_words
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.numpy_search import FloatArray, FoundCaption, NumpySearch, NumpyStepOutput, check_supported
from wordgaze.generation.outputs import Caption
from wordgaze.inference.exported_folder import EXPORT_AGAIN, ExportedCard, check_graphs, read_exported_card
from wordgaze.inference.folder_names import ENCODER_GRAPH, INIT_GRAPH, STEP_GRAPH
from wordgaze.inference.inputs import ImageInput, is_single, to_image
from wordgaze.text.tokenizers import stored_tokenizer
from wordgaze.text.vocabulary import Vocabulary


class OnnxCaptioner:
    """A captioner that ``wordgaze export`` has written; :meth:`load` reads one from its folder.

    It has greedy and beam search. Its captions have no ``confidence``, and it samples, explains and names nothing.
    """

    def __init__(self, folder: Path, card: ExportedCard, threads: int = 0) -> None:
        self.card, self.folder = card, folder
        self.vocabulary = Vocabulary(card.vocabulary, stored_tokenizer(card.tokenizer, folder))
        self._encoder, self._init, self._step = (
            _session(folder / name, card, threads) for name in (ENCODER_GRAPH, INIT_GRAPH, STEP_GRAPH)
        )

    @classmethod
    def load(cls, folder: str | Path, threads: int = 0) -> "OnnxCaptioner":
        """Reads the folder of an exported captioner. ``threads`` compute an image together; 0 is one for each core.

        Raises ModelError if the folder holds none, or one that is truncated, changed or of another version, and if
        ONNX Runtime is not installed or cannot run the graphs.
        """
        folder = Path(folder)
        card = read_exported_card(folder)
        check_graphs(folder, card)
        return cls(folder, card, threads)

    @property
    def generation_config(self) -> GenerationConfig:
        """The decoding settings where none are given."""
        return self.card.generation

    @overload
    def caption(  # type: ignore[overload-overlap]  # a str is an iterable of str too, but it is one image
        self, images: ImageInput, generation_config: GenerationConfig | None = None
    ) -> list[Caption]: ...

    @overload
    def caption(
        self, images: Iterable[ImageInput], generation_config: GenerationConfig | None = None
    ) -> list[list[Caption]]: ...

    def caption(
        self, images: ImageInput | Iterable[ImageInput], generation_config: GenerationConfig | None = None
    ) -> list[Caption] | list[list[Caption]]:
        """Captions one image, or each image of an iterable, as :meth:`wordgaze.Captioner.caption` does.

        Raises ImageError for an image that is missing, broken or too large, and ParamsError for settings that need
        PyTorch, such as a strategy that samples.
        """
        config = generation_config or self.generation_config
        check_supported(config)
        if is_single(images):
            return self.generate(self.features([to_image(cast("ImageInput", images))]), config)[0]
        opened = map(to_image, cast("Iterable[ImageInput]", images))
        return [self.generate(self.features([image]), config)[0] for image in opened]

    def pixels(self, images: Sequence[Image.Image]) -> npt.NDArray[np.uint8]:
        """Resizes RGB images of any size to a batch (B, 3, S, S)."""
        size, resample = self.card.transform.image_size, Image.Resampling[self.card.transform.interpolation.upper()]
        resized = [np.asarray(image.resize((size, size), resample)).transpose(2, 0, 1) for image in images]
        return np.stack(resized)

    def features(self, images: Sequence[Image.Image]) -> FloatArray:
        """Encodes RGB images to features (B, L, C)."""
        return _run(self._encoder, {"pixels": self.pixels(images)})[0]

    def generate(self, features: FloatArray, generation_config: GenerationConfig) -> list[list[Caption]]:
        """The captions of each image, best first, from features (B, L, C)."""
        searches = (NumpySearch(self._decoder(row), self.vocabulary, generation_config) for row in features)
        return [[self._caption(found) for found in search.run()] for search in searches]

    def _decoder(self, features: FloatArray) -> "_OnnxDecoder":
        outputs = _run(self._init, {"features": features[None]})
        return _OnnxDecoder(
            self._step, self.card, dict(zip([*self.card.memory, *self.card.states], outputs, strict=True))
        )

    def _caption(self, found: FoundCaption) -> Caption:
        rows, columns = self.card.transform.grid
        attention = np.array(found.weights, np.float32).reshape(len(found.token_ids), rows, columns)
        caption = Caption(
            words=tuple(self.vocabulary.words[i] for i in found.token_ids),
            log_prob=math.fsum(found.log_probs) + (found.end_log_prob or 0.0),
            score=found.score,
            word_log_probs=found.log_probs,
            attention=attention,
            finish_reason=found.finish_reason,
        )
        return in_words(caption, self.vocabulary.tokenizer)


class _OnnxDecoder:
    """The decoder with the memory of one image, as a NumpyStepModel."""

    def __init__(self, session: Any, card: ExportedCard, tensors: dict[str, FloatArray]) -> None:
        self._session, self._states = session, card.states
        self._memory = {name: tensors[name] for name in card.memory}
        self._start = tuple(tensors[name][0] for name in card.states)

    def init_state(self) -> tuple[FloatArray, ...]:
        return self._start

    def step(self, words: npt.NDArray[np.int64], step: int, states: tuple[FloatArray, ...]) -> NumpyStepOutput:
        inputs: dict[str, Any] = {"words": words[None], "step": np.array([step], np.float32), **self._memory}
        inputs |= {name: part[None] for name, part in zip(self._states, states, strict=True)}
        logits, weights, *following = (output[0] for output in _run(self._session, inputs))
        return NumpyStepOutput(logits, weights, tuple(following))


def _session(path: Path, card: ExportedCard, threads: int) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ModelError(
            f'{path.parent} needs ONNX Runtime, which is not installed; pip install "wordgaze[onnx]"'
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # errors are raised, and reported once
    if not card.calibrated:  # stored weights are widened once, and not at each step
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the exceptions of ONNX Runtime have no common base class
        raise ModelError(
            f"{path} cannot be run by ONNX Runtime {onnxruntime.__version__} ({_reason(error)});"
            f" install a newer one, or {EXPORT_AGAIN}"
        ) from error


def _run(session: Any, inputs: dict[str, Any]) -> list[FloatArray]:
    try:
        outputs: list[FloatArray] = session.run(None, inputs)
    except Exception as error:  # as above
        raise ModelError(f"ONNX Runtime failed ({_reason(error)}); {EXPORT_AGAIN}") from error
    return outputs


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())  # what is wrong stands at the end, behind names of files and functions
    return "… " + text[-200:].partition(" ")[2] if len(text) > 200 else text
