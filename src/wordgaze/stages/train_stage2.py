"""Stage ``train_stage2``: continues from the best weights of stage 1, on the larger set of training images."""

from wordgaze.config.params import Params
from wordgaze.core import paths
from wordgaze.stages.training import train


def run(params: Params) -> None:
    """Writes ``models/stage2``, ``reports/train_stage2.csv`` and ``.json``."""
    train("train_stage2", params, params.train_stage2, paths.STAGE1, paths.STAGE2)
