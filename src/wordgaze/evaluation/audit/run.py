"""``wordgaze audit``: reads captions, references and training captions, and says why scores are what they are."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wordgaze.core.errors import CaptionsError
from wordgaze.core.files import check_output
from wordgaze.data.readers.captions.cleaning import without_markers
from wordgaze.evaluation.audit.checks import check_matching, check_references, check_variety
from wordgaze.evaluation.audit.corpus import AuditedFiles, read_audited, read_training
from wordgaze.evaluation.audit.leaks import Leaks, check_leaks, check_verbatim, find_leaks
from wordgaze.evaluation.audit.protocols import protocols, score_protocols
from wordgaze.evaluation.audit.results import AuditFinding, CaptionAudit
from wordgaze.evaluation.audit.texts import CaptionText, check_texts, texts_by_image
from wordgaze.evaluation.score import ScoreSelection
from wordgaze.evaluation.tokenization import AUTO, scoring_tokenizer
from wordgaze.text.tokenizers import Tokenizer


def audit_captions(
    captions: Path,
    references: Path,
    training: Path | None = None,
    selection: ScoreSelection | None = None,
    output: Path | None = None,
    tokenizer: str = AUTO,
) -> CaptionAudit:
    """Audits a file of captions against references, and looks for leaks where ``training`` names training captions.

    Of a training file with splits, those of train are taken. The result is written to ``output``, a .json file, if
    given; ``tokenizer`` is as in :func:`wordgaze.score`. Raises CaptionsError where a file cannot be read or ``output``
    has another ending, and ScoreError for an unknown tokenizer.
    """
    if output is not None:
        if output.suffix != ".json":
            raise CaptionsError(f"{output} is not a valid name of an audit; end it with .json")
        check_output(output, "--output")
    selection = selection or ScoreSelection()
    files = read_audited(captions, references, selection)
    chosen = scoring_tokenizer(tokenizer, [list(map(without_markers, each)) for each in files.references.values()])
    truths, captioned = texts_by_image(files.references, chosen), texts_by_image(files.captioned, chosen)
    leaks = None
    if training is not None:
        known = read_training(training, selection)
        leaks = find_leaks(list(files.captioned), files.references, truths, known, chosen)
    leaked = leaks.images if leaks else ()
    audit = CaptionAudit(
        captions=captions.name,
        references=references.name,
        training=None if training is None else training.name,
        num_captions=files.num_captions,
        num_images=len(files.references),
        tokenizer=chosen.name,
        references_per_image=dict(sorted(Counter(map(len, files.references.values())).items())),
        findings=tuple(_findings(files, captioned, truths, leaks, chosen)),
        scores=score_protocols(list(protocols(captioned, truths, leaked)), chosen),
    )
    if output is not None:
        audit.save(output)
    return audit


def _findings(
    files: AuditedFiles,
    captioned: Mapping[str, Sequence[CaptionText]],
    references: Mapping[str, Sequence[CaptionText]],
    leaks: Leaks | None,
    tokenizer: Tokenizer,
) -> Iterator[AuditFinding]:
    texts = [text for of_image in texts_by_image(files.captions, tokenizer).values() for text in of_image]
    yield from check_matching(files)
    if leaks is not None:
        yield from check_leaks(leaks, texts, {key: references[key] for key in captioned})
    yield check_verbatim(captioned, references)
    yield from check_texts(texts, [text for of_image in references.values() for text in of_image], tokenizer)
    yield from check_references(references)
    yield from check_variety(texts)
