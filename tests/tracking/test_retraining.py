import shlex
import sys
from pathlib import Path

import pytest

from wordgaze.config.params import Params
from wordgaze.core.errors import ParamsError, WordgazeError
from wordgaze.tracking.retraining import RetrainStep, plan_retraining, run_retraining

PAIRS = [("ab", "a dog"), ("cd", "a cat")]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_steps_are_commands_that_a_person_would_type() -> None:
    plan = plan_retraining(Params(), PAIRS, ["train_stage1.epochs=3"], promote=True)
    export = plan.export.as_posix()
    assert [step.shown for step in plan.steps] == [
        f"wordgaze corrections export {export}",
        f"dvc exp run -S dataset.corrections={export} -S train_stage1.epochs=3",
        "wordgaze register",
        "wordgaze promote",
    ]
    assert len(plan_retraining(Params(), PAIRS, [], promote=False).steps) == 3


def test_the_name_of_the_export_is_that_of_its_contents() -> None:
    one, same, more = (
        plan_retraining(Params(), pairs, [], True) for pairs in (PAIRS, PAIRS[::-1], [*PAIRS, ("ef", "x")])
    )
    assert one.export == same.export != more.export
    params = Params.model_validate({"dataset": {"corrections": one.export.as_posix()}})
    assert plan_retraining(params, PAIRS, [], True).done == one.done  # after dvc exp run it is in params.yaml
    assert plan_retraining(Params(seed=2), PAIRS, [], True).done != one.done
    changed = Params.model_validate({"train_stage1": {"epochs": 3}})
    plans = [plan_retraining(each, PAIRS, ["train_stage1.epochs=3"], True) for each in (Params(), changed)]
    assert plans[0].done == plans[1].done


def test_no_corrections_and_a_setting_without_a_value_are_refused() -> None:
    with pytest.raises(ParamsError, match="no corrections"):
        plan_retraining(Params(), [], [], True)
    with pytest.raises(ParamsError, match="-S seed: give KEY=VALUE"):
        plan_retraining(Params(), PAIRS, ["seed"], True)


def test_a_step_that_fails_is_repeated_and_those_before_it_are_not(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = project / "log"
    plan = plan_retraining(Params(), PAIRS, [], promote=True)

    def command(step: RetrainStep) -> list[str]:
        name = step.arguments[0]
        code = f"import sys, pathlib; pathlib.Path({str(log)!r}).open('a').write({name!r} + ' ')"
        return [sys.executable, "-c", f"{code}; sys.exit({name == 'exp' and not (project / 'ready').exists()})"]

    monkeypatch.setattr(RetrainStep, "command", property(command))
    announced: list[str] = []
    with pytest.raises(WordgazeError, match=r"step 2 of 4 ended with exit code 1: dvc exp run .* again"):
        run_retraining(plan, lambda number, step: announced.append(f"{number} {shlex.split(step.shown)[1]}"))
    (project / "ready").touch()
    run_retraining(plan, lambda number, step: announced.append(f"{number} {shlex.split(step.shown)[1]}"))
    assert log.read_text().split() == ["corrections", "exp", "exp", "register", "promote"]
    assert announced == ["1 corrections", "2 exp", "2 exp", "3 register", "4 promote"]
    run_retraining(plan, lambda *_: pytest.fail("all is done"))
