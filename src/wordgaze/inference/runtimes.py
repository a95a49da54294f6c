"""The runtimes that caption files: PyTorch for captioner folders, ONNX Runtime for exported captioners.

PyTorch is imported only where it is needed, so that an exported captioner runs without it.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from PIL import Image

from wordgaze.core.errors import ModelError
from wordgaze.core.parallel import available_cpus, map_ahead
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.numpy_search import check_supported
from wordgaze.inference.captioned import CaptionedImage, ImageSource, open_source
from wordgaze.inference.exported_folder import read_exported_card
from wordgaze.inference.folder_names import (
    CARD,
    ENCODER_GRAPH,
    EXPORTED_CARD,
    INIT_GRAPH,
    STEP_GRAPH,
    WEIGHTS,
    is_exported,
)


class Runtime(Protocol):
    """Captions images with captioners that it has loaded."""

    def captions(self, sources: Iterator[ImageSource], with_images: bool) -> Iterator[CaptionedImage]:
        """One result per source, in order.

        Without ``with_images`` the results may lack their images, and fewer images are held in memory.
        """
        ...


def load_runtime(folders: Sequence[Path], generation_config: GenerationConfig, seed: int, total: int | None) -> Runtime:
    """Loads the captioners in ``folders``, which form an ensemble if there are several.

    ``total`` is the number of images, None if it is unknown.

    Raises ModelError for a folder without a captioner, and for an ensemble with an exported captioner.
    """
    exported = [folder for folder in folders if is_exported(folder)]
    if not exported:
        return _TorchRuntime(folders, generation_config, seed, total)
    if len(folders) > 1:
        raise ModelError(f"{exported[0]} is an exported captioner, which is in no ensemble; give it alone")
    return _OnnxRuntime(folders[0], generation_config, total)


def model_files(folder: Path) -> list[Path]:
    """The files of a captioner folder, or of an exported captioner, that its captions depend on."""
    names = (EXPORTED_CARD, ENCODER_GRAPH, INIT_GRAPH, STEP_GRAPH) if is_exported(folder) else (CARD, WEIGHTS)
    return [folder / name for name in names]


def default_generation(folder: Path) -> GenerationConfig:
    """The decoding settings of a captioner unless others are given. Raises ModelError if there is no captioner."""
    if is_exported(folder):
        return read_exported_card(folder).generation
    from wordgaze.inference.captioner_folder import read_card

    return read_card(folder).generation


class _TorchRuntime:
    def __init__(
        self, folders: Sequence[Path], generation_config: GenerationConfig, seed: int, total: int | None
    ) -> None:
        from wordgaze.inference.captioner import Captioner
        from wordgaze.vision.encoders import CPU_BATCH

        self._captioners = [Captioner.load(folder) for folder in folders]
        self._config, self._seed = generation_config, seed
        # A core encodes a few images at a time; where there are fewer images than that, all cores share each image.
        self._is_few = total is not None and total < CPU_BATCH * available_cpus()

    def captions(self, sources: Iterator[ImageSource], with_images: bool) -> Iterator[CaptionedImage]:
        from wordgaze.inference.caption_stream import caption_stream
        from wordgaze.inference.encode_ahead import caption_ahead

        if self._is_few or with_images:
            return caption_stream(self._captioners, map(open_source, sources), self._config, seed=self._seed)
        return caption_ahead(self._captioners, sources, self._config, self._seed)


class _OnnxRuntime:
    def __init__(self, folder: Path, generation_config: GenerationConfig, total: int | None) -> None:
        from wordgaze.inference.onnx_captioner import OnnxCaptioner

        check_supported(generation_config)
        # Each core captions an image of its own; where there are fewer images than cores, all cores share each image.
        cores = available_cpus()
        self._threads = cores if total is None or total >= cores else 1
        self._captioner = OnnxCaptioner.load(folder, 1 if self._threads > 1 else 0)
        self._config = generation_config

    def captions(self, sources: Iterable[ImageSource], with_images: bool) -> Iterator[CaptionedImage]:
        def caption(source: ImageSource) -> CaptionedImage:
            _, image = open_source(source)
            if not isinstance(image, Image.Image):
                return CaptionedImage("", None, [], image)
            return CaptionedImage("", image if with_images else None, self._captioner.caption(image, self._config))

        return map_ahead(caption, sources, self._threads, 2 * self._threads)
