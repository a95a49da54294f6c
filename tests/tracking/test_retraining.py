import shlex
import sys
from pathlib import Path

import pytest

from wordgaze.config.params import Params
from wordgaze.core.errors import ParamsError, WordgazeError
from wordgaze.tracking.retraining import InitialCaptioner, Retraining, RetrainStep, plan_retraining, run_retraining

PAIRS = [("ab", "a dog"), ("cd", "a cat")]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def champion() -> InitialCaptioner:
    return InitialCaptioner("models:/captioner/3", "0123456789abcdef")


def commands(plan: Retraining) -> list[str]:
    return [step.shown for step in plan.steps]


def test_the_steps_are_commands_that_a_person_would_type() -> None:
    plan = plan_retraining(Params(), PAIRS, ["train_stage2.epochs=3"], True, champion)
    export = plan.steps[0].arguments[2]
    assert commands(plan) == [
        f"wordgaze corrections export {export}",
        "wordgaze pack models:/captioner/3 models/initial/0123456789abcdef --dtype fp32 --keep-neighbours",
        f"dvc exp run -S dataset.corrections={export}"
        " -S train_stage1.initial.captioner=models/initial/0123456789abcdef -S train_stage2.epochs=3",
        "wordgaze register",
        "wordgaze promote",
    ]
    assert commands(plan_retraining(Params(), PAIRS, ["train_stage2.epochs=3"], False, champion)) == commands(plan)[:-1]


def test_from_scratch_no_captioner_is_copied_and_that_of_an_earlier_retraining_is_cleared() -> None:
    assert "initial" not in " ".join(commands(plan_retraining(Params(), PAIRS, [], True)))
    tuned = Params.model_validate({"train_stage1": {"initial": {"captioner": "models/initial/0"}}})
    assert shlex.split(commands(plan_retraining(tuned, PAIRS, [], True))[1])[-1] == "train_stage1.initial.captioner=''"


def test_the_name_of_the_export_is_that_of_its_contents() -> None:
    def exported(pairs: list[tuple[str, str]]) -> str:
        return plan_retraining(Params(), pairs, [], True).steps[0].arguments[2]

    export = exported(PAIRS)
    assert export == exported(PAIRS[::-1]) != exported([*PAIRS, ("ef", "x")])
    done = plan_retraining(Params(), PAIRS, [], True).done
    params = Params.model_validate({"dataset": {"corrections": export}})
    assert plan_retraining(params, PAIRS, [], True).done == done  # after dvc exp run it is in params.yaml
    assert plan_retraining(Params(seed=2), PAIRS, [], True).done != done
    changed = Params.model_validate({"train_stage1": {"epochs": 3}})
    plans = [plan_retraining(each, PAIRS, ["train_stage1.epochs=3"], True) for each in (Params(), changed)]
    assert plans[0].done == plans[1].done


def test_a_retraining_that_has_begun_keeps_its_captioner_until_it_is_undone(project: Path) -> None:
    plan = plan_retraining(Params(), PAIRS, [], True, champion)
    for step in plan.steps:
        plan.finish(step)
    (project / plan.steps[1].arguments[2]).mkdir(parents=True)
    changes = {"dataset": {"corrections": plan.steps[0].arguments[2]}}
    trained = Params.model_validate({**changes, "train_stage1": {"initial": {"captioner": plan.steps[1].arguments[2]}}})
    again = plan_retraining(trained, PAIRS, [], True, lambda: pytest.fail("the champion is another by now"))
    assert (commands(again), again.remaining()) == (commands(plan), [])
    undone = plan_retraining(Params(), PAIRS, [], True, champion)
    assert undone.remaining() == list(undone.steps)


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
    judged = []

    def command(step: RetrainStep) -> list[str]:
        name = step.arguments[0]
        code = f"import sys, pathlib; pathlib.Path({str(log)!r}).open('a').write({name!r} + ' ')"
        return [sys.executable, "-c", f"{code}; sys.exit({name == 'exp' and not (project / 'ready').exists()})"]

    monkeypatch.setattr(RetrainStep, "command", property(command))
    announced: list[str] = []

    def run() -> None:
        run_retraining(
            plan,
            lambda number, step: announced.append(f"{number} {shlex.split(step.shown)[1]}"),
            lambda: judged.append("the gate"),
        )

    with pytest.raises(WordgazeError, match=r"step 2 of 4 ended with exit code 1: dvc exp run .* again"):
        run()
    (project / "ready").touch()
    plan = plan_retraining(
        Params.model_validate({"dataset": {"corrections": plan.steps[0].arguments[2]}}), PAIRS, [], promote=True
    )
    run()
    assert log.read_text().split() == ["corrections", "exp", "exp", "register"]
    assert judged == ["the gate"]
    assert announced == ["1 corrections", "2 exp", "2 exp", "3 register", "4 promote"]
    run_retraining(plan, lambda *_: pytest.fail("all is done"), lambda: pytest.fail("all is done"))
