"""``wordgaze init``: a project in a folder of its own, whose stages run the installed wordgaze.

The templates are files of the checkout: ``params.yaml``, ``dvc.yaml`` and the settings of git and DVC. The wheel has
copies of them (``hatch_build.py``); an editable installation reads them in the checkout. A stage of
the checkout depends on its source files. A project has no source files, so its stages depend on ``code.yaml``, which
holds a fingerprint of the installed source files of each stage.
"""

import hashlib
import importlib.util
import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from wordgaze.core.errors import WordgazeError
from wordgaze.core.files import check_output, check_output_folder, write_text

TEMPLATES = {
    "params.yaml": "params.yaml",
    "dvc.yaml": "pipeline.yaml",  # another name: DVC would find a dvc.yaml in an environment inside the project
    ".gitignore": "gitignore",
    ".gitattributes": "gitattributes",
    ".dvcignore": "dvcignore",
    ".dvc/config": "dvc-config",
}
"""A file of the project, which is a file of the checkout too, and its name in the wheel's ``templates``."""

CODE_FILE = Path("code.yaml")
_PACKAGE = Path(__file__).parents[1]
_CHECKOUT = _PACKAGE.parents[1]
_SOURCE = ("src/", "pipeline/")  # a dependency below these is code; any other is data
_ABOUT_PIPELINE = """The pipeline of wordgaze. The stage `code` always runs and writes a fingerprint of the installed
code of each stage into code.yaml. The other stages run when their code, parameters or inputs have changed. The stage
`check_params` refuses wrong parameters before DVC deletes the outputs of any other."""
_ABOUT_CODE = "# The installed wordgaze's code for each stage, as a fingerprint. The stage `code` writes this file.\n"
_FIRST_COMMIT = "Start a wordgaze project"

PANEL = "Project"

