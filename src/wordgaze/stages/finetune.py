"""Stage ``finetune``: trains the last blocks of the encoder by the captions, before its features are computed."""

import hashlib
import logging
from functools import partial

from wordgaze.config.params import Params
from wordgaze.core import paths
from wordgaze.core.device import pick_device
from wordgaze.core.files import fingerprint
from wordgaze.core.source import code_fingerprint
from wordgaze.data.prepared import Prepared
from wordgaze.distributed.launch import started_ranks
from wordgaze.distributed.ranks import Ranks
from wordgaze.inference.captioner_folder import encoder_state, read_captioner
from wordgaze.stages.training import Training, followed, scratch_of_ranks
from wordgaze.tracking.lineage import log_splits
from wordgaze.tracking.runs import stage_run
from wordgaze.training.finetune import FinetuneTask, finetune
from wordgaze.training.initial import check_encoder_spec
from wordgaze.vision.feature_extraction import encoder_of
from wordgaze.vision.finetuned_encoder import write_encoder
from wordgaze.vision.picture_keys import read_keys

_log = logging.getLogger(__name__)


def run(params: Params) -> None:
    """Writes ``models/encoder``: the weights, or, where ``finetune.blocks`` is 0, that there are none.

    Where the training continues that of a captioner, the encoder is the captioner's: its decoder knows no other. An
    interrupted training continues from its checkpoint, unless the data, the settings or the code have changed. Raises
    ModelError if a network has fewer blocks, or there is no such captioner, or it has another kind of encoder.
    """
    if not params.finetune.blocks:
        write_encoder(paths.FINETUNED_ENCODER, None, {"blocks": 0})
    elif params.train_stage1.initial.captioner:
        _take_over(params)
    else:
        main = partial(_run_as, params)
        with started_ranks(params.finetune, main) as ranks:
            main(ranks)


def _take_over(params: Params) -> None:
    """Writes the encoder of the captioner that the training continues. Raises ModelError if it is of another kind."""
    captioner = params.train_stage1.initial.captioner
    folder = paths.home() / captioner
    card, tensors = read_captioner(folder)
    check_encoder_spec(folder, card, encoder_of(params.features).spec)
    state = encoder_state(folder, card, tensors)
    write_encoder(paths.FINETUNED_ENCODER, state, {"blocks": params.finetune.blocks, "captioner": captioner})
    _log.info("finetune: the encoder is that of %s, whose training continues", captioner)


def _run_as(params: Params, ranks: Ranks) -> None:
    """Trains as one of the ranks; the first one alone tracks and writes."""
    task = _task(params)
    with scratch_of_ranks(f"training-{task.key()}", ranks) as scratch:
        ranks.join(task.checksums(), pick_device(params.finetune.device))
        training = partial(finetune, task, scratch, ranks=ranks)
        if ranks.is_first:
            _track(params, task, training)
        else:
            training(lambda _: None, lambda _, __: None)


def _track(params: Params, task: FinetuneTask, training: Training) -> None:
    """Trains as the first rank, logs the training, and writes the encoder."""
    sections = {"seed": params.seed, "finetune": params.finetune.model_dump(), "model": params.model.model_dump()}
    with stage_run("finetune", sections) as tracked:
        log_splits(tracked, params.dataset.name, ["train", "dev"])
        history = followed("finetune", params.finetune.epochs, tracked, training)
        best = max(history, key=lambda row: row["dev_cider"])
        tracked.metrics({"dev/best_cider": best["dev_cider"], "dev/best_epoch": best["epoch"]})
        card = {"blocks": params.finetune.blocks, "dev_cider": best["dev_cider"], "epochs": len(history)}
        write_encoder(paths.FINETUNED_ENCODER, task.encoder.cpu().state_dict(), card)


def _task(params: Params) -> FinetuneTask:
    prepared, images = Prepared.load(paths.PREPARED), paths.RAW / "images"
    names = sorted(image for split in ("train", "dev") for image in prepared.captions[split])
    keys = read_keys(images, names)
    return FinetuneTask(
        prepared, images, encoder_of(params.features), params.model, params.finetune, params.prepare.max_words,
        params.seed,
        image_checksums=hashlib.sha256(keys.tobytes()).hexdigest(),
        code=fingerprint(code_fingerprint("finetune"), params.fixes_kernels),
    )  # fmt: skip
