"""Does a caption name what the photograph shows? On photographs of ImageNet classes.

    python benchmarks/naming.py --data imagenet_names.zip [--model FOLDER …] [--half b] [--text captions.txt.gz …]

``--data`` is a folder or a ZIP archive with ``images/`` and ``labels.json``: a list of image, label, class_index, the
lemmas of the class in WordNet, and those of its hypernyms from near to far. Half ``a`` has the classes at even
positions in the order of class_index, for tuning; half ``b`` those at odd positions, for reporting.

Reported in percent of the photographs:
- named: the caption has a lemma of the class, or of a hypernym that is not as general as "animal" and "device"
  (GENERAL), in singular or plural, all its words in sequence. Lemmas that are frequent in captions for another reason
  (AMBIGUOUS) do not count.
- by chance: the same for the captions of other photographs, the mean over all of them.
- wrong: the caption calls something an animal or a vehicle that the class is not. The photograph may show it beside
  the thing (a horse before a cart), so this is an upper bound.

``--text``: files of sentences, one per line, plain or .gz, on which a trigram language model with interpolated
Kneser-Ney smoothing is trained; its perplexity per word compares the captions with those without naming. Words that
occur once in the text are one unknown word.
"""

import argparse
import gzip
import json
import math
import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

from PIL import Image, ImageDraw, ImageFont, ImageOps
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import wordgaze
from wordgaze.text.nouns import regular_plural
from wordgaze.text.objects import singular
from wordgaze.text.tokenizers.ptb import tokenize
from wordgaze.vision.class_words import Phrase, imagenet_words

GENERAL = frozenset(
    (
        "abstraction, animal, article, artifact, attribute, causal agent, chordate, commodity, communication,"
        " container, conveyance, covering, creation, device, entity, equipment, implement, instrumentality,"
        " living thing, location, matter, measure, object, organism, part, person, physical entity, piece, relation,"
        " shape, solid, structure, substance, support, surface, system, vertebrate, whole, work"
    ).split(", ")
)
"""First lemmas of the hypernyms that do not name a thing: "animal", "device" and what is as general."""
AMBIGUOUS = frozenset(
    "area bank bar bars board cell course cover drop front game good ground head light mail match part point post press"
    " round stand top tie wear wood work".split()
)
NUM_SHOWN, COLUMNS, TILE = 40, 8, 220


class Photograph(NamedTuple):
    """An image, its class, the group of the class (``vehicle``), the names that count, and those that do not contradict
    them."""

    image: Image.Image
    label: str
    index: int
    group: str
    names: frozenset[Phrase]
    accepted: frozenset[Phrase]


class Result(NamedTuple):
    """The captions of a captioner, and what they say of each photograph."""

    captions: list[Phrase]
    named: list[bool]
    wrong: list[bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", nargs="+", default=[None], help="captioner folders; default: that of wordgaze.load")
    parser.add_argument("--half", choices=["a", "b", "all"], default="b")
    parser.add_argument("--text", type=Path, nargs="+", default=[])
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="decoding settings, as in params.yaml"
    )
    parser.add_argument("--sheet", type=Path, default=Path("naming.png"), help=f"{NUM_SHOWN} of the photographs")
    args = parser.parse_args()
    missing = [str(path) for path in (args.data, *args.text) if not path.exists()]
    if missing:
        print(f"skipped: {', '.join(missing)} is not there")
        return
    photographs = load(args.data, args.half)
    settings = {key: json.loads(value) for key, _, value in (entry.partition("=") for entry in args.set)}
    model = KneserNey(line.split() for path in args.text for line in lines(path)) if args.text else None
    results: dict[str, Result] = {}
    for source in args.model:
        captioner = wordgaze.load(source) if source else wordgaze.load()
        for name, changed in variants(source or "default", captioner, settings).items():
            captions = [best[0].words for best in captioner.caption([p.image for p in photographs], changed)]
            results[name] = judge(photographs, captions)
    report(photographs, results, model)
    sheet(photographs, results).save(args.sheet)
    print(f"{args.sheet}: {NUM_SHOWN} of the photographs with their captions")