app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def init(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or an empty folder.")]) -> None:
    """Write a project into FOLDER: parameters and pipeline, with git and DVC initialised."""
    committed = create_project(folder)
    target = f"./{folder}" if str(folder).startswith("-") else str(folder)  # cd - is the previous folder
    typer.echo(f"{folder} is a wordgaze project; next: cd {shlex.quote(target)} && dvc repro")
    if not committed:
        typer.echo("git has committed nothing; set its user.name and user.email, and run git commit before dvc exp run")
    if set("?#") & set(str(folder.resolve())):
        typer.echo("DVC cannot queue experiments below a folder with ? or # in its name; dvc repro and exp run work")


@app.command("offline-plots", rich_help_panel=PANEL)
def set_up_plots() -> None:
    """Set up dvc plots show and diff of this project to work without a network.

    It writes .dvc/plots.html, a page with Vega in it, and names it in .dvc/config.local. make and wordgaze init do
    this; a clone of a project needs it once.
    """
    if not Path(".dvc").is_dir():
        raise WordgazeError(f"{Path.cwd()} is not the root of a project with DVC; change to it")
    typer.echo(f"dvc plots needs no network now: {_set_up_plots(Path())} has Vega in it")


@app.command("fingerprint", rich_help_panel=PANEL)
def write_fingerprints(
    output: Annotated[Path, typer.Argument(metavar="FILE", help="The YAML file to write.")] = CODE_FILE,
) -> None:
    """Write fingerprints of the code of each stage; the first stage of a project runs this."""
    check_output(output, "FILE")
    write_text(output, _ABOUT_CODE + "".join(f'{stage}: "{value}"\n' for stage, value in code_fingerprints().items()))


def create_project(folder: Path) -> bool:
    """Writes a project into a new or empty folder. Returns whether git could commit it, for which it needs an author.

    Raises WordgazeError if the folder is not empty, or git or DVC is missing or fails; nothing is left behind then.
    """
    if shutil.which("git") is None:
        raise WordgazeError("git is not on the PATH; install it, for wordgaze init starts a git repository")
    if importlib.util.find_spec("dvc") is None:
        raise WordgazeError('dvc is not installed; pip install "wordgaze[pipeline]"')
    with _fill(folder) as root:
        _run(root, "git", "init", "--quiet")
        _run(root, sys.executable, "-m", "dvc", "init", "--quiet")
        for name in TEMPLATES:
            text = _project_pipeline() if name == "dvc.yaml" else _template(name).read_text(encoding="utf-8")
            write_text(root / name, text)
        shutil.copyfile(_PACKAGE / "templates" / "README.md", root / "README.md")
        write_fingerprints(root / CODE_FILE)
        _set_up_plots(root)
        _run(root, "git", "add", "--all")
        return _commit(root)


def code_fingerprints() -> dict[str, str]:
    """For each stage, 16 hexadecimal digits that change whenever a source file that the stage depends on changes.

    The checkout's ``dvc.yaml`` lists these files; they are read as they are installed.
    """
    return {name: _hash(_code(stage)) for name, stage in _pipeline()["stages"].items()}


@contextmanager
def _fill(folder: Path) -> Iterator[Path]:
    """Yields an empty folder inside ``folder``; what is in it moves up when the block ends without an error."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WordgazeError(f"{folder} is not an empty folder; give a new or an empty one")
    check_output_folder(folder, "FOLDER")
    created = None if folder.exists() else folder
    folder.mkdir(exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".wordgaze-"))
    try:
        yield temporary
        for path in temporary.iterdir():
            os.replace(path, folder / path.name)
        temporary.rmdir()
    except BaseException:
        shutil.rmtree(temporary if created is None else created, ignore_errors=True)
        raise


def _set_up_plots(root: Path) -> Path:
    """Writes the page of ``dvc plots``, and then names it to DVC, which plots nothing while a named page is missing."""
    from wordgaze.inspection.plots_page import write_plots_page

    page = write_plots_page(root / ".dvc")
    _run(root, sys.executable, "-m", "dvc", "config", "--local", "plots.html_template", page.name)
    return page


def _template(name: str) -> Path:
    """The file that ``name`` of a project is written from: in the wheel, or in the checkout of an editable install."""
    packaged = _PACKAGE / "templates" / TEMPLATES[name]
    return packaged if packaged.is_file() else _CHECKOUT / name


def _pipeline() -> Any:
    """The checkout's ``dvc.yaml`` with its comments, as ruamel.yaml reads it for a round trip."""
    from ruamel.yaml import YAML

    return YAML().load(_template("dvc.yaml").read_text(encoding="utf-8"))


def _project_pipeline() -> str:
    """The checkout's ``dvc.yaml``, with the installed commands, and ``code.yaml`` in place of the source files."""
    from ruamel.yaml import YAML

    pipeline = _pipeline()
    pipeline.yaml_set_start_comment(_ABOUT_PIPELINE)
    for name, stage in pipeline["stages"].items():
        stage["cmd"] = f"wordgaze {name}"
        stage["deps"] = [path for path in stage["deps"] if not path.startswith(_SOURCE)]
        if not stage["deps"]:
            del stage["deps"]
        stage.setdefault("params", []).append({str(CODE_FILE): [name]})
    code = {
        "cmd": f"wordgaze fingerprint {CODE_FILE}",
        "always_changed": True,
        "outs": [{str(CODE_FILE): {"cache": False}}],
    }
    pipeline["stages"].insert(0, "code", code)
    yaml, written = YAML(), io.StringIO()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = sys.maxsize
    yaml.dump(pipeline, written)
    return written.getvalue()


def _code(stage: dict[str, Any]) -> list[Path]:
    """The installed files of a stage that the checkout's ``dvc.yaml`` lists below ``src/wordgaze``."""
    package = "src/wordgaze/"
    roots = [_PACKAGE / path.removeprefix(package) for path in stage["deps"] if path.startswith(package)]
    files = (path for root in roots for path in (root.rglob("*") if root.is_dir() else [root]))
    return sorted({path for path in files if path.is_file() and "__pycache__" not in path.parts})


def _hash(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _run(root: Path, *command: str) -> None:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split())
        raise WordgazeError(f"{' '.join(command)} failed: {reason}")


def _commit(root: Path) -> bool:
    """Commits, which ``dvc exp run`` needs. False where git knows no author or refuses for a reason of its own."""
    command = ["git", "commit", "--quiet", "--message", _FIRST_COMMIT]
    return subprocess.run(command, cwd=root, capture_output=True, check=False).returncode == 0
