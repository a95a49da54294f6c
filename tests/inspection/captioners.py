"""A tiny captioner with a confidence, which those of ``write_captioner`` lack."""

from dataclasses import replace
from pathlib import Path

import torch

from wordgaze.generation.confidence import ConfidenceModel
from wordgaze.generation.image_statistics import ImageStatistics
from wordgaze.generation.principal_regression import PrincipalRegression
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.captioner_folder import save_captioner
from wordgaze.vision.encoders import Encoder


def calibrated(folder: Path) -> Captioner:
    """The captioner of ``folder``, with a confidence fitted to random features."""
    captioner = Captioner.load(folder, "cpu")
    generator = torch.Generator().manual_seed(4)
    features = torch.rand(12, 4, captioner.encoder.spec.channels, generator=generator)
    captions = [["a dog runs".split()], ["a cat sleeps".split()]] * 6
    images = ImageStatistics.fit(features.mean(1))
    ngrams = PrincipalRegression.fit(images.project(features.mean(1))[0], captions, captioner.vocabulary)
    found = captioner.generate(features, captioner.generation_config, [str(i) for i in range(12)], seed=0)
    best = [of_image[0] for of_image in found]
    confidence = ConfidenceModel.fit(images, ngrams, features.mean(1), best, captions)
    captioner.parts = replace(captioner.parts, confidence=confidence)
    return captioner


def write_calibrated(folder: Path, encoder: Encoder) -> Path:
    """Adds that confidence to the captioner in ``folder``, whose encoder is ``encoder``."""
    captioner = calibrated(folder)
    save_captioner(
        folder, captioner.decoder, captioner.vocabulary, encoder.spec, encoder.state_dict(), parts=captioner.parts
    )
    return folder
