"""Stage ``train_stage1``: trains the decoder on a first set of training images, from scratch or from a captioner."""

from wordgaze.config.params import Params
from wordgaze.core import paths
from wordgaze.stages.training import train
from wordgaze.training.initial import check_initial
from wordgaze.vision.feature_store import FeatureStore


def run(params: Params) -> None:
    """Writes ``models/stage1``, ``reports/train_stage1.csv`` and ``.json``.

    Raises ModelError where ``train_stage1.initial`` names a captioner that cannot be continued.
    """
    start = None
    if params.train_stage1.initial.captioner:
        start = paths.home() / params.train_stage1.initial.captioner
        check_initial(start, FeatureStore(paths.FEATURES))
    train("train_stage1", params, params.train_stage1, start, paths.STAGE1)
