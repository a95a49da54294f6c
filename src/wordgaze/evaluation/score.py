"""Scores captions of any system against references: from Python and from files."""

import logging
import reprlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from wordgaze.core.errors import CaptionsError, ScoreError
from wordgaze.core.files import check_output, write_text
from wordgaze.data.picture_matching import PictureIndex
from wordgaze.data.readers.captions import ById, ColumnNames, read_captions, read_references
from wordgaze.evaluation.baselines import reference_baselines
from wordgaze.evaluation.comparison import CIDER_DOCUMENT_FREQUENCIES, Comparison, diversity
from wordgaze.evaluation.document_frequencies import read_frequencies
from wordgaze.evaluation.id_matching import MatchedIds, matched, of_split, without_other_splits
from wordgaze.evaluation.results import (
    Baselines,
    EvaluationDetails,
    ScoredFiles,
    ScoreReport,
    Scores,
    ScoreSummary,
)
from wordgaze.evaluation.spice import SpiceProgram
from wordgaze.evaluation.tokenization import AUTO, scoring_tokenizer, tokenized
from wordgaze.metrics.meteor import toolkit_meteor
from wordgaze.text.tokenizers import Tokenizer
from wordgaze.vision.formats import EXTENSIONS

if TYPE_CHECKING:
    from PIL import Image

NUM_RESAMPLES = 1000
NUM_EXAMPLES = 10
_THUMBNAIL = 400  # pixels, the long side of an image on the page

Captions = Sequence[str] | Mapping[str, str]
References = Sequence[Sequence[str]] | Mapping[str, Sequence[str]]
V = TypeVar("V")
_log = logging.getLogger(__name__)


def score(
    captions: Captions,
    references: References,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    tokenizer: str = AUTO,
    partial: bool = False,
    document_frequencies: str | PathLike[str] | None = None,
) -> ScoreReport:
    """Scores captions as the COCO caption evaluation does.

    Captions and references are tokenized alike, in lower case and without punctuation; CIDEr takes its document
    frequencies from ``references``, unless a file of them is given.

    Args:
        captions: one caption per image: a sequence of N strings, or a mapping from image id to string.
        references: the references of each image: a sequence of N lists of strings in the order of ``captions``, or a
            mapping from the same image ids to lists of strings. Ids match as the names of pictures do: a path, a
            stem or a number with leading zeros matches a file name, if it matches no other.
        num_resamples: bootstrap resamples of the images for the 95 % confidence intervals; 0 computes no intervals.
        seed: random seed of the resamples.
        tokenizer: ``ptb`` (Penn Treebank, as in the COCO evaluation), ``unicode`` (words of any language),
            ``unicode-tr`` and ``unicode-az`` (Turkish and Azerbaijani), or ``characters`` (characters of scripts
            without blanks between words, words of others). ``auto`` takes, by the letters of the references,
            ``characters`` where a tenth of them are in scripts without blanks, else ``ptb`` for Latin letters,
            ``unicode-tr`` for those with ı and İ, and ``unicode`` for other scripts.
        partial: scores the images that have a caption, where references without one would otherwise be an error.
        document_frequencies: a file of ``wordgaze document-frequencies``, by which the CIDEr of a few images compares
            with that of a whole data set. From the references alone, the CIDEr of one image is 0.

    Returns:
        A report with the attributes ``bleu_1`` … ``bleu_4`` (Papineni et al. 2002), ``rouge_l`` (Lin 2004) and
        ``meteor`` (Denkowski and Lavie 2014, with exact and stem matches; None where nltk is not installed, and with
        another tokenizer than ``ptb``, because it is defined for English) in 0…1, ``cider`` (CIDEr-D of Vedantam et al.
        2015) in 0…10, ``num_images`` and ``intervals`` (percentiles, Efron 1979). ``str(report)`` is a table.

    Raises:
        ScoreError: the tokenizer is unknown, the numbers of captions and references differ, one is a mapping and the
            other is not, an image has no reference, a value is not a string, or the document frequencies are of another
            tokenizer.
        CaptionsError: the ids of two mappings differ.

    Example:
        >>> report = wordgaze.score(["a dog runs"], [["a dog is running", "the dog runs"]])
        >>> f"{report.bleu_1:.3f}"
        '1.000'
    """
    texts, raw = _aligned(captions, references, partial)
    chosen = scoring_tokenizer(tokenizer, raw)
    tokens, truths = tokenized(texts, chosen), [tokenized(of_image, chosen) for of_image in raw]
    frequencies = read_frequencies(document_frequencies, chosen)
    comparison = Comparison({"captions": tokens}, truths, num_resamples, seed, chosen.is_english, frequencies)
    return ScoreReport(
        **comparison.scores()["captions"].model_dump(),
        num_images=len(texts),
        tokenizer=chosen.name,
        intervals=comparison.intervals()["captions"] if num_resamples else None,
    )


