"""MLflow's scoring server on a captioner: pictures come over HTTP, and every error goes back as one sentence."""

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Any

from wordgaze.core.errors import ModelError, TrackingError, WordgazeError
from wordgaze.core.network import listen
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.folder_names import CARD
from wordgaze.tracking.package import save_packaged, signature
from wordgaze.tracking.resolve import is_registered, resolve
from wordgaze.tracking.store import configure_mlflow, open_store, translate_errors

if TYPE_CHECKING:
    from fastapi import FastAPI
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import PyFuncModel

SHUTDOWN_TIMEOUT = 10  # seconds for open requests to finish when the server stops

_log = logging.getLogger(__name__)


def serve(model: str, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serves a captioner folder, ``photos``, or an address of the registry, until SIGINT or SIGTERM.

    ``ready`` is called with the server's address once it answers; port 0 takes a free one. The requests are those of
    MLflow's scoring server: ``POST /invocations`` with JSON, ``GET /ping``. Images are base64; paths are opened
    only if the environment variable WORDGAZE_PATHS is 1. Raises TrackingError for a model or an address that is not
    available, and ModelError for a folder without a captioner.
    """
    configure_mlflow()
    with listen(host, port) as listening:
        app = _app(_load(model))
        import uvicorn

        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=SHUTDOWN_TIMEOUT))
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{listening.getsockname()[1]}")
        with suppress(KeyboardInterrupt):  # uvicorn has ended all requests, and raises the signal again
            server.run(sockets=[listening])


class ScoringModel:
    """The model behind the scoring server: one prediction at a time, on all cores; errors become one sentence."""

    def __init__(self, model: "PyFuncModel") -> None:
        self.metadata = model.metadata
        self._model, self._lock = model, Lock()
        self._params = _params(model)

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        """Raises MlflowException, which the server answers: 400 for an invalid request, 500 for an internal error."""
        from mlflow.exceptions import MlflowException

        if isinstance(params, dict) and (unknown := params.keys() - self._params):
            wrong = f"{', '.join(sorted(unknown))}: not a valid parameter; valid are {', '.join(sorted(self._params))}"
            raise _with_own_json(MlflowException.invalid_parameter_value(wrong))
        try:
            with self._lock:
                return self._model.predict(data, params)
        except MlflowException as error:
            _with_own_json(error)
            raise
        except WordgazeError as error:
            raise _with_own_json(MlflowException.invalid_parameter_value(str(error))) from error
        except Exception as error:
            _log.exception("a prediction failed")
            raise _with_own_json(MlflowException("the captioner failed; see the server's log")) from error


def _load(model: str) -> "PyFuncModel":
    registered = is_registered(model)
    source = Path(model) if registered else resolve(model).folder
    if not registered and not (source / CARD).is_file():
        raise ModelError(f"{model} does not contain a captioner; run dvc repro, or give --model a folder that does")
    from mlflow.pyfunc import load_model

    with TemporaryDirectory() as folder:  # loaded in place, it would leave bytecode in the model
        if registered:
            open_store(create=False)
            with translate_errors(
                f"load {model}", "see `mlflow ui` for what is registered, or run `wordgaze register`"
            ):
                loaded = load_model(model, dst_path=folder, suppress_warnings=True)
        else:
            save_packaged(Path(folder) / "model", source)
            loaded = load_model(f"{folder}/model", suppress_warnings=True)
    if lacking := {param.name for param in signature(GenerationConfig()).params or ()} - _params(loaded):
        raise TrackingError(
            f"{model} was packaged by another version of wordgaze and lacks {', '.join(sorted(lacking))}; "
            "run `dvc repro -f -s evaluate`, `wordgaze register` and `wordgaze promote`"
        )
    return loaded


def _app(model: "PyFuncModel") -> "FastAPI":
    from mlflow.pyfunc import scoring_server

    from wordgaze.tracking.checked_requests import CheckedRequests

    app: FastAPI = scoring_server.init(ScoringModel(model))  # type: ignore[arg-type]
    app.add_middleware(CheckedRequests)
    return app


def _with_own_json(error: "MlflowException") -> "MlflowException":
    """The error with its own JSON body: MLflow's would repeat the request's images in front of the message."""
    body = json.dumps({"error_code": error.error_code, "message": error.message})
    error.serialize_as_json = lambda: body  # type: ignore[method-assign]
    return error


def _params(model: "PyFuncModel") -> set[str]:
    return {param.name for param in model.metadata.get_params_schema() or ()}  # type: ignore[no-untyped-call]
