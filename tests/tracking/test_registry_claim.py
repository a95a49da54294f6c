"""Several processes change one registered model, and each sees what the one before it has written."""

import threading
from pathlib import Path

import pytest

from wordgaze.tracking import registry_claim
from wordgaze.tracking.registered_model import CaptionerModel
from wordgaze.tracking.registry_claim import CLAIM_PREFIX, claimed
from wordgaze.tracking.store import open_store


def test_no_change_is_lost(project: Path) -> None:
    """Reading a number and writing the next one loses some where two do so at the same time."""
    model = CaptionerModel(open_store(), "contended")
    model.create()
    model.create()  # as a second process would
    errors: list[BaseException] = []

    def count() -> None:
        try:
            for _ in range(2):
                with claimed(model, lambda _: None):
                    model.set_tag("count", str(int(model.tags().get("count", 0)) + 1))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert model.tags() == {"count": "6"}


def test_a_claim_that_cannot_be_read_is_taken_for_a_stale_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = CaptionerModel(open_store(), "contended")
    model.create()
    for number, broken in enumerate(("", "{", "[1]", '{"process": "one"}')):
        model.set_tag(f"{CLAIM_PREFIX}{number}", broken)
    monkeypatch.setattr(registry_claim, "STALE", 0.1)
    with claimed(model, lambda _: pytest.fail("nothing was meant")):
        pass
    assert model.tags() == {}
