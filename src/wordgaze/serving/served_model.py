"""The captioner that a server answers with."""

from dataclasses import dataclass

from wordgaze.core.errors import ModelError
from wordgaze.core.files import sha256
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.folder_names import CARD, WEIGHTS
from wordgaze.tracking.resolve import is_registered, resolve


@dataclass(frozen=True)
class ServedModel:
    """A loaded captioner with its ``name`` and ``version``; ``weights`` is the SHA-256 checksum of its weights.

    ``generation`` are the settings of a request that has none.
    """

    name: str
    version: str
    weights: str
    captioner: Captioner
    generation: GenerationConfig

    @classmethod
    def load(cls, address: str) -> "ServedModel":
        """Loads a captioner folder, ``photos``, or an address of the registry.

        Of a registered model the captioner folder is read; the code in the model does not run, whoever wrote it. Raises
        TrackingError for an address that the registry lacks, and ModelError for a folder without a captioner.
        """
        resolved = resolve(address)
        if not (resolved.folder / CARD).is_file():
            raise ModelError(
                f"{address} does not contain a captioner; run dvc repro, or give --model a folder that does"
            )
        generation = _registered(address) if is_registered(address) else None
        captioner = Captioner.load(resolved.folder)
        settings = (generation or captioner.generation_config).model_copy(update={"num_return_sequences": 1})
        return cls(resolved.name, resolved.version, sha256(resolved.folder / WEIGHTS), captioner, settings)


def _registered(address: str) -> GenerationConfig:
    from wordgaze.tracking.registered_settings import registered_generation  # which needs mlflow

    return registered_generation(address)
