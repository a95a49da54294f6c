"""The captioner that ``wordgaze retrain`` fine-tunes."""

from collections.abc import Sequence
from pathlib import Path

from wordgaze.config.params import Params
from wordgaze.core import paths
from wordgaze.core.errors import ModelError
from wordgaze.inference.captioner_folder import load_decoder, read_card
from wordgaze.tracking.resolve import champion, is_registered, registered_version, resolve
from wordgaze.tracking.retraining import InitialCaptioner
from wordgaze.training.initial import check_encoder, check_model, initial_checksum
from wordgaze.vision.feature_store import FeatureStore


def find_initial_captioner(params: Params, settings: Sequence[str], model: str | None = None) -> InitialCaptioner:
    """The captioner to fine-tune: ``model``, else the champion, else the one that the project trained last.

    An alias of the registry is resolved to its version. Raises ModelError where there is no captioner, or where one
    cannot be fine-tuned with the parameters, unless ``settings``, further KEY=VALUE, change those of model or encoder.
    """
    address = model or champion() or paths.STAGE2.as_posix()
    if is_registered(address) and (version := registered_version(address)) is not None and "@" in address:
        address = f"{address.partition('@')[0]}/{version}"
    folder = resolve(address).folder
    if model is None and not folder.exists():
        raise ModelError(f"{folder} is missing, so there is no captioner to fine-tune; run dvc repro first")
    decoder, _ = load_decoder(folder)
    if not any(each.lstrip("+~").startswith(("model.", "features.")) for each in settings):
        check_model(Path(address), decoder.config, params.model)
        if paths.FEATURES.is_dir():
            check_encoder(Path(address), read_card(folder), FeatureStore(paths.FEATURES))
    return InitialCaptioner(address, initial_checksum(folder))
