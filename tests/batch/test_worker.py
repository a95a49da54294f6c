"""What a worker does, without an engine."""

from pathlib import Path

import pytest

from wordgaze.batch import worker
from wordgaze.batch.worker import (
    captioner_checksum,
    captioner_files,
    engine_error,
    worker_captioner,
)
from wordgaze.core.errors import DistributedError, ModelError, ParamsError

TRACEBACK = """ray.exceptions.RayTaskError(UserCodeException): ray::MapWorker()
  File "x.py", line 1, in generate
wordgaze.core.errors.ParamsError: force_words: 'x' is not in the vocabulary; use another

The above exception was the direct cause of the following exception:
To change retry attempts, configure Ray."""


def test_a_worker_loads_the_captioner_once_from_the_files_that_travel(
    captioner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_loaded", {})
    sent = iter([captioner_files(captioner)])
    checksum = captioner_checksum(captioner)
    first = worker_captioner(checksum, lambda: next(sent))
    assert worker_captioner(checksum, lambda: next(sent)) is first
    assert first.vocabulary.words[-1] == "outside"


def test_the_error_of_a_worker_is_raised_as_its_own() -> None:
    error = engine_error(Exception(TRACEBACK), "Ray")
    assert isinstance(error, ParamsError)
    assert str(error) == "force_words: 'x' is not in the vocabulary; use another"


@pytest.mark.parametrize(("engine", "reason"), [("Ray", "the last"), ("Spark", "the first")])
def test_an_engine_that_gives_up_says_why(engine: str, reason: str) -> None:
    error = engine_error(RuntimeError("the first\n\nthe last\n"), engine)
    assert isinstance(error, DistributedError)
    assert str(error) == f"{engine} gave up ({reason}); run the same command to continue"


def test_an_exported_captioner_is_refused(tmp_path: Path) -> None:
    for name in ("config.json", "decoder_step.onnx"):
        (tmp_path / name).touch()
    with pytest.raises(ModelError, match="is an exported captioner; give --model the captioner folder"):
        captioner_checksum(tmp_path)
