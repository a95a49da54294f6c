"""Advice on a data set: each a sentence that says what was found and what changes it, a parameter or an action."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from wordgaze.config.params import Params
from wordgaze.data.preparation import TokenizedCaption
from wordgaze.data.records import SPLITS
from wordgaze.inspection.captions import CaptionStatistics, vocabulary_option
from wordgaze.inspection.languages import UNCERTAIN, language_name
from wordgaze.inspection.results import Advice, DataInspection
from wordgaze.inspection.summary import counted_noun
from wordgaze.text.tokenizers import get_tokenizer
from wordgaze.text.tokenizers.advice import HINT, suggested_tokenizer
from wordgaze.text.tokenizers.unicode import DOTTED_LANGUAGES

CHARACTERS = "characters"
"""The tokenizer for scripts without blanks."""

MIN_KNOWN = 0.9
"""The share of the training tokens that a vocabulary should know."""

_MANY = 0.05  # of the captions or images: from this share on, something is worth a sentence
_MOST = 0.5
_SAMPLE = 1000  # captions by which the script is told


def advise(
    inspection: DataInspection, captions: Sequence[TokenizedCaption], params: Params, stops: Sequence[str] = ()
) -> DataInspection:
    """``inspection`` with advice; ``stops`` are the errors by which the import would stop. What stops comes first."""
    found = [*(Advice("stop", reason) for reason in stops), *_advice(inspection, captions, params)]
    order = ("stop", "warning", "note")
    return replace(inspection, advice=tuple(sorted(found, key=lambda each: order.index(each.level))))


def _advice(inspection: DataInspection, captions: Sequence[TokenizedCaption], params: Params) -> Iterator[Advice]:
    if not captions:
        return
    yield from _of_splits(inspection, params)
    if inspection.captions.is_unsegmented:
        yield _of_unsegmented(inspection, captions, params)
    else:
        yield from _of_vocabulary(inspection.captions, params)
        yield from _of_language(inspection, captions)
    yield from _of_captions(inspection)
    yield from _of_leaks(inspection)


def _of_splits(inspection: DataInspection, params: Params) -> Iterator[Advice]:
    images, total = inspection.splits.images, sum(inspection.splits.images.values())
    empty = [split for split in SPLITS if not images[split]]
    if not empty:
        return
    shown = ", ".join(f"{split} {count}" for split, count in images.items())
    if inspection.splits.given < total or total < len(SPLITS):
        way_out = "add images with captions: each of the three splits needs one"
    elif any(", split " in line for line in inspection.layout):  # the names of files or folders say it
        way_out = "set dataset.captions to the file of one split alone, which prepare splits, or add one of the other"
    elif inspection.dataset == "folder":
        way_out = f"give some images the split {' and '.join(empty)}, or remove the column of the splits"
    else:
        way_out = "use its original files"
    if any(share == 0 for share in (params.prepare.dev_share, params.prepare.test_share)):
        way_out = "raise prepare.dev_share and prepare.test_share above 0"
    yield Advice("stop", f"A split has no image ({shown}); {way_out}.")


def _of_unsegmented(inspection: DataInspection, captions: Sequence[TokenizedCaption], params: Params) -> Advice:
    """The tokenizer of characters, with a minimum count by which the vocabulary knows most of them."""
    tokenize = get_tokenizer(CHARACTERS).tokenize
    train = Counter(token for each in captions if each.split == "train" for token in tokenize(each.text))
    settings = params.prepare
    counts = [count for count in range(settings.min_count, 0, -1) if _known(train, count, settings.max_vocabulary)]
    lower = f" and prepare.min_count to {counts[0]}" if counts and counts[0] < settings.min_count else ""
    return Advice(
        "warning" if inspection.captions.vocabulary.words else "stop",
        f"Most captions are one long word to the tokenizer {inspection.tokenizer}: {HINT}; set prepare.tokenizer to "
        f"{CHARACTERS}{lower}.",
    )


def _known(train: Counter[str], min_count: int, max_vocabulary: int) -> bool:
    return 1 - vocabulary_option(train, {}, min_count, max_vocabulary).unknown_train >= MIN_KNOWN


def _of_vocabulary(captions: CaptionStatistics, params: Params) -> Iterator[Advice]:
    settings, used = params.prepare, captions.vocabulary
    if not captions.what_if:
        return
    better = [option for option in captions.what_if if option.min_count < used.min_count]
    enough = [option for option in better if 1 - option.unknown_train >= MIN_KNOWN]
    if not used.words and settings.min_count > 1:
        best = (enough or better[:1])[-1]
        yield Advice(
            "stop",
            f"No word occurs prepare.min_count = {settings.min_count} times in the training captions; set "
            f"prepare.min_count to {best.min_count}, which keeps {best.words} words.",
        )
    elif 1 - used.unknown_train < MIN_KNOWN:
        lost = f"{used.unknown_train:.0%} of the words in the training captions become <unk>"
        if enough:
            best = enough[-1]
            yield Advice(
                "warning",
                f"{lost}; set prepare.min_count to {best.min_count}, which keeps {best.words} words instead of "
                f"{used.words}.",
            )
        elif settings.max_vocabulary:
            yield Advice(
                "warning", f"{lost}; raise prepare.max_vocabulary above {settings.max_vocabulary}, or set it to 0."
            )


def _of_language(inspection: DataInspection, captions: Sequence[TokenizedCaption]) -> Iterator[Advice]:
    known = [each for each in inspection.languages if each.code != UNCERTAIN]
    if inspection.tokenizer == "ptb" and known and known[0].code != "en" and known[0].share >= _MOST:
        suggested = suggested_tokenizer([each.text for each in captions[:_SAMPLE]])
        if suggested != CHARACTERS:  # otherwise blanks were put between the words, which ptb keeps
            code = known[0].code
            better = f"unicode-{code}" if code in DOTTED_LANGUAGES else "unicode"
            yield Advice(
                "warning",
                f"{known[0].share:.0%} of the captions are in {language_name(code)}, and the tokenizer ptb is for "
                f"English; set prepare.tokenizer to {better}.",
            )
    mixed = [each for each in known if each.share >= _MANY]
    if len(mixed) > 1:
        shares = ", ".join(f"{language_name(each.code)} {each.share:.0%}" for each in mixed)
        yield Advice(
            "note",
            f"The captions are in several languages ({shares}), which a captioner mixes; for one language, leave out "
            "the captions in the others.",
        )


def _of_captions(inspection: DataInspection) -> Iterator[Advice]:
    captions = inspection.captions
    longest = max(captions.lengths)
    if captions.truncated / captions.num_captions >= _MANY:
        enough = next(length for length in captions.lengths if _share_up_to(captions, length) >= 1 - _MANY)
        yield Advice(
            "warning",
            f"{counted_noun(captions.truncated, 'training caption')} with more than prepare.max_words = "
            f"{inspection.max_words} words; set prepare.max_words to {min(max(enough, inspection.max_words + 1), 200)}"
            f"{' and generation.max_new_tokens likewise' if longest > inspection.max_words else ''}.",
        )
    if captions.markers:
        shown = ", ".join(f"{mark} {count} times" for mark, count in list(captions.markers.items())[:3])
        yield Advice("warning", f"Captions contain markers ({shown}), which are learnt as words; remove them.")
    if captions.wrongly_decoded:
        yield Advice(
            "warning",
            f"{counted_noun(captions.wrongly_decoded, 'caption')} with characters of a wrong encoding, such as Ã© for "
            "é; export the file again as UTF-8.",
        )
    pictures = inspection.audit.kept
    if captions.repeated and captions.repeated[0].num_images >= max(5, _MANY * pictures):
        first = captions.repeated[0]
        yield Advice(
            "note",
            f"{first.num_images} of {pictures} images have the caption “{first.text}”; a captioner learns to say it of "
            "any image. Remove it where it does not describe the image.",
        )


def _share_up_to(captions: CaptionStatistics, length: int) -> float:
    return sum(count for each, count in captions.lengths.items() if each <= length) / captions.num_captions


def _of_leaks(inspection: DataInspection) -> Iterator[Advice]:
    own = inspection.dataset == "folder"
    if pairs := inspection.leaks.pictures:
        way_out = "give both the same split in a column split, or remove one" if own else "scores are a little too high"
        yield Advice(
            "warning" if own else "note",
            f"{counted_noun(len(pairs), 'pair')} of images in different splits are equal or look the same, such as "
            f"{pairs[0][0]} and {pairs[0][1]}; {way_out}.",
        )
    elif inspection.duplicates.equal and own:
        count = sum(len(names) - 1 for names in inspection.duplicates.equal)
        yield Advice("note", f"Copies of other images: {count}; keep one of each, with the captions of all.")
    test = inspection.leaks.captions["test"]
    if test.num_captions and test.shared / test.num_captions >= _MOST:
        yield Advice(
            "note",
            f"{test.shared} of {test.num_captions} captions of test are captions of train too, so that scores tell "
            "little about new images; add captions that say what is different in each image.",
        )
