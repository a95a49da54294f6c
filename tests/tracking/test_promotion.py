"""From the first champion to a rollback, on a SQLite store and on a server, with captioners that really caption."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tracking.conftest import ColourCaptioners
from wordgaze.core.errors import DataError, ParamsError, TrackingError
from wordgaze.generation.config import GenerationConfig
from wordgaze.tracking import gate_captions, gate_overlap, promotion, registry_claim
from wordgaze.tracking.decisions import Decision, history
from wordgaze.tracking.names import model_name
from wordgaze.tracking.package import log_captioner
from wordgaze.tracking.promotion import promote, roll_back
from wordgaze.tracking.registered_model import CaptionerModel
from wordgaze.tracking.registry import register
from wordgaze.tracking.registry_claim import CLAIM_PREFIX, machine
from wordgaze.tracking.runs import stage_run
from wordgaze.tracking.store import open_store
from wordgaze.tracking.versions import registered_versions
from wordgaze.training.training_images import image_checksums

Enter = Callable[[str], int]


@pytest.fixture(params=["sqlite", "server"])
def enter(
    request: pytest.FixtureRequest, project: Path, colours: ColourCaptioners, monkeypatch: pytest.MonkeyPatch
) -> Enter:
    """``enter(name)`` registers a captioner, as evaluated, and gives its version; on each kind of store."""
    if request.param == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("shared_server"))
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", f"story of {project.name}")
    return entering(project, colours)


@pytest.fixture
def enter_locally(project: Path, colours: ColourCaptioners) -> Enter:
    return entering(project, colours)


def entering(project: Path, colours: ColourCaptioners) -> Enter:
    gate = f"{{data: '{colours.pictures}', tolerances: {{latency: 9.0}}}}"  # the machine is busy with other tests
    (project / "params.yaml").write_text(f"tracking:\n  model_name: story of {project.name}\n  gate: {gate}\n")
    evaluated = set()

    def enter(name: str) -> int:
        folder = project / "models/stage2"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(colours[name], folder)
        if name not in evaluated:
            evaluated.add(name)
            with stage_run("evaluate", {}) as run:
                run.tag("dataset", "colours")
                log_captioner(run, folder, colours.pictures / "0.png", {}, GenerationConfig(strategy="greedy"))
        return register()

    return enter


def registered() -> CaptionerModel:
    return CaptionerModel(open_store(), model_name())


def aliases() -> dict[str, int]:
    return registered().aliases()


def test_the_story_of_a_champion(enter: Enter, colours: ColourCaptioners) -> None:
    assert enter("fair") == 1
    first = promote()
    assert (first.outcome, first.version, first.champion) == ("promoted", 1, None)
    assert aliases() == {"champion": 1}

    assert enter("poor") == 2
    worse = promote()
    assert (worse.outcome, worse.version, worse.champion) == ("refused", 2, 1)
    assert "it is not better at a confidence of 0.95: CIDEr" in worse.why
    cider = next(row for row in worse.table if row.name == "cider")
    assert cider.passed is False
    assert cider.change is not None
    assert cider.change < 0
    assert aliases() == {"champion": 1, "challenger": 2}

    easier = promote(data=str(colours.easier))
    assert (easier.outcome, easier.table) == ("refused", ())
    assert "was promoted on pictures, 32 images" in easier.why
    assert promote(data=str(colours.easier), new_data=True).outcome == "refused"  # both know red equally well

    assert enter("good") == 3
    better = promote()
    assert (better.outcome, better.version, better.champion) == ("promoted", 3, 1)
    assert aliases() == {"champion": 3}

    back = roll_back("it names blue too often")
    assert (back.outcome, back.version, back.champion, back.why) == ("rolled back", 1, 3, "it names blue too often")
    assert aliases() == {"champion": 1}
    with pytest.raises(TrackingError, match="the registry knows of no champion before version 1"):
        roll_back()

    assert enter("good") == 3
    outcomes = sorted(two_at_once(), key=lambda one: one.outcome)
    assert [one.outcome for one in outcomes] == ["promoted", "refused"]
    assert (
        f"the champion has changed from version 1 to version 3 while version 3 was compared, by {outcomes[0].who}"
        in (outcomes[1].why)
    )
    assert aliases() == {"champion": 3}
    assert [key for key in registered().tags() if key.startswith(CLAIM_PREFIX)] == []
    told = [(one.version, one.outcome) for one in history(registered().versions())]
    assert told[:-2] == [(1, "promoted"), *[(2, "refused")] * 3, (3, "promoted"), (1, "rolled back")]
    assert sorted(told[-2:]) == [(3, "promoted"), (3, "refused")]


def two_at_once() -> list[Decision]:
    """Two promotions of the same challenger, neither of which records anything before both have compared."""
    barrier, decisions, gate = threading.Barrier(2, timeout=60), [], promotion.pass_gate

    def compare(*arguments: object) -> object:
        result = gate(*arguments)  # type: ignore[arg-type]
        barrier.wait()
        return result

    threads = [threading.Thread(target=lambda: decisions.append(promote())) for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promotion, "pass_gate", compare)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return decisions


def test_a_decision_says_who_when_why_and_on_what(enter_locally: Enter) -> None:
    enter_locally("fair")
    decision = promote(metric="bleu_4", confidence=0.9)
    tags = registered().version(1).tags
    assert tags["gate.outcome"] == "promoted"
    assert "@" in tags["gate.who"]
    assert tags["gate.when"] == decision.when
    assert "BLEU-4" in tags["gate.why"]
    assert decision.data is not None
    assert decision.data.checksum in tags["gate.data"]
    assert '"metric": "bleu_4"' in tags["gate.params"]
    assert '"commit"' in tags["gate.code"]
    assert '"cider"' in tags["gate.table"]
    assert str(Path.cwd()) not in "".join(tags.values())
    [version] = registered_versions()
    assert (version.version, version.aliases, version.trained_on) == (1, ("champion",), "colours")
    assert version.decision is not None
    assert version.decision.model_dump_json() == decision.model_dump_json()
    assert version.gate["cider"].low is not None
    assert version.age < 600


def test_force_needs_a_reason_and_is_recorded(enter_locally: Enter) -> None:
    enter_locally("fair")
    promote()
    enter_locally("poor")
    with pytest.raises(ParamsError, match="--force needs --reason TEXT"):
        promote(force=True, reason="  ")
    forced = promote(force=True, reason="the old one is leaking")
    assert (forced.outcome, forced.champion, forced.why) == ("forced", 1, "the old one is leaking")
    assert any(row.passed is False for row in forced.table)
    assert aliases() == {"champion": 2}
    assert roll_back().version == 1


def test_captions_are_decoded_once_for_the_same_weights_data_and_settings(
    enter_locally: Enter, colours: ColourCaptioners, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_locally("fair")
    promote()
    enter_locally("poor")
    first = promote()
    decode = gate_captions.caption_ahead
    monkeypatch.setattr(gate_captions, "caption_ahead", None)
    again = promote()
    assert [(row.name, row.change) for row in again.table if row.name != "latency"] == [
        (row.name, row.change) for row in first.table if row.name != "latency"
    ]
    decoded = []
    monkeypatch.setattr(gate_captions, "caption_ahead", lambda *a: decoded.append(1) or decode(*a))
    for kept in Path(".scratch/gate").glob("*.json"):
        kept.write_text("[]")  # a file that does not fit is decoded again
    assert promote().outcome == "refused"
    assert len(decoded) == 2


def test_what_is_already_champion_stays_and_what_is_as_good_is_refused(enter_locally: Enter) -> None:
    enter_locally("fair")
    promote()
    enter_locally("fair")
    assert aliases() == {"champion": 1, "challenger": 1}
    unchanged = promote()
    assert (unchanged.outcome, unchanged.version) == ("unchanged", 1)
    assert aliases() == {"champion": 1}
    with pytest.raises(TrackingError, match="has no challenger; its champion is version 1; run `wordgaze register`"):
        promote()


def test_a_first_champion_needs_data_and_the_least_score(enter_locally: Enter, colours: ColourCaptioners) -> None:
    enter_locally("worst")
    with pytest.raises(DataError, match="the gate set nowhere is missing; give dev, test, or a folder or table"):
        promote(data="nowhere")
    with pytest.raises(DataError, match=r"data/prepared/captions\.parquet is missing"):
        promote(data="dev")
    with pytest.raises(ParamsError, match=r"confidence .*0\.999"):
        promote(confidence=1.0)
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("gate: {", "gate: {minimum: 9.0, "))
    refused = promote()
    assert refused.outcome == "refused"
    assert "tracking.gate.minimum is 9" in refused.why
    assert promote(data=str(colours.pictures / "captions.csv"), force=True, reason="try").outcome == "forced"


def test_training_images_of_the_challenger_are_left_out_and_the_decision_names_them(
    enter_locally: Enter, colours: ColourCaptioners, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_locally("fair")
    whole = promote()
    assert "left out" not in whole.why
    seen = image_checksums([colours.pictures / "5.png"])
    monkeypatch.setattr(gate_overlap, "training_images", lambda _: seen)
    enter_locally("good")
    decision = promote()
    assert (decision.outcome, decision.data) == ("promoted", whole.data)
    assert decision.why.endswith(
        "left out of the gate set: 1 training image of version 2 (5.png); 1 training image of version 1 (5.png)"
    )


def test_a_reason_is_one_line_that_every_store_can_hold(enter_locally: Enter) -> None:
    enter_locally("fair")
    with pytest.raises(ParamsError, match="--reason has 1,001 characters; 1,000 can be kept"):
        promote(force=True, reason="x" * 1001)
    decision = promote(data="nowhere", force=True, reason="two\nlines of " + os.fsdecode(b"caf\xe9"))
    assert (decision.outcome, decision.why) == ("forced", "two lines of caf\N{REPLACEMENT CHARACTER}")
    assert history(registered().versions()) == [decision]


def claim(intent: str, process: int = 2**22 + 1, host: str = "") -> None:
    """What a process leaves in the registry that was killed while it held the claim."""
    holder = {"machine": host or machine(), "process": process, "started": "another boot/1"}
    value = json.dumps(holder | {"intent": intent})
    registered().set_tag(f"{CLAIM_PREFIX}0000", value)


def test_a_promotion_that_was_killed_is_completed_or_has_not_happened(enter_locally: Enter) -> None:
    enter_locally("fair")
    model = registered()
    meant = promotion.new_decision("promoted", model.version(1), None, "better")
    claim(meant.model_dump_json())  # killed before it moved the alias
    assert register() == 1
    assert aliases() == {"challenger": 1}
    claim(meant.model_dump_json())
    model.set_alias("champion", 1)  # killed after it
    with pytest.raises(TrackingError, match="has no challenger; its champion is version 1"):
        promote()
    assert aliases() == {"champion": 1}
    assert history(model.versions()) == [meant]
    assert [key for key in model.tags() if key.startswith(CLAIM_PREFIX)] == []


def test_the_claim_of_a_process_whose_number_is_anothers_by_now_holds_nobody(
    enter_locally: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart of the machine the numbers are given again, and another process has that of the killed one."""
    enter_locally("fair")
    claim("", process=os.getpid())
    monkeypatch.setattr(registry_claim, "_TIMEOUT", 1.0)
    assert register() == 1
    assert [key for key in registered().tags() if key.startswith(CLAIM_PREFIX)] == []


def test_a_registration_that_was_killed_is_found_again(enter_locally: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(CaptionerModel, "tag_version", die)
        enter_locally("fair")
    assert aliases() == {}
    assert register() == 1
    assert aliases() == {"challenger": 1}


def test_the_claim_of_another_machine_is_waited_for_until_it_is_stale(
    enter_locally: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_locally("fair")
    claim("", process=os.getpid(), host="elsewhere")
    monkeypatch.setattr(registry_claim, "_TIMEOUT", 0.5)
    with pytest.raises(TrackingError, match=r"another process is changing story of .* in the registry"):
        register()
    assert [key for key in registered().tags() if key.startswith(CLAIM_PREFIX)] == [f"{CLAIM_PREFIX}0000"]
    monkeypatch.setattr(registry_claim, "STALE", 0.3)
    monkeypatch.setattr(registry_claim, "_TIMEOUT", 30)
    assert register() == 1
    assert [key for key in registered().tags() if key.startswith(CLAIM_PREFIX)] == []
