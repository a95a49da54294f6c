"""Document frequencies of CIDEr in a file: written from the references of a data set, read to score other captions."""

from os import PathLike
from pathlib import Path

from wordgaze.core.errors import ScoreError
from wordgaze.core.files import check_output
from wordgaze.core.lazy_sequence import LazySequence
from wordgaze.data.readers.captions import ColumnNames, read_references
from wordgaze.evaluation.id_matching import of_split
from wordgaze.evaluation.tokenization import AUTO, scoring_tokenizer, tokenized
from wordgaze.metrics.document_frequencies import (
    DocumentCounts,
    DocumentFrequencies,
    count_documents,
    read_document_counts,
    write_document_counts,
)
from wordgaze.text.tokenizers import Tokenizer


def count_in_file(
    references: Path, output: Path, columns: ColumnNames, split: str = "", tokenizer: str = AUTO
) -> DocumentCounts:
    """Writes the document frequencies of the n-grams of a file of references to ``output`` as JSON, and returns them.

    ``split`` takes the references of one split. Raises CaptionsError if the file cannot be read, and ScoreError for an
    unknown tokenizer.
    """
    check_output(output, "--output")
    truths = read_references(references, columns=columns)
    if split:
        truths = of_split(truths, split, str(references))
    raw = list(truths.values())
    chosen = scoring_tokenizer(tokenizer, raw)
    counts = count_documents(LazySequence(len(raw), lambda number: tokenized(raw[number], chosen)))
    write_document_counts(output, counts, chosen.name)
    return counts


def read_frequencies(path: str | PathLike[str] | None, tokenizer: Tokenizer) -> DocumentFrequencies | None:
    """The document frequencies in a file; None without a file. Raises ScoreError if they are of another tokenizer."""
    if path is None:
        return None
    counts, name = read_document_counts(Path(path))
    if name != tokenizer.name:
        raise ScoreError(
            f"{path} was counted with the tokenizer {name}, and the captions are scored with {tokenizer.name}; write"
            f" it again with --tokenizer {tokenizer.name}"
        )
    return counts.frequencies()
