"""The speed of self-critical training: steps per second, and where a step goes.

    python benchmarks/self_critical.py [--steps 10] [--warmup 40] [--precision fp32] [--threads 2]

The model is that of the recipe flickr8k_best, on random features and captions. ``--warmup`` steps of cross entropy come
first, after which sampled captions are about as long as the references. With one process the parts of a step are
printed, and ``--profile`` writes them for benchmarks/profile_picture.py.
"""

import argparse
import json
import statistics
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from training import MODELS, SIZES, Profiler, Synthetic, batches_of_all_epochs, now

from wordgaze.config.params import FinetuneParams
from wordgaze.distributed.ranks import Ranks
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import END, SPECIAL, Vocabulary
from wordgaze.training import self_critical
from wordgaze.training.batches import BatchLoader
from wordgaze.training.distributed import DataParallel
from wordgaze.training.self_critical import Reward, SelfCriticalLoss
from wordgaze.training.train_step import Objective
from wordgaze.training.trainer import Trainer

CPU = torch.device("cpu")


def build_trainers(args: argparse.Namespace, ranks: Ranks) -> tuple[Trainer, Trainer]:
    """The trainers of cross entropy and of the reward, which share a decoder, for a rank that has joined."""
    source = Synthetic(*SIZES["flickr8k_best"], num_images=400)
    vocabulary = Vocabulary((*SPECIAL, *(f"w{i}" for i in range(Synthetic.vocabulary_size - len(SPECIAL)))))
    references = {
        example.image: [[vocabulary.words[i] for i in words if i != END] for words in example.captions]
        for example in source.examples
    }
    torch.manual_seed(1)
    decoder = Decoder(DecoderConfig(**MODELS["flickr8k_best"]), source.channels, len(vocabulary))
    decoder.standardise(source.read([example.image for example in source.examples[:256]]))
    params = FinetuneParams(
        batch_size=16, device=args.device, precision=args.precision, warmup_steps=10, objective="scst"
    )
    objective = Objective(0.0, SelfCriticalLoss(vocabulary, references, params, Synthetic.max_words))
    return tuple(
        Trainer(
            decoder, BatchLoader(source.examples, source, params.batch_size, seed=1), lambda _: 0.0, params, 1,
            Path("checkpoint"), None, each, ranks,
        )
        for each in (Objective(), objective)
    )  # type: ignore[return-value]  # fmt: skip


def profiled(trainer: Trainer) -> Profiler:
    """Wraps the parts of the trainer's step."""
    profiler, decoder = Profiler(CPU), trainer.decoder
    self_critical.generate = profiler.wrap("sampling", self_critical.generate)  # type: ignore[attr-defined]
    Reward.__call__ = profiler.wrap("reward", Reward.__call__)  # type: ignore[method-assign]
    decoder.forward = profiler.wrap("forward", decoder.forward)  # type: ignore[method-assign]
    Tensor.backward = profiler.wrap("backward", Tensor.backward)  # type: ignore[method-assign]
    trainer.optimizer.step = profiler.wrap("optimizer", trainer.optimizer.step)  # type: ignore[method-assign]
    return profiler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=40)
    parser.add_argument("--precision", default="fp32", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", choices=["cpu"])
    parser.add_argument("--profile", type=Path, help="write the seconds of each part of a step")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    first, second = build_trainers(args, Ranks())
    batches = batches_of_all_epochs(second.batches.epoch)
    warm_up = DataParallel(first.train_step, Ranks())
    for _ in range(args.warmup):
        first.update(warm_up, next(batches))
    profiler, seconds = profiled(second), list[float]()
    update = profiler.wrap("other", partial(second.update, DataParallel(second.train_step, Ranks())))
    for _ in range(args.steps):
        started = now(CPU)
        update(next(batches))
        seconds.append(now(CPU) - started)
    median = statistics.median(seconds[1:])
    print(f"{args.threads} threads, {args.precision}: {1 / median:.2f} steps/s")
    parts = {name: total / args.steps for name, total in profiler.seconds.items()}
    print(", ".join(f"{name} {1e3 * total:.0f} ms" for name, total in parts.items()))
    if args.profile:
        values = {"model": "flickr8k_best, self-critical", "precision": args.precision, "seconds": parts}
        args.profile.write_text(json.dumps(values))


if __name__ == "__main__":
    main()
