"""``wordgaze`` as a command that starts in milliseconds: a server process has imported everything once, and forks.

    python preloaded.py FOLDER

listens on FOLDER/socket. FOLDER/wordgaze is the command, which passes its arguments, its folder, its environment and its
open files to the server; a fork of the server takes them over and runs the ``main`` that the installed command runs.
FOLDER/run-python FILE runs a Python file in the same way. Without this, importing torch and mlflow once per command
would take most of the time of the test that runs the blocks of the documentation.
"""

import json
import os
import runpy
import signal
import socket
import sys
from pathlib import Path

CLIENT = """#!{python} -SE
import json, os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
request = {{"argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ)}}
socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
answer = connection.recv(16)
sys.exit(int(answer) if answer else 70)
"""
MOST = 1 << 18  # bytes of a request


def serve(folder: Path) -> None:
    """Answers until it is ended."""
    address = str(folder / "socket")
    preload()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended forks are not waited for
        for name in ("wordgaze", "run-python"):
            client = folder / name
            client.with_suffix(".new").write_text(CLIENT.format(python=sys.executable, address=address))
            client.with_suffix(".new").chmod(0o755)
            client.with_suffix(".new").rename(client)  # whole from the beginning: the test waits for it
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                answer(connection)
            connection.close()


def preload() -> None:
    """Imports what the commands import. Nothing is computed, and no thread of Python is started."""
    from wordgaze.tracking.store import configure_mlflow

    configure_mlflow()
    import gradio  # noqa: F401
    import mlflow
    import pandas  # noqa: F401
    import timm  # noqa: F401

    import wordgaze.app.page
    import wordgaze.cli
    import wordgaze.evaluation.score
    import wordgaze.inference.caption_files
    import wordgaze.tracking.registry  # noqa: F401

    assert mlflow.MlflowClient
    sys.modules["pycocoevalcap"] = None  # type: ignore[assignment]  # its Java takes seconds; tests/metrics compare with it


def answer(connection: socket.socket) -> None:
    """Runs the request in this process, which then ends."""
    message, files, _, _ = socket.recv_fds(connection, MOST, 3)
    request = json.loads(message)
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = request["argv"]
    code = 1
    try:
        code = run()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(str(code).encode())
        os._exit(code)


def run() -> int:
    """The exit code of ``wordgaze``, or of a Python file."""
    from wordgaze.cli import main

    try:
        if Path(sys.argv[0]).name == "wordgaze":
            main()
        else:
            sys.argv = sys.argv[1:]
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
