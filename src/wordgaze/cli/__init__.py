"""The command line. Each module holds a group of commands, which import what they need when they run."""

import errno
import sys
from typing import Annotated

import typer

from wordgaze.cli import (
    caption,
    caption_many,
    card,
    corrections,
    data,
    doctor,
    evaluate,
    export,
    learning_curve,
    pipeline,
    project,
    recipe,
    registry,
    retrain,
    serve,
    watch,
)
from wordgaze.cli.options import Quiet, Verbose, accept_verbosity
from wordgaze.cli.usage import is_help, usage_message
from wordgaze.core.errors import WordgazeError
from wordgaze.core.interruption import exit_status, handle_termination, release_termination
from wordgaze.core.printable import printable

GROUPS = (
    caption,
    caption_many,
    evaluate,
    data,
    learning_curve,
    serve,
    corrections,
    watch,
    export,
    registry,
    card,
    retrain,
    project,
    doctor,
    recipe,
    pipeline,
)
"""The modules of commands, in the order of the help. Each has an ``app``."""

DISTRIBUTIONS = {
    "dvc": "dvc",
    "fastapi": "fastapi",
    "filelock": "filelock",
    "gradio": "gradio",
    "great_expectations": "great-expectations",
    "imagehash": "imagehash",
    "mlflow": "mlflow",
    "nltk": "nltk",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "onnxscript": "onnxscript",
    "pandas": "pandas",
    "prometheus_client": "prometheus-client",
    "py3langid": "py3langid",
    "pyarrow": "pyarrow",
    "pyspark": "pyspark",
    "ray": "ray",
    "ruamel": "ruamel-yaml",
    "sqlalchemy": "mlflow",
    "uvicorn": "uvicorn",
    "vl_convert": "vl-convert-python",
}
"""The optional packages: the distribution of each imported name. ``[app]`` has those of the page, ``[export]`` those of
ONNX, ``[serve]`` those of the HTTP server, ``[ray]`` and ``[spark]`` those of a cluster, ``[pipeline]`` all others."""

_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_INTERRUPTED = 130  # what typer makes of KeyboardInterrupt
_USAGE = 2  # as typer's own

app = typer.Typer(
    name="wordgaze",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _group in GROUPS:
    app.add_typer(_group.app)
    for _commands in (_group.app, *(each.typer_instance for each in _group.app.registered_groups)):
        for _command in _commands.registered_commands if _commands else ():
            assert _command.callback is not None
            _command.callback = accept_verbosity(_command.callback)


def _print_version(wanted: bool) -> None:
    if wanted:
        import wordgaze

        typer.echo(f"wordgaze {wordgaze.__version__}")
        raise typer.Exit


@app.callback()
def _configure(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    verbose: Verbose = 0,
    quiet: Quiet = 0,
) -> None:
    """Caption images, and show the attention of each word."""
    from wordgaze.core.logs import configure_logging

    configure_logging(verbose - quiet)


def main() -> None:
    """Runs the command line. An expected error becomes one line on standard error and exit code 1, wrong usage 2.

    Ctrl-C and SIGTERM unwind: what they interrupt is cleaned up or kept for the next run, and the exit code is 130 or
    143.
    """
    try:
        handle_termination()
        code = app(prog_name="wordgaze", standalone_mode=False)  # what ends it with a code of its own
        sys.exit(exit_status(_INTERRUPTED) if code == _INTERRUPTED else code or 0)
    except KeyboardInterrupt:  # before the command began, or after it: typer handles what comes in between
        sys.exit(exit_status(_INTERRUPTED))
    except typer.TyperException as error:
        if is_help(error):
            typer.echo(error.format_message(), err=True)
            sys.exit(_USAGE)
        _fail(usage_message(error), _USAGE)
    except typer.Abort:
        _fail("the input ended before the command did")
    except WordgazeError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        _fail(_missing(error))
    except OSError as error:
        _fail(_os_message(error))
    finally:
        release_termination()


def _os_message(error: OSError) -> str:
    """The message of the operating system, with the file, and a way out where there is one."""
    code = error.errno or 0
    remedy = "; choose a place that you can write, or change its permissions" if code in _DENIED else ""
    remedy = remedy or ("; free some space, and run it again" if code in _FULL else "")
    # Of a copy, the system names the source first; what cannot be written is the target.
    name = error.filename2 or error.filename
    return f"{error.strerror or error}{f': {name}' if name else ''}{remedy}"


def _missing(error: ModuleNotFoundError) -> str:
    """The message for an optional package that is not installed. Raises the error again for any other module."""
    name = (error.name or "").partition(".")[0]
    if name in ("torch", "torchvision", "timm", "safetensors"):
        return (
            "PyTorch is not installed, which this command needs; pip install torch, or give --model the folder of an"
            " exported captioner"
        )
    if name not in DISTRIBUTIONS:
        raise error
    is_app = name == "gradio" or "app" in sys.argv[1:2]
    if name in ("fastapi", "prometheus_client", "uvicorn"):
        return f'{DISTRIBUTIONS[name]} is not installed; pip install "wordgaze[serve]"'
    if name in ("ray", "pyspark"):
        return f'{DISTRIBUTIONS[name]} is not installed; pip install "wordgaze[{name.removeprefix("py")}]"'
    extra = "app" if is_app else "export" if name.startswith("onnx") or "export" in sys.argv[1:2] else "pipeline"
    return f'{DISTRIBUTIONS[name]} is not installed; pip install "wordgaze[{extra}]"'


def _fail(message: str, code: int = 1) -> None:
    """Prints the message and ends. After a signal its exit code is kept: the error then comes from the cleaning up, as
    where the signal has interrupted a transaction, and a scheduler must not take it for a failure of the work."""
    print(f"wordgaze: {printable(message)}", file=sys.stderr)
    sys.exit(exit_status(code))
