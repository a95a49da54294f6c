"""The speed of several ranks compared with one process in the same run: cross entropy and self-critical training.

    python benchmarks/ranks.py [--devices 2] [--threads 2] [--steps 20] [--warmup 40] [--precision fp32] [--device cuda]
    torchrun --standalone --nproc-per-node gpu benchmarks/ranks.py --device cuda

The model is that of the recipe flickr8k_best, on random features and captions. ``--warmup`` steps of cross entropy come
first, after which sampled captions are about as long as the references. Then one process, with all threads, and the
ranks take a step of the same batch in turn. The losses of their first steps, which start from the same weights, are
compared; dropout is the same for any number of ranks with cross entropy alone.
"""

import argparse
import copy
import statistics
from collections.abc import Iterator
from functools import partial

import torch
from self_critical import build_trainers
from training import batches_of_all_epochs, now

from wordgaze.config.params import TrainParams
from wordgaze.distributed.launch import started_ranks
from wordgaze.distributed.ranks import Ranks
from wordgaze.training.batches import Batch
from wordgaze.training.distributed import DataParallel
from wordgaze.training.random_state import random_state, set_random_state
from wordgaze.training.trainer import Trainer

NAMES = ("cross entropy", "self-critical")
MAX_DIFFERENCE = 1e-3  # of the first losses of cross entropy, relative: bf16 rounds parts of a batch differently


def take_steps(ranks: Ranks, args: argparse.Namespace) -> None:
    """All steps of one of the ranks; the first one takes those of one process too, and prints."""
    ranks.join({}, torch.device(args.device))
    shared = build_trainers(args, ranks)
    batches = [batches_of_all_epochs(trainer.batches.epoch) for trainer in shared]
    torch.set_num_threads(max(1, args.threads // ranks.local_world_size))
    warm_up = DataParallel(shared[0].train_step, ranks)
    for _ in range(args.warmup):
        shared[0].update(warm_up, next(batches[0]))
    for number, name in enumerate(NAMES):
        if not ranks.is_first:
            step = DataParallel(shared[number].train_step, ranks)
            for _ in range(args.steps):
                shared[number].update(step, next(batches[number]))
        else:
            alone = alone_from(shared[number], number, args)
            compare(name, alone, shared[number], batches[number], ranks, args)
    time_all_reduce(shared[0], ranks)


def alone_from(trainer: Trainer, number: int, args: argparse.Namespace) -> Trainer:
    """A trainer of one process that has come as far as a rank's trainer."""
    before = random_state(trainer.device)
    alone = build_trainers(args, Ranks())[number]
    set_random_state(trainer.device, before)  # that of the other ranks
    alone.decoder.load_state_dict(trainer.decoder.state_dict())
    alone.optimizer.load_state_dict(copy.deepcopy(trainer.optimizer.state_dict()))
    alone.state = copy.deepcopy(trainer.state)
    return alone


def compare(
    name: str, alone: Trainer, shared: Trainer, batches: Iterator[Batch], ranks: Ranks, args: argparse.Namespace
) -> None:
    """Steps of one process and of the ranks in turn. Raises SystemExit if the first losses of cross entropy differ."""
    whole = batches_of_all_epochs(alone.batches.epoch)
    for _ in range(args.warmup if name == NAMES[0] else 0):
        next(whole)  # the ranks have had these
    speeds, losses = {1: list[float](), 2: list[float]()}, {1: list[float](), 2: list[float]()}
    for _ in range(args.steps):
        before = random_state(shared.device)
        for place, (trainer, of, own) in enumerate(((alone, Ranks(), whole), (shared, ranks, batches)), start=1):
            set_random_state(shared.device, before)
            torch.set_num_threads(max(1, args.threads // of.local_world_size))
            trainer.state.metric_sums.clear()
            started = now(trainer.device)
            batch = next(own)
            trainer.update(DataParallel(trainer.train_step, of), batch)
            speeds[place].append(batch.whole_size().captions / (now(trainer.device) - started))
            losses[place].append(trainer.state.metric_sums["train_loss"])
    one, several = (statistics.median(speeds[place][2:]) for place in (1, 2))
    difference = abs(losses[1][0] - losses[2][0]) / abs(losses[1][0])
    spread = statistics.stdev(speeds[2][2:]) / statistics.mean(speeds[2][2:])
    measured = f"one process {one:7.1f} captions/s   {ranks.world_size} ranks {several:7.1f} captions/s"
    remark = f"first losses differ by {difference:.0e}; steps vary by {spread:.0%}"
    print(f"{name:14} {measured}   {several / one:.2f} times   ({remark})")
    if name == NAMES[0] and difference > MAX_DIFFERENCE:
        raise SystemExit("the losses of the ranks are not those of one process")


def time_all_reduce(trainer: Trainer, ranks: Ranks, rounds: int = 20) -> None:
    """The sum of gradients alone, of ranks that do nothing else."""
    flat = torch.zeros(sum(p.numel() for p in trainer.train_step.parameters()), device=trainer.device)
    times = list[float]()
    for _ in range(rounds if ranks.world_size > 1 else 0):
        started = now(trainer.device)
        ranks.all_reduce(flat)
        times.append(now(trainer.device) - started)
    if times and ranks.is_first:
        megabytes, median = flat.nbytes / 1e6, statistics.median(times)
        speed = f"{1e3 * median:.1f} ms, {megabytes / 1e3 / median:.2f} GB/s"
        print(f"all_reduce     {megabytes:.1f} MB of gradients in {speed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=2, help="number of ranks, where torchrun does not say it")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=40)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="fp32", choices=["auto", "fp32", "bf16"])
    args = parser.parse_args()
    main_of_rank = partial(take_steps, args=args)
    with started_ranks(TrainParams(device=args.device, devices=args.devices), main_of_rank) as ranks:
        if ranks.is_first:
            print(f"{args.threads} threads, {ranks.world_size} ranks, {args.device}, {args.precision}", flush=True)
        main_of_rank(ranks)


if __name__ == "__main__":
    main()
