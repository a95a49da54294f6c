"""The captioner: an encoder, a decoder and a vocabulary. Its files are those of ``captioner_folder``."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Literal, cast, overload

import torch
from PIL import Image
from torch import Tensor

from wordgaze.core.device import pick_device
from wordgaze.core.errors import CaptionsError, ModelError
from wordgaze.generation.caption_words import in_words
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.ensemble import Ensemble
from wordgaze.generation.generate import encode_words, generate
from wordgaze.generation.outputs import Caption
from wordgaze.generation.presets import PRESETS
from wordgaze.inference.captioner_folder import (
    NO_PARTS,
    CaptionerParts,
    broken_captioner,
    build_decoder,
    encoder_state,
    read_unchecked,
    tensors_of,
    weights_checked,
)
from wordgaze.inference.deadline import Deadline
from wordgaze.inference.explanation import Explanation, likeliest_words
from wordgaze.inference.inputs import ImageInput, batches, image_key, is_single, to_image
from wordgaze.inference.object_names import object_names
from wordgaze.inference.occlusion import CoveredImage, occlusion_maps
from wordgaze.models.decoder import Decoder, WordTable
from wordgaze.text.vocabulary import END, Vocabulary
from wordgaze.vision.encoders import Encoder, encoder_from_spec
from wordgaze.vision.networks import one_line


class Captioner:
    """A captioner: ``wordgaze.load()`` returns one, and :meth:`load` reads one from its folder.

    ``decoder``, ``vocabulary`` and ``encoder`` are what captions an image; ``parts`` holds what a captioner may have
    besides. ``generation_config`` are the decoding settings where none are given. ``dataset`` names the data set of the
    training, "" if it is unknown.
    """

    def __init__(
        self,
        decoder: Decoder,
        vocabulary: Vocabulary,
        encoder: Encoder,
        parts: CaptionerParts = NO_PARTS,
        generation_config: GenerationConfig | None = None,
        dataset: str = "",
    ) -> None:
        self.decoder, self.vocabulary, self.encoder = decoder, vocabulary, encoder
        self.parts, self.dataset = parts, dataset
        self.generation_config = generation_config or GenerationConfig()

    @cached_property
    def word_table(self) -> WordTable:
        """What each decoding step needs of the vocabulary, computed once because the weights do not change."""
        with torch.inference_mode():
            return self.decoder.word_table()

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.decoder.device

    @property
    def presets(self) -> list[str]:
        """The names in PRESETS that this captioner supports. ``neighbours`` needs the training images."""
        return [name for name in PRESETS if name != "neighbours" or self.parts.reranker]

    @classmethod
    def load(cls, folder: str | Path, device: Literal["auto", "cpu", "cuda"] = "auto") -> "Captioner":
        """Reads a captioner folder. :func:`wordgaze.load` also reads from the model registry.

        Raises ModelError when the folder holds no captioner, a broken one, or one of an unsupported format.
        """
        folder = Path(folder)
        with weights_checked(folder):
            card, state = read_unchecked(folder)
            decoder, vocabulary = build_decoder(folder, card, state)
            encoder = encoder_from_spec(card.encoder, encoder_state(folder, card, state))
            where = pick_device(device)
            try:
                fast = encoder.optimised(where, torch.float32)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, AssertionError) as error:  # its probe, for an image size that is not the network's
                raise broken_captioner(folder, error) from error
            try:
                parts = CaptionerParts.load(lambda name: tensors_of(state, f"{name}."), vocabulary)
            except (KeyError, ValueError) as error:
                raise broken_captioner(folder, error) from error
        return cls(decoder.eval().to(where), vocabulary, fast, parts, card.generation, card.dataset)

    @overload
    def caption(  # type: ignore[overload-overlap]  # a str is an iterable of str too, but it is one image
        self,
        images: ImageInput,
        generation_config: GenerationConfig | None = None,
        *,
        seed: int = 0,
        prefix: str | Sequence[str] = (),
    ) -> list[Caption]: ...

    @overload
    def caption(
        self,
        images: Iterable[ImageInput],
        generation_config: GenerationConfig | None = None,
        *,
        seed: int = 0,
        prefix: str | Sequence[str] = (),
    ) -> list[list[Caption]]: ...

    def caption(
        self,
        images: ImageInput | Iterable[ImageInput],
        generation_config: GenerationConfig | None = None,
        *,
        seed: int = 0,
        prefix: str | Sequence[str] = (),
    ) -> list[Caption] | list[list[Caption]]:
        """Captions one image, or each image of an iterable.

        Args:
            images: an image or an iterable of images. An image is a path (str or Path), the bytes of an image file, a
                PIL image, or a uint8 array of shape (height, width, 3) or (height, width). An iterable is processed in
                batches of bounded size.
            generation_config: the decoding settings; by default those of the captioner, ``generation_config``.
            seed: the random seed of the strategies that sample. Samples depend on it and on the pixels alone.
            prefix: the words that every caption begins with, as text or as a sequence of words; they are tokenized by
                the captioner's tokenizer.

        Returns:
            For one image ``num_return_sequences`` captions, best first, each with its ``confidence``; for an iterable a
            list of these.

        Raises:
            ImageError: an image is missing, broken or too large.
            ParamsError: a word of ``force_words`` is not in the vocabulary.
            ModelError: a word of ``prefix`` is not in the vocabulary.
        """
        config, begin = generation_config or self.generation_config, prefix
        if is_single(images):
            return caption_ensemble([self], [to_image(cast("ImageInput", images))], config, seed, begin)[0]
        captions: list[list[Caption]] = []
        opened = map(to_image, cast("Iterable[ImageInput]", images))
        for batch in batches(opened, lambda image: image.width * image.height):
            captions += caption_ensemble([self], batch, config, seed, begin)
        return captions

    def explain(
        self,
        image: ImageInput,
        words: str | Sequence[str] | None = None,
        generation_config: GenerationConfig | None = None,
        seed: int = 0,
        *,
        occlusion: bool = False,
    ) -> Explanation:
        """Explains a caption: where the captioner attends for each word, and how probable the word is.

        Args:
            image: a path, bytes, a PIL image or a uint8 array, as in :meth:`caption`.
            words: the caption to explain, as text or as a sequence of words; by default the captioner's own.
            generation_config: the decoding settings for the captioner's own caption.
            seed: the random seed for the captioner's own caption.
            occlusion: whether to measure too by how much each word's probability falls when a part of the image is
                covered (``Explanation.occlusion``); it encodes the image 64 times for a grid of 7 x 7 cells.

        Returns:
            The explanation. Its caption has ``is_outlier`` and, if it is the captioner's own, ``confidence`` and
            ``naming``.

        Raises:
            ImageError: the image is missing, broken or too large.
            CaptionsError: ``words`` is text without a word in it.
            ModelError: a word is not in the vocabulary.
        """
        if words is not None and not self.tokens(words):
            raise CaptionsError(f"{words!r} has no word in it; give a caption")
        opened = to_image(image)
        features, key = self.features([opened]), image_key(opened)
        explanation = self._explained(opened, features, key, words, generation_config, seed)
        if not occlusion or not explanation.words:
            return explanation
        tokens = self.tokens(explanation.caption.words)
        return replace(explanation, occlusion=occlusion_maps(CoveredImage(self, self.encoder.pixels([opened]), tokens)))

    def _explained(
        self,
        opened: Image.Image,
        features: Tensor,
        key: str,
        words: str | Sequence[str] | None,
        generation_config: GenerationConfig | None,
        seed: int,
    ) -> Explanation:
        if words is not None:
            explanation = self.explain_features(features, opened, words)
            is_outlier = self._is_outlier(features, key)
            return replace(explanation, caption=replace(explanation.caption, is_outlier=is_outlier))
        [[own, *_]] = self._generate_tokens(features, generation_config or self.generation_config, [key], seed)
        explanation = self._explain_tokens(features, opened, own.words)
        caption = replace(explanation.caption, confidence=own.confidence, naming=own.naming, is_outlier=own.is_outlier)
        return replace(explanation, caption=caption)

    def is_outlier(self, image: ImageInput) -> bool:
        """Whether an image is unlike those of the training, judged with the captioner's own caption.

        False where the captioner has no calibration and cannot tell. Raises ImageError as :meth:`caption`.
        """
        opened = to_image(image)
        return self.parts.confidence is not None and self._is_outlier(self.features([opened]), image_key(opened))

    def _is_outlier(self, features: Tensor, key: str) -> bool:
        """As :meth:`is_outlier`, for the features (1, L, D) of an image."""
        if self.parts.confidence is None:
            return False
        [[own, *_]] = self._generate_tokens(features, self.generation_config, [key], 0)
        return own.is_outlier

    def tokens(self, words: str | Sequence[str]) -> list[str]:
        """The tokens of a caption that is given as text or as a sequence of words."""
        tokenizer = self.vocabulary.tokenizer
        return tokenizer.tokenize(words) if isinstance(words, str) else tokenizer.tokens_of(words)

    def features(self, images: Sequence[Image.Image]) -> Tensor:
        """Encodes RGB images to features (B, L, D)."""
        return self.encode(self.encoder.pixels(images))

    def encode(self, pixels: Tensor) -> Tensor:
        """Encodes pixels (B, 3, S, S), the result of ``encoder.pixels``, to features (B, L, D)."""
        spec = self.encoder.spec
        try:
            with torch.inference_mode():
                features: Tensor = self.encoder(pixels.to(self.device))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # the card of the captioner's folder states other settings than the network's
            raise ModelError(f"the encoder {spec.name} cannot encode the image: {one_line(error)}") from error
        if features.shape[1:] != (expected := (spec.grid[0] * spec.grid[1], spec.channels)):
            raise ModelError(
                f"the encoder {spec.name} gives features of {tuple(features.shape[1:])}, and captioner.json states"
                f" {expected}; train the captioner or fetch it again"
            )
        return features

    def force_decode(self, features: Tensor, words: Sequence[str]) -> tuple[Caption, Tensor]:
        """The log-probabilities of given tokens, by teacher forcing on the features (1, L, D) of one image.

        Returns the T tokens as a caption, and the log-probabilities (T + 1, V) of the whole vocabulary at each of them
        and at the end. Raises ModelError for a token that is not in the vocabulary.
        """
        tokens = torch.tensor([[[*encode_words(self.vocabulary, words), END]]], device=self.device)
        with torch.inference_mode():
            output = self.decoder(features, tokens)
        log_probs = torch.log_softmax(output.logits.float(), 1).cpu()
        word_log_probs: list[float] = log_probs.gather(1, tokens[0].T.cpu()).squeeze(1).tolist()
        total = math.fsum(word_log_probs)
        attention = output.weights[0, : len(words)].float().cpu().numpy().reshape(-1, *self.encoder.spec.grid)
        return Caption(tuple(words), total, total, tuple(word_log_probs[:-1]), attention, "end"), log_probs

    def explain_features(self, features: Tensor, image: Image.Image, words: str | Sequence[str]) -> Explanation:
        """As :meth:`explain`, for the features (1, L, D) of an RGB image. ``words`` may be empty."""
        return self._explain_tokens(features, image, self.tokens(words))

    def _explain_tokens(self, features: Tensor, image: Image.Image, tokens: Sequence[str]) -> Explanation:
        caption, log_probs = self.force_decode(features, tokens)
        lengths = [span.num_tokens for span in self.vocabulary.tokenizer.spans(tokens)]
        first = [0, *accumulate(lengths)]  # of each word, and of what follows the last one
        likeliest = likeliest_words(log_probs[first], self.vocabulary)
        words = in_words(caption, self.vocabulary.tokenizer)
        return Explanation(image, words, likeliest, float(log_probs[-1, END].exp()))

    def generate(
        self,
        features: Tensor,
        generation_config: GenerationConfig,
        keys: Sequence[str],
        seed: int,
        prefix: str | Sequence[str] = (),
        deadline: Deadline | None = None,
    ) -> list[list[Caption]]:
        """As :meth:`caption`, for features (B, L, D). ``keys`` identify the images for the strategies that sample.

        Raises RequestTimeoutError once ``deadline`` has passed or is cancelled.
        """
        captions = self._generate_tokens(features, generation_config, keys, seed, prefix, deadline)
        return _in_words(captions, self.vocabulary)

    def _generate_tokens(
        self,
        features: Tensor,
        generation_config: GenerationConfig,
        keys: Sequence[str],
        seed: int,
        prefix: str | Sequence[str] = (),
        deadline: Deadline | None = None,
    ) -> list[list[Caption]]:
        """As :meth:`generate`; the words of the captions are tokens."""
        captions = generate(
            self.decoder,
            features,
            self.vocabulary,
            generation_config,
            keys=keys,
            seed=seed,
            table=self.word_table,
            prefix=self.tokens(prefix),
            neighbours=self.parts.reranker,
            grid=self.encoder.spec.grid,
            names=object_names(self.parts.tagger, features, self.vocabulary, generation_config),
            before_step=deadline.check if deadline else None,
        )
        confidence = self.parts.confidence
        return confidence.assign(captions, features) if confidence else captions


def caption_ensemble(
    captioners: Sequence[Captioner],
    images: Sequence[Image.Image],
    generation_config: GenerationConfig,
    seed: int = 0,
    prefix: str | Sequence[str] = (),
) -> list[list[Caption]]:
    """Captions RGB images, as one batch, with one captioner or with several as an ensemble.

    Every caption begins with the words of ``prefix``. Samples depend on ``seed`` and on an image's pixels. Captions of
    an ensemble have no ``confidence``, because it is calibrated for the captions of one decoder. Raises ModelError when
    the captioners have different vocabularies, and for a word of ``prefix`` that is not in them.
    """
    features = [captioner.features(images) for captioner in captioners]
    keys = [image_key(image) for image in images]
    return generate_ensemble(captioners, features, generation_config, keys, seed, prefix)


def generate_ensemble(
    captioners: Sequence[Captioner],
    features: Sequence[Tensor],
    generation_config: GenerationConfig,
    keys: Sequence[str],
    seed: int = 0,
    prefix: str | Sequence[str] = (),
) -> list[list[Caption]]:
    """As :func:`caption_ensemble`, for the features (B, L, D) of each captioner and the ``keys`` of the images."""
    first = captioners[0]
    if any(other.vocabulary != first.vocabulary for other in captioners):
        raise ModelError("an ensemble needs captioners with one vocabulary, and these differ; give a single captioner")
    if len(captioners) == 1:
        return first.generate(features[0], generation_config, keys, seed, prefix)
    captions = generate(
        Ensemble([captioner.decoder for captioner in captioners]),
        features,
        first.vocabulary,
        generation_config,
        keys=keys,
        seed=seed,
        table=tuple(captioner.word_table for captioner in captioners),
        prefix=first.tokens(prefix),
        neighbours=first.parts.reranker,
        grid=first.encoder.spec.grid,
        names=object_names(first.parts.tagger, features[0], first.vocabulary, generation_config),
    )
    return _in_words(captions, first.vocabulary)


def _in_words(captions: Sequence[Sequence[Caption]], vocabulary: Vocabulary) -> list[list[Caption]]:
    """Captions of tokens as captions of words."""
    return [[in_words(caption, vocabulary.tokenizer) for caption in of_image] for of_image in captions]
