"""How long ``dvc repro features`` takes when ten images are added to a data set.

    python benchmarks/added_images.py FOLDER [--images 1000] [--checkout .] [--set features.depths=3 …]

FOLDER has photographs. A project that trains on them is made in a temporary folder, with the code of ``--checkout``, so
that two versions can be compared. The features of all but ten images are computed, then those ten are added, and at
last nothing but the name of an image changes.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML

ADDED = 10
CODE = ("src", "pipeline", "dvc.yaml", "params.yaml", ".dvcignore", ".gitignore", ".gitattributes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--checkout", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="other parameters")
    parser.add_argument("--work", type=Path, help="where the project is made, for a while")
    args = parser.parse_args()
    photographs = sorted(args.folder.glob("*.jpg"))[: args.images]
    with tempfile.TemporaryDirectory(dir=args.work) as temporary:
        project = Path(temporary, "project")
        make_project(project, args.checkout, args.set)
        add(project, photographs[:-ADDED])
        print(f"{len(photographs) - ADDED} images: {repro(project)}", flush=True)
        add(project, photographs[-ADDED:])
        print(f"{ADDED} added: {repro(project)}", flush=True)
        for suffix in (".jpg", ".txt"):
            path = project / "images" / photographs[0].with_suffix(suffix).name
            path.rename(path.with_stem("renamed"))
        print(f"1 renamed: {repro(project)}", flush=True)


def make_project(project: Path, checkout: Path, settings: Sequence[str]) -> None:
    """A project on the images of its folder ``images``, outside of Git."""
    (project / "images").mkdir(parents=True)
    for name in CODE:
        copy = shutil.copytree if (checkout / name).is_dir() else shutil.copyfile
        copy(checkout / name, project / name)
    yaml = YAML()
    params = yaml.load(project / "params.yaml")
    for setting in ("dataset.name=folder", "dataset.source=images", "reproducible=same_machine", *settings):
        key, _, value = setting.partition("=")
        section, _, name = key.rpartition(".")
        (params[section] if section else params)[name] = YAML(typ="safe").load(value)
    yaml.dump(params, project / "params.yaml")
    run(project, "init", "--no-scm", "--quiet")


def add(project: Path, photographs: Sequence[Path]) -> None:
    """Adds photographs, each with a caption."""
    for path in photographs:
        shutil.copyfile(path, project / "images" / path.name)
        (project / "images" / f"{path.stem}.txt").write_text(f"a photograph with the name {path.stem}\n")


def repro(project: Path) -> str:
    """The seconds of the stage features, after the images have been read again."""
    run(project, "repro", "--quiet", "--force", "download")
    started, before = time.perf_counter(), cpu_seconds()
    run(project, "repro", "--quiet", "features")
    return f"{time.perf_counter() - started:6.1f} s, {cpu_seconds() - before:6.1f} s of CPU"


def cpu_seconds() -> float:
    """Those of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(project: Path, *arguments: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=project, env=environment, check=True)


if __name__ == "__main__":
    main()
