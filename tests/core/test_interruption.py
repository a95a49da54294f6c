"""SIGTERM unwinds as Ctrl-C does, and a signal that was swallowed stops the work all the same."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
COMMAND = """
import gc, os, signal, sys, time
from pathlib import Path
from wordgaze import cli
from wordgaze.core.files import write_text
from wordgaze.core.parallel import map_ahead
from wordgaze.core.progress import track

class Swallows:
    def __del__(self):
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))
        time.sleep(0.01)

@cli.app.command("try")
def _try(how: str, name: str) -> None:
    try:
        if how == "swallowed":
            sys.unraisablehook = lambda _: None
            Swallows()
        elif how == "twice":
            try:
                os.kill(os.getpid(), getattr(signal, name))
            finally:
                os.kill(os.getpid(), getattr(signal, name))
                print("cleaned", flush=True)
        else:
            os.kill(os.getpid(), getattr(signal, name))
        if len(sys.argv) > 3 or how == "swallowed":
            list(map_ahead(str, track(range(3), "x"), 1, 2))
            write_text(Path("result"), "half")
    except KeyboardInterrupt:
        print("unwound", flush=True)
        raise

sys.argv[1:1] = ["try"]
cli.main()
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
@pytest.mark.parametrize("how", ["plain", "swallowed", "twice"])
def test_a_signal_unwinds_once_and_gives_the_exit_code(tmp_path: Path, how: str, name: str, code: int) -> None:
    command = COMMAND.replace("sys.argv[2]", repr(name))
    done = subprocess.run(
        [sys.executable, "-c", command, how, name],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert done.stdout.split() == [*(["cleaned"] if how == "twice" else []), "unwound"]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
