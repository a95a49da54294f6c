"""A version of the registry as it captions for its users: its captioner folder and its decoding settings."""

from pathlib import Path

from pydantic import ValidationError

from wordgaze.core.errors import TrackingError
from wordgaze.core.settings import problems_of
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioner_folder import read_card
from wordgaze.tracking.fetch import fetch_model
from wordgaze.tracking.gate_captions import Candidate
from wordgaze.tracking.names import REGISTRY
from wordgaze.tracking.store import translate_errors


def candidate_of(name: str, version: int) -> Candidate:
    """A version, fetched if it is on another machine. Raises TrackingError, and ModelError for a broken captioner."""
    address = f"{REGISTRY}{name}/{version}"
    folder = fetch_model(address)
    return Candidate(version, folder, shipped_generation(address, folder))


def shipped_generation(address: str, folder: Path) -> GenerationConfig:
    """The decoding settings of a registered model: the defaults in its signature, else those of its captioner."""
    from mlflow.models import get_model_info

    with translate_errors(f"read the signature of {address}"):
        signature = get_model_info(address).signature
    defaults = {param.name: param.default for param in signature.params or ()} if signature else {}
    known = {name: value for name, value in defaults.items() if name in GenerationConfig.model_fields}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
    try:
        return GenerationConfig.model_validate(values) if values else read_card(folder).generation
    except ValidationError as error:
        raise TrackingError(
            f"{address} has decoding settings that this version of wordgaze does not know ({problems_of(error)});"
            " register the captioner again"
        ) from error