def variants(name: str, captioner: wordgaze.Captioner, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The decoding settings of a captioner, and, if these name objects, the same without naming."""
    config = getattr(captioner, "generation_config", wordgaze.GenerationConfig())
    config = wordgaze.GenerationConfig(**(config.model_dump() | settings))
    if not getattr(config, "name_objects", False):
        return {name: config}
    return {name: config, f"{name}, without naming": config.model_copy(update={"name_objects": False})}


def load(data: Path, half: str) -> list[Photograph]:
    """The photographs of one half in the order of class_index."""

    def read(name: str) -> bytes:
        if data.is_dir():
            return (data / name).read_bytes()
        with ZipFile(data) as archive:
            return archive.read(name)

    labels = sorted(json.loads(read("labels.json")), key=lambda label: label["class_index"])
    chosen = labels if half == "all" else labels["ab".index(half) :: 2]
    return [photograph(label, read(f"images/{label['image']}")) for label in chosen]


def photograph(label: Mapping[str, Any], data: bytes) -> Photograph:
    """A photograph with the names of its class."""
    synsets = [label["lemmas"], *(names for names in label["hypernyms"] if names[0] not in GENERAL)]
    lemmas = [name for of_synset in synsets for name in of_synset if name not in AMBIGUOUS]
    names = frozenset(phrase for name in lemmas for phrase in forms(name))
    words, index = imagenet_words(), label["class_index"]
    accepted = names.union(*(words.accepted(word) for word in words.chains[index]))
    image = Image.open(BytesIO(data)).convert("RGB")
    return Photograph(image, label["label"], index, words.groups[index] or "other", names, accepted)


def forms(name: str) -> list[Phrase]:
    """The singular and the plural of a name as tokens, with and without hyphens."""
    spelled = {tuple(tokenize(text)) for text in (name.lower(), name.lower().replace("-", " "))} - {()}
    plural = imagenet_words().plural
    return [
        (*first, form)
        for *first, last in spelled
        for form in {last, singular(last), regular_plural(last), *plural((*first, last))[-1:]}
    ]


def judge(photographs: Sequence[Photograph], captions: Sequence[Phrase]) -> Result:
    """Whether each caption names its photograph, and whether it names another animal or vehicle."""
    words = imagenet_words()
    lists = [words.members(group) for group in ("animal", "vehicle")]
    groups = frozenset().union(*lists)
    phrases = groups | frozenset(map(tuple, map(str.split, ("hot dog", "hot dogs", "teddy bear", "teddy bears"))))
    wrong = []
    for each, caption in zip(photographs, captions, strict=True):
        said = mentions(caption, phrases | each.accepted)
        wrong.append(any(phrase in groups and phrase not in each.accepted for phrase in said))
    return Result(list(captions), [contains(c, p.names) for p, c in zip(photographs, captions, strict=True)], wrong)


def contains(caption: Phrase, names: Iterable[Phrase]) -> bool:
    """Whether a caption has one of the names as a sequence of words."""
    padded = f" {' '.join(caption)} "
    return any(f" {' '.join(name)} " in padded for name in names)


def mentions(caption: Phrase, phrases: frozenset[Phrase]) -> list[Phrase]:
    """The phrases in a caption, the longest first at every position: a "hot dog" is not a dog."""
    found, start, longest = [], 0, max(map(len, phrases))
    while start < len(caption):
        stop = next((i for i in range(start + longest, start, -1) if caption[start:i] in phrases), start)
        found += [caption[start:stop]] if stop > start else []
        start = max(stop, start + 1)
    return found


class KneserNey:
    """An interpolated trigram model with one discount for all orders (Chen and Goodman 1998, section 3)."""

    DISCOUNT = 0.75

    def __init__(self, sentences: Iterable[Sequence[str]]) -> None:
        sentences = list(sentences)
        counts = Counter(word for words in sentences for word in words)
        self.vocabulary = {word for word, count in counts.items() if count > 1}
        self.counts: list[Counter[Phrase]] = [Counter(), Counter(), Counter()]
        for words in sentences:
            tokens = self._tokens(words)
            self.counts[2].update(tokens[i - 2 : i + 1] for i in range(2, len(tokens)))
        for order in (1, 0):  # lower orders count the different words before
            self.counts[order].update(ngram[1:] for ngram in self.counts[order + 1])
        self.totals: list[Counter[Phrase]] = [Counter(), Counter(), Counter()]
        self.kinds: list[Counter[Phrase]] = [Counter(), Counter(), Counter()]
        for counts, total, kinds in zip(self.counts, self.totals, self.kinds, strict=True):
            for ngram, count in counts.items():
                total[ngram[:-1]] += count
                kinds[ngram[:-1]] += 1

    def _tokens(self, words: Sequence[str]) -> Phrase:
        return ("<s>", "<s>", *(word if word in self.vocabulary else "<unk>" for word in words), "</s>")

    def probability(self, ngram: Phrase) -> float:
        """The probability of the last word after the others."""
        if not ngram:
            return 1 / (len(self.vocabulary) + 2)
        order, context = len(ngram) - 1, ngram[:-1]
        lower = self.probability(ngram[1:])
        if not self.totals[order][context]:
            return lower
        seen = max(self.counts[order][ngram] - self.DISCOUNT, 0)
        return (seen + self.DISCOUNT * self.kinds[order][context] * lower) / self.totals[order][context]

    def perplexity(self, sentences: Iterable[Sequence[str]]) -> float:
        """Per word, ends included."""
        logs = []
        for words in sentences:
            tokens = self._tokens(words)
            logs += [math.log(self.probability(tokens[i - 2 : i + 1])) for i in range(2, len(tokens))]
        return math.exp(-sum(logs) / len(logs))


def lines(path: Path) -> list[str]:
    """The lines of a text, plain or compressed."""
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8").splitlines()


def report(photographs: Sequence[Photograph], results: Mapping[str, Result], model: KneserNey | None) -> None:
    """Prints a table of all photographs and one of each group."""
    table = Table("captioner", "named %", "by chance %", "wrong animal or vehicle %", "perplexity", "words")
    groups = Table("group", "photographs", *(f"{name}: {kind} %" for name in results for kind in ("named", "wrong")))
    rows: dict[str, list[int]] = defaultdict(list)
    for i, each in enumerate(photographs):
        rows[each.group].append(i)
    for name, result in results.items():
        others = [(p, c) for i, p in enumerate(photographs) for j, c in enumerate(result.captions) if i != j]
        chance = [contains(caption, photograph.names) for photograph, caption in others]
        perplexity = f"{model.perplexity(result.captions):.1f}" if model else ""
        length = sum(map(len, result.captions)) / len(result.captions)
        table.add_row(name, percent(result.named), percent(chance), percent(result.wrong), perplexity, f"{length:.1f}")
    for group, of_group in sorted(rows.items(), key=lambda item: -len(item[1])):
        shares = [percent([flags[i] for i in of_group]) for r in results.values() for flags in (r.named, r.wrong)]
        groups.add_row(group, str(len(of_group)), *shares)
    console = Console(width=160)
    console.print(table, groups)


def percent(flags: Sequence[bool]) -> str:
    """The share of True."""
    return f"{100 * sum(flags) / len(flags):.1f}"


def sheet(photographs: Sequence[Photograph], results: Mapping[str, Result]) -> Image.Image:
    """A picture of NUM_SHOWN photographs, every k-th, with the label of the class and the captions below each."""
    chosen = range(0, len(photographs), max(1, len(photographs) // NUM_SHOWN))[:NUM_SHOWN]
    height = TILE + 14 * (1 + 4 * len(results)) + 8
    page = Image.new("RGB", (COLUMNS * TILE, -(-len(chosen) // COLUMNS) * height), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for number, i in enumerate(chosen):
        left, top = number % COLUMNS * TILE, number // COLUMNS * height
        page.paste(ImageOps.pad(photographs[i].image, (TILE - 6, TILE - 6), color="white"), (left + 3, top + 3))
        text = [f"[{photographs[i].label}]"]
        for result in results.values():
            mark = "+" if result.named[i] else "-"
            text += textwrap.wrap(f"{mark} {' '.join(result.captions[i])}", 34)[:4]
        draw.text((left + 3, top + TILE), "\n".join(text), "black", font)
    return page


if __name__ == "__main__":
    main()