@dataclass(frozen=True)
class ScoreSelection:
    """What is read of the files and scored.

    ``column`` and ``reference_column`` name the columns of the captions and of the references, and ``image_column``
    that of the images in both files; "" leaves the choice to the reader. ``split`` takes the references of one split,
    and the captions of these images. With ``partial``, references without a caption are left out.
    """

    column: str = ""
    reference_column: str = ""
    image_column: str = ""
    split: str = ""
    partial: bool = False

    @property
    def caption_columns(self) -> ColumnNames:
        """The columns of a file of captions."""
        return ColumnNames(self.image_column, self.column, "--image-column", "--column")

    @property
    def reference_columns(self) -> ColumnNames:
        """The columns of a file of references."""
        return ColumnNames(self.image_column, self.reference_column, "--image-column", "--reference-column")


def score_files(
    captions: Path,
    references: Path,
    against: Path | None = None,
    selection: ScoreSelection | None = None,
    output: Path | None = None,
    pictures: Path | None = None,
    num_examples: int = NUM_EXAMPLES,
    tokenizer: str = AUTO,
    document_frequencies: Path | None = None,
    spice: bool = False,
) -> ScoredFiles:
    """Scores a file of captions, and with ``against`` another system's captions of the same images.

    The report is written to ``output`` if given: an HTML page, or JSON where the name ends in ``.json``. The page
    shows the ``num_examples`` best and worst captions, or all if there are no more, with the images of the folder
    ``pictures`` if given. ``document_frequencies`` is a file of those of CIDEr. ``spice`` adds SPICE. Raises
    CaptionsError where ``output`` has another ending, a file cannot be read, the ids do not match, an image is not in
    the folder, or ``pictures`` is given without a page, and ScoreError where SPICE cannot be computed.
    """
    if output is not None and output.suffix not in (".html", ".json"):
        raise CaptionsError(f"{output} is not a valid report name; end it with .html or .json")
    if output is not None:
        check_output(output, "--output")
    if pictures is not None and (output is None or output.suffix == ".json"):
        raise CaptionsError(f"{pictures} is for a page, and none is written; give --output a name such as report.html")
    selection = selection or ScoreSelection()
    system = captions.stem
    files = {system: captions} | ({_other_name(captions, against): against} if against else {})
    truths, aligned = _matched_files(files, references, selection)
    first = aligned[system]
    chosen = scoring_tokenizer(tokenizer, first.references)
    program = _spice_program(chosen) if spice else None
    systems = {name: tokenized(_in_order(found, first.ids), chosen) for name, found in aligned.items()}
    tokens = [tokenized(of_image, chosen) for of_image in first.references]
    frequencies = read_frequencies(document_frequencies, chosen)
    comparison = Comparison(systems, tokens, NUM_RESAMPLES, is_english=chosen.is_english, frequencies=frequencies)
    scores = scores_with_toolkit(comparison, chosen)
    if program:
        scores = _with_spice(scores, comparison, program)
    counted = CIDER_DOCUMENT_FREQUENCIES if document_frequencies is None else f"file {document_frequencies.name}"
    human = reference_baselines(comparison.systems[system], tokens, chosen.is_english, frequencies)
    scored = ScoredFiles(
        summary=ScoreSummary(
            dataset=references.name,
            num_images=len(tokens),
            tokenizer=chosen.name,
            cider_document_frequencies=counted,
            system=system,
            scores=scores,
            baselines=Baselines.model_validate(human),
        ),
        details=_details(comparison, system),
        num_left_out=first.left_out,
    )
    if output is not None and output.suffix == ".json":
        scored.save(output)
    elif output is not None:
        from wordgaze.evaluation.report.page import CaptionExample, render_page

        cider = comparison.per_image(system)["cider"].tolist()
        thumbnail = _Thumbnails(pictures, truths)
        examples = [
            CaptionExample(
                first.ids[i], first.captions[i], tuple(first.references[i]), cider[i], thumbnail(first.ids[i]), kind
            )
            for kind, i in _chosen(cider, num_examples)
        ]
        title = f"{captions.name} against {references.name}"
        write_text(output, render_page(scored.summary, scored.details, examples, title))
    return scored


