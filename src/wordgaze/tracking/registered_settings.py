"""The decoding settings that a registered captioner was packaged with."""

from wordgaze.core.errors import TrackingError
from wordgaze.generation.config import GenerationConfig, parse_generation_config
from wordgaze.tracking.store import open_store, translate_errors

_NOT_DECODING = frozenset({"seed", "attention"})


def registered_generation(address: str) -> GenerationConfig:
    """The settings in the signature of a registered model: those that it was measured with.

    Only the model's description is read; none of its code runs. Raises TrackingError for an unknown address, and for a
    model whose settings are those of another version of wordgaze.
    """
    open_store(create=False)
    from mlflow.models import get_model_info

    with translate_errors(f"load {address}", "see `mlflow ui`, or run `wordgaze register` and `wordgaze promote`"):
        signature = get_model_info(address).signature
    params = signature.params.params if signature and signature.params else []
    settings = {param.name: param.default for param in params}
    if lacking := sorted({*GenerationConfig.model_fields, *_NOT_DECODING} - settings.keys()):
        raise TrackingError(
            f"{address} was packaged by another version of wordgaze and lacks {', '.join(lacking)}; "
            "run `dvc repro -f -s evaluate`, `wordgaze register` and `wordgaze promote`"
        )
    return parse_generation_config(**{name: settings[name] for name in GenerationConfig.model_fields})
