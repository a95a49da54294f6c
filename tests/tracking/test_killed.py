"""Runs that were interrupted or killed are KILLED in MLflow, and never RUNNING for ever."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import wordgaze
from wordgaze.tracking.processes import HOST, PID, STARTED, has_ended, process_tags
from wordgaze.tracking.runs import stage_run
from wordgaze.tracking.store import open_store

WAIT = """
import signal, sys
from wordgaze.core.interruption import handle_termination
from wordgaze.tracking.runs import stage_run
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell ignores it
handle_termination()
with stage_run("features", {}) as run:
    print(run.run_id, run.parent_id, flush=True)
    signal.pause()
"""
STATUSES = {signal.SIGTERM: "KILLED", signal.SIGINT: "KILLED", signal.SIGKILL: "RUNNING"}


@pytest.mark.parametrize("number", STATUSES)
def test_the_run_of_a_process_that_was_ended_is_killed(project: Path, number: signal.Signals) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(wordgaze.__file__).parents[1])}
    stage = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", WAIT], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    assert stage.stdout is not None
    ids = stage.stdout.readline().split()
    alive = open_store().client
    assert [alive.get_run(i).info.status for i in ids] == ["RUNNING", "RUNNING"]
    stage.send_signal(number)
    stage.wait(60)
    stage.stdout.close()
    assert [alive.get_run(i).info.status for i in ids] == [STATUSES[number]] * 2
    ended = open_store().client
    assert [ended.get_run(i).info.status for i in ids] == ["KILLED", "KILLED"]
    with stage_run("features", {}) as again:  # the next try has the same parent
        assert again.parent_id == ids[1]
    assert ended.get_run(ids[1]).info.status == "FINISHED"


def test_ctrl_c_is_killed_and_an_error_is_failed(project: Path) -> None:
    for error, status in ((KeyboardInterrupt, "KILLED"), (ValueError, "FAILED"), (OSError, "FAILED")):
        with pytest.raises(error), stage_run("prepare", {}) as run:
            raise error
        assert [run.client.get_run(i).info.status for i in (run.run_id, run.parent_id)] == [status, status]


@pytest.mark.parametrize(
    ("changes", "ended"),
    [
        ({}, False),  # this process
        ({STARTED: "another boot/1"}, True),  # the number belongs to another process now
        ({PID: "999999999"}, True),
        ({PID: "999999999", HOST: "elsewhere"}, False),
        ({PID: "1; drop"}, False),
    ],
)
def test_only_an_ended_process_of_this_machine_counts_as_ended(changes: dict[str, str], ended: bool) -> None:
    assert has_ended(process_tags() | changes) is ended
    assert not has_ended({})