def _matched_files(
    files: Mapping[str, Path], references: Path, selection: ScoreSelection
) -> tuple[ById[list[str]], dict[str, MatchedIds]]:
    """The references, and the captions of each system matched with them."""
    truths = all_truths = read_references(references, columns=selection.reference_columns)
    if selection.split:
        truths = of_split(all_truths, selection.split, str(references))
    way_out = "score the images that have one with --partial"
    aligned = {}
    for name, path in files.items():
        captions = read_captions(path, selection.caption_columns)
        if selection.split:
            captions = without_other_splits(captions, truths, all_truths)
        aligned[name] = matched(captions, truths, selection.partial, way_out)
    ids = {name: set(found.ids) for name, found in aligned.items()}
    if any(of_system != ids[next(iter(ids))] for of_system in ids.values()):
        raise CaptionsError(
            f"{' and '.join(map(str, files.values()))} have captions of different images; score each alone"
        )
    return truths, aligned


def _in_order(found: MatchedIds, ids: Sequence[str]) -> list[str]:
    by_id = dict(zip(found.ids, found.captions, strict=True))
    return [by_id[key] for key in ids]


def _aligned(captions: Captions, references: References, partial: bool) -> tuple[list[str], list[list[str]]]:
    """Captions and references in the order of the captions. Raises as :func:`score`."""
    have_ids = _have_ids(captions), _have_ids(references)
    if any(have_ids) and not all(have_ids) and any(isinstance(each, Mapping) for each in (captions, references)):
        raise ScoreError("captions and references are a mapping and a sequence; give two mappings or two sequences")
    by_ids = all(have_ids)
    texts, given = _by_id("captions", captions, by_ids), _by_id("references", references, by_ids)
    if not by_ids and len(texts) != len(given):
        raise ScoreError(f"{len(texts)} captions for the references of {len(given)} images; give one caption per image")
    raw = _checked_texts(texts, given)
    found = matched(texts, raw, partial, "score the images that have one with partial=True")
    return found.captions, found.references


def _have_ids(values: object) -> bool:
    """Whether values have ids, those of a mapping or the index of a pandas Series."""
    return callable(getattr(values, "items", None))


def _by_id(name: str, values: Mapping[str, V] | Iterable[V], by_ids: bool) -> dict[str, V]:
    """Values by id as text; those of a sequence by their position."""
    if isinstance(values, str | bytes):
        raise ScoreError(f"{name} is a single text; give a sequence with one entry per image")
    if not isinstance(values, Iterable):
        raise ScoreError(f"{name} is {reprlib.repr(values)}; give a sequence with one entry per image")
    items = list(values.items() if by_ids else enumerate(values))  # type: ignore[union-attr]
    by_id = {str(key): value for key, value in items}
    if len(by_id) != len(items):
        raise CaptionsError(f"{name}: two ids are equal as text, such as 1 and '1'; give each image one id")
    return by_id


