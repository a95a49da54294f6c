"""How fast captions are found: the batched search against a plain loop of the same mathematics, in the same run.

The plain loop takes one picture after the other and one hypothesis after the other, as a textbook writes it. The
decoder is random, 512 wide, with 2,500 words; its captions end soon after the tenth word, as those of photographs do.
What both ways say is compared before anything is timed.

    python benchmarks/decoding.py [--device cuda] [--pictures 256] [--captioner models/stage2]
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
PLAIN_PICTURES = 8
LEAST = 10  # words
CASES = {
    "greedy": GenerationConfig(strategy="greedy", min_new_tokens=LEAST),
    "beam 5": GenerationConfig(strategy="beam", num_beams=5, min_new_tokens=LEAST),
    "nucleus x5": GenerationConfig(strategy="sample", num_return_sequences=5, top_p=0.9, min_new_tokens=LEAST),
}


def random_decoder() -> tuple[Decoder, Vocabulary]:
    """Weights larger than at the start of training, so that words differ, and END likely once it is allowed."""
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
def plain(decoder: Decoder, picture: Tensor, params: GenerationConfig) -> list[int]:
    """Greedy or beam search of one picture (1, L, channels), a hypothesis at a time."""
    memory = decoder.encode(picture)
    width = 1 if params.strategy == "greedy" else params.num_beams
    open_: list[tuple[float, list[int], State]] = [(0.0, [], decoder.init_state(memory, 1))]
    closed: list[tuple[float, list[int]]] = []
    for _ in range(params.max_new_tokens):
        grown: list[tuple[float, list[int], State]] = []
        for total, words, state in open_:
            said = torch.tensor([words[-1] if words else START], device=picture.device)
            logits, after, _ = decoder.step(said, decoder.prepare_step(state, memory), memory)
            log_probs = torch.log_softmax(logits[0].float(), 0)
            log_probs[[PAD, START, UNK, *([END] if len(words) < params.min_new_tokens else [])]] = -torch.inf
            best = log_probs.topk(width + 1)
            for value, word in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                grown.append((total + value, [*words, word], after))
        grown.sort(key=lambda hypothesis: -hypothesis[0])
        closed += [(t / len(w) ** params.length_penalty, w) for t, w, _ in grown[:width] if w[-1] == END]
        open_ = [hypothesis for hypothesis in grown if hypothesis[1][-1] != END][:width]
        if closed and (
            width == 1 or max(closed)[0] >= open_[0][0] / (params.max_new_tokens + 1) ** params.length_penalty
        ):
            break
    return max(closed)[1][:-1] if closed else open_[0][1]


def timed(work: Callable[[], object], device: torch.device, repeats: int = 3) -> float:
    """The median of some runs, in seconds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def batched(
    decoder: Decoder, vocabulary: Vocabulary, table: WordTable, features: Tensor, params: GenerationConfig, batch: int
) -> list[str]:
    keys = [str(i) for i in range(len(features))]
    return [
        captions[0].text
        for i in range(0, len(features), batch)
        for captions in generate(
            decoder, features[i : i + batch], vocabulary, params, keys=keys[i : i + batch], table=table
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64, 256])
    parser.add_argument("--captioner", type=Path, help="a captioner folder, in place of a random decoder")
    given = parser.parse_args()
    device = torch.device(given.device)
    if given.captioner:
        captioner = Captioner.load(given.captioner, given.device)
        decoder, vocabulary = captioner.decoder, captioner.vocabulary
    else:
        decoder, vocabulary = random_decoder()
    decoder = decoder.to(device)
    with torch.inference_mode():
        table = decoder.word_table()  # once a captioner
    channels = decoder.feature_projection.in_features if decoder.config.feature_size else CHANNELS
    features = torch.rand(given.pictures, CELLS, int(channels), generator=torch.Generator().manual_seed(1)).to(device)
    weights = sum(p.numel() * p.element_size() for p in decoder.parameters())
    print(f"{len(vocabulary)} words, {weights / 1e6:.1f} MB of weights, {torch.get_num_threads()} threads, {device}")
    some = features[:PLAIN_PICTURES]
    slow: dict[str, float] = {}
    for name in ("greedy", "beam 5"):
        params = CASES[name]
        said = [" ".join(vocabulary.words[i] for i in plain(decoder, p.unsqueeze(0), params)) for p in some]
        if said != batched(decoder, vocabulary, table, some, params, PLAIN_PICTURES):
            raise SystemExit(f"{name}: the plain loop says something else")
        seconds = timed(lambda p=params: [plain(decoder, one.unsqueeze(0), p) for one in some], device)
        slow[name] = seconds / len(some)
        words = sum(len(text.split()) for text in said) / len(said)
        print(f"plain loop   {name:11} {1 / slow[name]:8.1f} images/s  {1e3 * slow[name]:8.1f} ms an image"
              f"  ({words:.1f} words)")  # fmt: skip
    for batch in given.batches:
        chosen = features[: max(16, min(len(features), 8 * batch))] if batch < 64 else features
        for name, params in CASES.items():
            each = timed(partial(batched, decoder, vocabulary, table, chosen, params, batch), device) / len(chosen)
            ratio = f"  {slow[name] / each:6.1f}x the plain loop" if name in slow else ""
            print(f"batch {batch:4}   {name:11} {1 / each:8.1f} images/s  {1e3 * each:8.1f} ms an image{ratio}")
            if device.type == "cuda" and batch == 1 and name == "greedy":
                steps = sum(len(t.split()) + 1 for t in batched(decoder, vocabulary, table, chosen, params, 1)) / len(
                    chosen
                )
                print(f"             greedy reads {weights * steps / each / 1e9:.0f} GB/s of weights")
    peak = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else _peak()
    print(f"peak memory {peak:,.0f} MB")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
