"""An evaluation of a data set with one caption a picture: nobody to compare with, and all else is there."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from wordgaze.data.prepared import Prepared
from wordgaze.evaluation.evaluate import Evaluation
from wordgaze.generation.outputs import Caption
from wordgaze.text.vocabulary import SPECIAL, Vocabulary

DOG, CAT = "a dog runs".split(), "a cat sleeps here".split()


class Store:
    """Features that differ from picture to picture."""

    def read(self, images: Sequence[str]) -> Tensor:
        return torch.stack([torch.eye(4)[: len(image) % 3 + 1].sum(0, keepdim=True) for image in images])


def evaluation(captions: list[list[str]]) -> Evaluation:
    prepared = Prepared(
        {"train": {"t.jpg": [DOG], "tt.jpg": [CAT]}, "dev": {}, "test": {"a.jpg": captions, "bb.jpg": captions}},
        {},
        Vocabulary((*SPECIAL, *dict.fromkeys(DOG + CAT))),
    )
    said = Caption(tuple(DOG), -1.0, -1.0, (-0.3, -0.3, -0.4), np.full((3, 1, 1), 1.0, np.float32), "end")
    found = {"beam": [[said], [said]]}
    return Evaluation(prepared, "test", Store(), found, "beam", [], frozenset(), 100, 1)  # type: ignore[arg-type]


def test_with_one_caption_a_picture_the_rows_of_people_are_left_out() -> None:
    alone = evaluation([DOG]).headline()
    assert alone["baselines"].keys() == {"constant", "random", "nearest"}
    assert alone["decoding"]["beam"]["bleu_1"] == pytest.approx(1.0)


def test_with_several_captions_people_are_compared_with() -> None:
    people = evaluation([DOG, CAT]).headline()["baselines"]
    assert people.keys() == {"constant", "random", "nearest", "human", "beam, one reference fewer"}
    assert people["human"]["bleu_1"] < people["beam, one reference fewer"]["bleu_1"]
