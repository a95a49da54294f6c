"""Every data set in miniature, in the layouts that circulate. A picture is its name's bytes, which no collector reads."""

import csv
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

Captions = Mapping[str, Sequence[str]]
TWO = {"b.jpg": ["A cat .", "A black cat ."], "a.jpg": ["A dog ."]}


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Files by their path in ``folder``."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def packed(path: Path, files: Mapping[str, str | bytes]) -> Path:
    """A zip or a tar.gz, by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = {name: content.encode() if isinstance(content, str) else content for name, content in files.items()}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz") as tar:
            for name, content in contents.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def pictures(names: Sequence[str], folder: str = "") -> dict[str, str | bytes]:
    return {folder + name: name for name in names}


def tokens(captions: Captions) -> str:
    return "".join(f"{name}#{n}\t{text}\n" for name, of_one in captions.items() for n, text in enumerate(of_one))


def bars(captions: Captions) -> str:
    rows = [f"{name}| {n}| {text}\n" for name, of_one in captions.items() for n, text in enumerate(of_one)]
    return "image_name| comment_number| comment\n" + "".join(rows)


def table(captions: Captions, splits: Mapping[str, str] | None = None) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["image", "caption", "split"][: 2 if splits is None else 3])
    for name, of_one in captions.items():
        rows.writerows([name, caption, *([splits.get(name, "")] if splits else [])] for caption in of_one)
    return text.getvalue()


def coco(captions: Captions) -> str:
    ids = {name: number for number, name in enumerate(captions, start=1)}
    texts = [(ids[name], text) for name, of_one in captions.items() for text in of_one]
    return json.dumps(
        {
            "images": [{"id": number, "file_name": name} for name, number in ids.items()],
            "annotations": [{"id": n, "image_id": image, "caption": text} for n, (image, text) in enumerate(texts)],
        }
    )


def karpathy(captions: Captions, splits: Mapping[str, str], dataset: str = "flickr8k") -> str:
    return json.dumps(
        {
            "images": [
                {
                    "filename": name,
                    "filepath": "val2014",
                    "imgid": number,
                    "split": splits[name],
                    "sentences": [{"raw": text, "tokens": text.lower().split(), "sentid": 0} for text in of_one],
                }
                for number, (name, of_one) in enumerate(captions.items())
            ],
            "dataset": dataset,
        }
    )


def images(folder: Path) -> dict[str, bytes]:
    """What was copied, by name."""
    return {path.name: path.read_bytes() for path in sorted((folder / "images").iterdir())}