def _checked_texts(captions: Mapping[str, object], references: Mapping[str, object]) -> dict[str, list[str]]:
    """The references as lists. Raises ScoreError for what is not text."""
    for key, caption in captions.items():
        if not isinstance(caption, str):
            raise ScoreError(f"the caption of image {key} is {reprlib.repr(caption)}; give a string")
    checked = {}
    for key, texts in references.items():
        if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
            raise ScoreError(f"the references of image {key} are {reprlib.repr(texts)}; give a list of strings")
        checked[key] = list(texts)
        for text in checked[key]:
            if not isinstance(text, str):
                raise ScoreError(f"a reference of image {key} is {reprlib.repr(text)}; give a string")
    return checked


def _other_name(captions: Path, against: Path) -> str:
    return against.stem if against.stem != captions.stem else str(against)


def scores_with_toolkit(comparison: Comparison, tokenizer: Tokenizer) -> dict[str, Scores]:
    """The scores with the METEOR of the COCO toolkit, where its tables are installed and the captions are English."""
    meteor = toolkit_meteor(comparison.systems, comparison.references) if tokenizer.is_english else {}
    return {
        name: scores.model_copy(update={"meteor_toolkit": meteor.get(name)})
        for name, scores in comparison.scores().items()
    }


def _spice_program(tokenizer: Tokenizer) -> SpiceProgram:
    """The program, before anything is scored. Raises ScoreError where SPICE cannot be computed."""
    if not tokenizer.is_english:
        raise ScoreError(f"SPICE is for English, and the tokenizer is {tokenizer.name}; leave out --spice")
    return SpiceProgram.find()


def _with_spice(scores: Mapping[str, Scores], comparison: Comparison, program: SpiceProgram) -> dict[str, Scores]:
    spice = program.scores(comparison.systems, comparison.references)
    return {name: of_one.model_copy(update={"spice_toolkit": spice[name]}) for name, of_one in scores.items()}


def _details(comparison: Comparison, system: str) -> EvaluationDetails:
    systems = list(comparison.systems)
    return EvaluationDetails(
        intervals=comparison.intervals(),
        comparisons=comparison.differences(systems[-1], systems),
        by_length=comparison.by_length(system),
        diversity={
            name: diversity([[words] for words in captions], []) for name, captions in comparison.systems.items()
        },
    )


def _chosen(cider: Sequence[float], most: int) -> list[tuple[str, int]]:
    """The examples of the page as (kind, index)."""
    order = sorted(range(len(cider)), key=lambda i: -cider[i])
    if len(order) <= 2 * most:
        return [("all, the best first", i) for i in order]
    return [("best", i) for i in order[:most]] + [("worst", i) for i in order[::-1][:most]]


class _Thumbnails:
    """Small images of a folder by the ids of the references."""

    def __init__(self, folder: Path | None, truths: ById[list[str]]) -> None:
        self._folder, self._names = folder, defaultdict[str, list[str]](list)
        if folder is None:
            return
        for name, key in truths.names.items():
            self._names[key].append(name)
        self._index = PictureIndex(
            PurePosixPath(path.relative_to(folder).as_posix())
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in EXTENSIONS
        )

    def __call__(self, key: str) -> "Image.Image | None":
        """The image with this id, by the id or by another name that the references give it; None without a folder."""
        if self._folder is None:
            return None
        from wordgaze.vision.decoding_process import decode_safely

        names = [key, *self._names[key]]
        path = next((found for name in names if (found := self._index.find(name)) is not None), None)
        if path is None:
            nearest = self._index.nearest(names[-1])
            there = f", but {nearest}" if nearest else ""
            raise CaptionsError(
                f"{self._folder} has no picture {names[-1]}{there}; give --pictures the folder that holds the pictures"
            )
        picture = decode_safely(self._folder / path)
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
        return picture
