"""Mutates inputs thousands of times and reads them, as a stranger's files would be.

    python -m tests.fuzz.campaign --tries 2000 --kind pictures --seed 1

Right is a result, or an error of wordgaze in one line, within SECONDS of computing and MEMORY for a small file. What
is wrong is printed and kept in ``--keep``. The suite runs a short form of it.
"""

import argparse
import logging
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from tests.fuzz.kinds import KINDS, Kind
from tests.fuzz.mutation import mutated
from wordgaze.core.errors import WordgazeError

SECONDS = 2.0
MEMORY = 2**30


def attempt(kind: Kind, path: Path) -> str:
    """What happened: ``read``, ``refused``, or what is wrong."""
    start = time.process_time()
    try:
        kind.read(path)
        outcome = "read"
    except WordgazeError as error:
        message = str(error)
        outcome = "refused" if len(message.splitlines()) == 1 and len(message) < 2000 else f"message {message[:60]!r}"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        outcome = f"foreign {type(error).__name__} {Path(place.filename).name}:{place.lineno} {str(error)[:80]!r}"
    if (seconds := time.process_time() - start) > SECONDS:
        outcome = f"slow {seconds:.1f} s, {outcome}"
    return outcome


def run(name: str, tries: int, seed: int, folder: Path, keep: Path | None = None) -> Counter[str]:
    """The number of times of each outcome."""
    kind, rng = KINDS[name](folder), random.Random(seed)
    names, outcomes = sorted(kind.seeds), Counter[str]()
    for seed_name in names:
        (folder / seed_name).write_bytes(kind.seeds[seed_name])
        if (outcome := attempt(kind, folder / seed_name)) != "read":
            outcomes[f"seed {seed_name} {outcome}"] += 1
    for number in range(tries):
        chosen = rng.choice(names)
        data = mutated(kind.seeds[chosen], rng, kind.seeds[rng.choice(names)], kind.is_text)
        (folder / chosen).write_bytes(data)
        outcome = attempt(kind, folder / chosen)
        outcomes[outcome] += 1
        if keep and outcome not in ("read", "refused"):
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{name}_{seed}_{number}_{chosen}").write_bytes(data)
    return outcomes


def wrong(outcomes: Counter[str]) -> list[str]:
    """The outcomes that are not right."""
    return sorted(outcome for outcome in outcomes if outcome not in ("read", "refused"))


def main() -> int:
    """Runs one kind, or all of them, and prints what happened."""
    parser = argparse.ArgumentParser(description="Read mutated inputs.")
    parser.add_argument("--tries", type=int, default=1000)
    parser.add_argument("--kind", choices=[*KINDS, "all"], default="all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the inputs that were wrong")
    options = parser.parse_args()
    warnings.simplefilter("error")
    logging.disable()
    failed = 0
    for name in KINDS if options.kind == "all" else [options.kind]:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            outcomes = run(name, options.tries, options.seed, Path(folder), options.keep)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        seconds = time.monotonic() - start
        print(
            f"{name}: {outcomes['read']} read, {outcomes['refused']} refused, {seconds:.0f} s, {peak >> 20} MB at most"
        )
        for outcome in wrong(outcomes):
            print(f"  {outcomes[outcome]} x {outcome}")
        failed += len(wrong(outcomes)) + (peak > MEMORY and name != "captioners")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
