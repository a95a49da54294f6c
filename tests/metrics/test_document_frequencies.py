"""The weights of n-grams in CIDEr: counted in references, written to a file and read back."""

import math
from collections import Counter
from pathlib import Path

import pytest

from tests.metrics.examples import CANDIDATES, REFERENCES
from wordgaze.core.errors import ScoreError, WordgazeError
from wordgaze.metrics.captions import score_captions
from wordgaze.metrics.cider import Cider, cider_score
from wordgaze.metrics.document_frequencies import (
    DocumentFrequencies,
    count_documents,
    document_frequencies,
    read_document_counts,
    write_document_counts,
)
from wordgaze.metrics.ngrams import ngrams


def test_ngrams_of_one_image_have_the_weight_of_those_of_none() -> None:
    documents = Counter(gram for of_image in REFERENCES for gram in set().union(*map(ngrams, of_image)))
    everything = {gram: math.log(len(REFERENCES)) - math.log(n) for gram, n in documents.items()}
    found = document_frequencies(REFERENCES)
    assert found.idf == {gram: everything[gram] for gram, n in documents.items() if n > 1} and found.idf
    plain = DocumentFrequencies(everything, math.log(len(REFERENCES)))
    assert Cider(REFERENCES, plain).per_image(CANDIDATES) == Cider(REFERENCES).per_image(CANDIDATES)


def test_a_file_of_the_same_references_gives_the_same_scores(tmp_path: Path) -> None:
    write_document_counts(tmp_path / "counts.json", count_documents(REFERENCES), "ptb")
    counts, tokenizer = read_document_counts(tmp_path / "counts.json")
    assert (counts, tokenizer) == (count_documents(REFERENCES), "ptb")
    with_file = score_captions(CANDIDATES, REFERENCES, frequencies=counts.frequencies())
    assert with_file == score_captions(CANDIDATES, REFERENCES)


def test_a_few_images_at_a_time_have_the_same_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordgaze.metrics.cider._CHUNK", 2)
    expected = Cider(REFERENCES).score(CANDIDATES)
    assert cider_score(CANDIDATES, REFERENCES, document_frequencies(REFERENCES)) == expected
    with pytest.raises(ScoreError, match="captions for"):
        cider_score(CANDIDATES[:1], REFERENCES, document_frequencies(REFERENCES))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "has no num_images, tokenizer and counts"),
        ('{"num_images": 2, "tokenizer": "ptb", "counts": {"a": 3}}', "'a' with 3 is not an n-gram .* at most 2"),
        ('{"num_images": 2, "tokenizer": "ptb", "counts": {"a  dog": 2}}', "'a  dog' with 2 is not"),
        ('{"num_images": 2, "tokenizer": "ptb", "counts": {"a b c d e": 2}}', "is not an n-gram of one to four words"),
        ('{"num_images": 2, "tokenizer": "ptb", "counts": {"a": true}}', "'a' with True"),
    ],
)
def test_a_broken_file_is_one_line_with_the_way_out(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "counts.json"
    path.write_text(content)
    with pytest.raises(WordgazeError, match=message) as caught:
        read_document_counts(path)
    assert str(path) in str(caught.value) and "wordgaze document-frequencies" in str(caught.value)
    assert "\n" not in str(caught.value)
