"""The MLflow experiment of all runs of a project: the one that MLflow's environment variables name, or a default."""

import os
from typing import TYPE_CHECKING

from wordgaze.core import paths
from wordgaze.core.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

EXPERIMENT = "wordgaze"
KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"
"""The tag by which MLflow knows an experiment as one of training runs, and not of agents."""

NAME_VARIABLE, ID_VARIABLE = "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"


def find_experiment(client: "MlflowClient", address: str, create: bool) -> str:
    """The id of the experiment; "" if there is none of this name and it is not to be made.

    MLFLOW_EXPERIMENT_ID has to be that of an experiment; one that MLFLOW_EXPERIMENT_NAME names is made where it is
    missing. ``address`` is that of the store. Raises TrackingError for an unknown id, for a deleted experiment, and for
    an id and a name of two experiments.
    """
    name, number = os.environ.get(NAME_VARIABLE), os.environ.get(ID_VARIABLE)
    experiment = _by_id(client, number) if number else client.get_experiment_by_name(name or EXPERIMENT)
    if experiment is None:
        return _create(client, name or EXPERIMENT, address) if create else ""
    if name and experiment.name != name:
        raise TrackingError(
            f"{ID_VARIABLE}={number} is the experiment {experiment.name!r}, and {NAME_VARIABLE} is {name!r}; unset one"
        )
    if experiment.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the experiment {experiment.name!r} is deleted; run `mlflow experiments restore --experiment-id "
            f"{experiment.experiment_id}`, or name another one in {NAME_VARIABLE}"
        )
    if create and KIND not in experiment.tags:
        client.set_experiment_tag(experiment.experiment_id, KIND, TRAINING)
    return str(experiment.experiment_id)


def _by_id(client: "MlflowClient", number: str) -> "Experiment":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_experiment(number)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise TrackingError(
            f"{ID_VARIABLE}={number} is not the id of an experiment in the store; `mlflow experiments search` lists "
            f"them, or set {NAME_VARIABLE}, which makes an experiment that is missing"
        ) from error


def _create(client: "MlflowClient", name: str, address: str) -> str:
    served = address.startswith(("http:", "https:", "databricks"))  # then the server keeps the artifacts
    location = None if served else artifact_location()
    return str(client.create_experiment(name, artifact_location=location, tags={KIND: TRAINING}))


def artifact_location() -> str:
    """The address of the folder of the artifacts, unless a server keeps them."""
    return (paths.home() / "mlartifacts").as_uri()
