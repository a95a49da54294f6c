"""Stage ``train_stage1``: trains the decoder from scratch, on a first set of training images."""

from wordgaze.config.params import Params
from wordgaze.core import paths
from wordgaze.stages.training import train


def run(params: Params) -> None:
    """Writes ``models/stage1``, ``reports/train_stage1.csv`` and ``.json``."""
    train("train_stage1", params, params.train_stage1, None, paths.STAGE1)
