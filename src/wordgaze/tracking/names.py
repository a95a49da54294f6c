"""The name of the registered model of a project, and the names that its versions have in the registry."""

from pydantic import ValidationError

from wordgaze.config.params import TrackingParams
from wordgaze.config.yaml_files import read_yaml
from wordgaze.core import paths
from wordgaze.core.errors import ParamsError
from wordgaze.core.settings import problems_of

REGISTRY = "models:/"
CHALLENGER, CHAMPION = "challenger", "champion"


def tracking_params() -> TrackingParams:
    """The section ``tracking`` of params.yaml, or its defaults where there is no such file or key.

    The other sections are not checked, for they do not concern the registry. Raises ParamsError for a file that is not
    YAML and for a value that is not valid.
    """
    values = read_yaml(paths.PARAMS) if paths.PARAMS.exists() else {}
    section = values.get("tracking") if isinstance(values, dict) else None
    try:
        return TrackingParams.model_validate({} if section is None else section)
    except ValidationError as error:
        raise ParamsError(f"{paths.PARAMS}: tracking.{problems_of(error)}") from error


def model_name() -> str:
    """The name of the registered model, ``tracking.model_name`` of params.yaml. Raises as tracking_params."""
    return tracking_params().model_name


def champion_address() -> str:
    """The address of the project's champion, ``models:/captioner@champion`` by default. Raises as model_name."""
    return f"{REGISTRY}{model_name()}@{CHAMPION}"
