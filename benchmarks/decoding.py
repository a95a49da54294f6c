"""The speed of generation: the batched search compared with a plain loop of the same mathematics in the same run.

    python benchmarks/decoding.py [--device cuda] [--images 256] [--captioner models/stage2]

The plain loop processes one image and one hypothesis at a time, as in a textbook. The decoder is random, of width 512
with 2,500 words; its captions end soon after the tenth word, as those of photographs do. The captions of both are
compared before anything is timed.
"""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.generate import generate
from wordgaze.inference.captioner import Captioner
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder, State, WordTable
from wordgaze.text.vocabulary import END, PAD, SPECIAL, START, UNK, Vocabulary

CELLS, CHANNELS, WORDS, WIDTH = 49, 1280, 2500, 512
PLAIN_IMAGES = 8
MIN_WORDS = 10
CASES = {
    "greedy": GenerationConfig(strategy="greedy", min_new_tokens=MIN_WORDS),
    "beam 5": GenerationConfig(strategy="beam", num_beams=5, min_new_tokens=MIN_WORDS),
    "nucleus x5": GenerationConfig(strategy="sample", num_return_sequences=5, top_p=0.9, min_new_tokens=MIN_WORDS),
}


def random_decoder() -> tuple[Decoder, Vocabulary]:
    """A decoder with larger weights than at the start of training, so that words differ, and with a likely END."""
    torch.manual_seed(0)
    vocabulary = Vocabulary(SPECIAL + tuple(f"w{i}" for i in range(WORDS - len(SPECIAL))))
    config = DecoderConfig(embedding_size=WIDTH, hidden_size=WIDTH, attention_size=256, feature_size=WIDTH)
    decoder = Decoder(config, CHANNELS, len(vocabulary)).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(2.5)
        decoder.lm_head.bias[END] += 4.2
    return decoder, vocabulary


@torch.inference_mode()
def plain(decoder: Decoder, features: Tensor, config: GenerationConfig) -> list[int]:
    """The words of one image by greedy or beam search, one hypothesis at a time; features (1, L, channels)."""
    memory = decoder.encode(features)
    num_beams = 1 if config.strategy == "greedy" else config.num_beams
    beams: list[tuple[float, list[int], State]] = [(0.0, [], decoder.init_state(memory, 1))]
    finished: list[tuple[float, list[int]]] = []
    for _ in range(config.max_new_tokens):
        candidates: list[tuple[float, list[int], State]] = []
        for total, words, state in beams:
            last = torch.tensor([words[-1] if words else START], device=features.device)
            logits, new_state, _ = decoder.step(last, decoder.prepare_step(state, memory), memory)
            log_probs = torch.log_softmax(logits[0].float(), 0)
            log_probs[[PAD, START, UNK, *([END] if len(words) < config.min_new_tokens else [])]] = -torch.inf
            best = log_probs.topk(num_beams + 1)
            for value, word in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                candidates.append((total + value, [*words, word], new_state))
        candidates.sort(key=lambda hypothesis: -hypothesis[0])
        finished += [(t / len(w) ** config.length_penalty, w) for t, w, _ in candidates[:num_beams] if w[-1] == END]
        beams = [hypothesis for hypothesis in candidates if hypothesis[1][-1] != END][:num_beams]
        if finished and (
            num_beams == 1 or max(finished)[0] >= beams[0][0] / (config.max_new_tokens + 1) ** config.length_penalty
        ):
            break
    return max(finished)[1][:-1] if finished else beams[0][1]


def timed(work: Callable[[], object], device: torch.device, repeats: int = 3) -> float:
    """The median seconds of ``repeats`` runs."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def batched(
    decoder: Decoder, vocabulary: Vocabulary, table: WordTable, features: Tensor, config: GenerationConfig, batch: int
) -> list[str]:
    keys = [str(i) for i in range(len(features))]
    return [
        captions[0].text
        for i in range(0, len(features), batch)
        for captions in generate(
            decoder, features[i : i + batch], vocabulary, config, keys=keys[i : i + batch], table=table
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64, 256])
    parser.add_argument("--captioner", type=Path, help="a captioner folder instead of a random decoder")
    args = parser.parse_args()
    device = torch.device(args.device)
    if args.captioner:
        captioner = Captioner.load(args.captioner, args.device)
        decoder, vocabulary = captioner.decoder, captioner.vocabulary
    else:
        decoder, vocabulary = random_decoder()
    decoder = decoder.to(device)
    with torch.inference_mode():
        table = decoder.word_table()  # once per captioner
    channels = decoder.feature_projection.in_features if decoder.config.feature_size else CHANNELS
    features = torch.rand(args.images, CELLS, int(channels), generator=torch.Generator().manual_seed(1)).to(device)
    weights = sum(p.numel() * p.element_size() for p in decoder.parameters())
    print(f"{len(vocabulary)} words, {weights / 1e6:.1f} MB of weights, {torch.get_num_threads()} threads, {device}")
    sample = features[:PLAIN_IMAGES]
    slow: dict[str, float] = {}
    for name in ("greedy", "beam 5"):
        config = CASES[name]
        indices = [plain(decoder, image.unsqueeze(0), config) for image in sample]
        captions = [" ".join(vocabulary.words[i] for i in of_image) for of_image in indices]
        if captions != batched(decoder, vocabulary, table, sample, config, PLAIN_IMAGES):
            raise SystemExit(f"{name}: the captions of the plain loop and of the project differ")
        seconds = timed(lambda c=config: [plain(decoder, image.unsqueeze(0), c) for image in sample], device)
        slow[name] = seconds / len(sample)
        words = sum(len(text.split()) for text in captions) / len(captions)
        print(f"plain loop   {name:11} {1 / slow[name]:8.1f} images/s  {1e3 * slow[name]:8.1f} ms per image"
              f"  ({words:.1f} words)")  # fmt: skip
    for batch in args.batches:
        subset = features[: max(16, min(len(features), 8 * batch))] if batch < 64 else features
        for name, config in CASES.items():
            per_image = timed(partial(batched, decoder, vocabulary, table, subset, config, batch), device) / len(subset)
            ratio = f"  {slow[name] / per_image:6.1f}x the plain loop" if name in slow else ""
            print(f"batch {batch:4}   {name:11} {1 / per_image:8.1f} images/s  {1e3 * per_image:8.1f} ms per image"
                  f"{ratio}")  # fmt: skip
            if device.type == "cuda" and batch == 1 and name == "greedy":
                texts = batched(decoder, vocabulary, table, subset, config, 1)
                steps = sum(len(text.split()) + 1 for text in texts) / len(subset)
                print(f"             greedy reads {weights * steps / per_image / 1e9:.0f} GB/s of weights")
    peak = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else _peak()
    print(f"peak memory {peak:,.0f} MB")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
