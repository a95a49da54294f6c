"""Captions of images whose features are stored."""

from collections.abc import Iterator, Sequence

import torch

from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.generate import generate
from wordgaze.generation.outputs import Caption
from wordgaze.inference.captioner_folder import NO_PARTS, CaptionerParts
from wordgaze.inference.object_names import object_names
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import Vocabulary
from wordgaze.vision.feature_store import FeatureSource


def caption_features(
    decoder: Decoder,
    vocabulary: Vocabulary,
    store: FeatureSource,
    images: Sequence[str],
    decode: GenerationConfig,
    batch: int,
    seed: int = 0,
    parts: CaptionerParts = NO_PARTS,
    grid: tuple[int, int] | None = None,
) -> Iterator[list[Caption]]:
    """``num_return_sequences`` captions of each image, best first, from the features of ``store``, one image at a time.

    ``batch`` images are decoded at a time. With ``confidence`` every caption has its confidence.
    """
    with torch.inference_mode():
        table = decoder.word_table()
    for i in range(0, len(images), batch):
        names = images[i : i + batch]
        features = store.read(names).to(decoder.device, decoder.dtype)
        found = generate(
            decoder, features, vocabulary, decode, keys=names, seed=seed, table=table,
            neighbours=parts.reranker, grid=grid, names=object_names(parts.tagger, features, vocabulary, decode),
        )  # fmt: skip
        yield from parts.confidence.assign(found, features) if parts.confidence else found
