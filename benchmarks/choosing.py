"""What can be gained by choosing among the candidates of beam search, and what each score of a candidate gives.

    python benchmarks/choosing.py [--root .] [--model models/stage2] [--num-beams 40]

Needs a finished project. Decodes the dev split, trains a dual encoder (``learned_reranker.py``), and prints CIDEr:
that of the first candidates, of those that ``neighbours`` chooses, and of those that weights choose which were fitted
to other images (five parts): with all signals, without one, and with one beside log-probability and length. Then the
bounds: the best candidates by their own references, which no method can reach, and those that r captions of people
choose, scored by the other captions: what a method could choose that knew as much of the image as r people say. The
intervals (95 %) are paired bootstraps over images, of the gain against ``neighbours``.
"""

import argparse
import sys
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from learned_reranker import SIGNALS, Candidates, fit_dual_encoder, held_out_rewards, padded, signals_of

from wordgaze.data.prepared import Prepared
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.caption_features import caption_features
from wordgaze.inference.captioner import Captioner
from wordgaze.metrics.cider import Cider
from wordgaze.metrics.document_frequencies import document_frequencies
from wordgaze.training.confidence import mean_features
from wordgaze.vision.feature_store import FeatureStore

DECODER = ("score", "log_prob", "length")
RESAMPLES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--model", type=Path, default=Path("models/stage2"))
    parser.add_argument("--num-beams", type=int, default=40)
    args = parser.parse_args()
    captioner = Captioner.load(args.root / args.model, "cpu")
    neighbours = captioner.parts.neighbours
    if neighbours is None:
        raise SystemExit(f"{args.root / args.model} has no training images to compare with; give another captioner")
    prepared, store = Prepared.load(args.root / "data/prepared"), FeatureStore(args.root / "data/features")
    train = dict(sorted(prepared.captions["train"].items()))
    encoder = fit_dual_encoder(mean_features(store, list(train)), list(train.values()), captioner.vocabulary)
    images, references = prepared.references("dev")
    beam = GenerationConfig(num_beams=args.num_beams, num_return_sequences=args.num_beams)
    found = list(caption_features(captioner.decoder, captioner.vocabulary, store, images, beam, 64))
    words = [[caption.words for caption in of_image] for of_image in found]
    frequencies = document_frequencies(references)
    rewards = rewards_of(Cider(references, frequencies), words)
    candidates = Candidates.padded(
        signals_of(found, mean_features(store, images), neighbours, encoder, list(train.values())), rewards
    )
    print_choices(candidates)
    by_person = [  # CIDEr is a mean over references, so the mean of these is the CIDEr by all references
        rewards_of(Cider([[of_image[person]] for of_image in references], frequencies), words)
        for person in range(min(map(len, references)))
    ]
    print_bounds(candidates, torch.stack([padded(each) for each in by_person]))


def rewards_of(cider: Cider, words: list[list[tuple[str, ...]]]) -> list[list[float]]:
    return [cider.reward([i] * len(of_image), of_image) for i, of_image in enumerate(words)]


def print_choices(candidates: Candidates) -> None:
    """The first candidates, those that fixed weights choose, and those of learned weights of sets of signals."""
    config = GenerationConfig()
    fixed = torch.zeros(len(SIGNALS))
    for name, weight in (
        ("score", 1.0), ("neighbours", config.neighbour_weight), ("regression", config.regression_weight)
    ):  # fmt: skip
        fixed[SIGNALS.index(name)] = weight
    places = (candidates.signals @ fixed).masked_fill(~candidates.exists, -torch.inf).argmax(1, keepdim=True)
    neighbours = candidates.rewards.gather(1, places).squeeze(1)
    print(f"{'beam, first candidate':40} {candidates.rewards[:, 0].mean():.4f}")
    print(f"{'neighbours':40} {neighbours.mean():.4f}")
    others = [name for name in SIGNALS if name not in DECODER]
    sets = {"learned weights of all signals": SIGNALS, "of the decoder's alone": DECODER}
    sets |= {f"without {name}": tuple(each for each in SIGNALS if each != name) for name in others}
    sets |= {f"of the decoder's and {name}": (*DECODER, name) for name in others}
    for title, names in sets.items():
        chosen = held_out_rewards(
            candidates._replace(signals=candidates.signals[:, :, [SIGNALS.index(name) for name in names]])
        )
        low, high = interval(chosen - neighbours)
        print(f"{title:40} {chosen.mean():.4f}   {(chosen - neighbours).mean():+.4f} ({low:+.4f} to {high:+.4f})")


def print_bounds(candidates: Candidates, by_person: Tensor) -> None:
    """What the references themselves would choose; by_person (R, N, K): the rewards by one reference each."""
    best = candidates.rewards.masked_fill(~candidates.exists, -torch.inf).amax(1)
    print(f"{'best by its own references':40} {best.mean():.4f}")
    people = range(len(by_person))
    for count in range(1, len(by_person)):
        scores = []
        for known in combinations(people, count):
            rest = [person for person in people if person not in known]
            score = by_person[list(known)].mean(0).masked_fill(~candidates.exists, -torch.inf)
            scores.append(by_person[rest].mean(0).gather(1, score.argmax(1, keepdim=True)).mean())
        print(f"{f'chosen by {count} people, scored by the rest':40} {torch.stack(scores).mean():.4f}")


def interval(differences: Tensor) -> tuple[float, float]:
    """The 95 % interval of the mean difference, by resampling the images."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(len(differences), (RESAMPLES, len(differences)), generator=generator)
    low, high = torch.quantile(differences[rows].mean(1), torch.tensor([0.025, 0.975])).tolist()
    return low, high


if __name__ == "__main__":
    main()
