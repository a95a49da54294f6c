"""Stage ``check_params``: refuses wrong parameters while no output has been deleted."""

from wordgaze.config.params import Params
from wordgaze.core import paths
from wordgaze.core.files import write_text


def run(params: Params) -> None:
    """Writes ``data/params_checked.txt``. Its content does not depend on the parameters, so that no other stage does.

    Every other stage comes after this one. ``params`` have been checked when they were read.
    """
    write_text(paths.PARAMS_CHECKED, "The parameters are valid.\n")
