"""What the campaign mutates: for each kind of input, sound seeds, and the library's function that reads them."""

import bz2
import gzip
import io
import json
import lzma
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

Read = Callable[[Path], object]


@dataclass(frozen=True)
class Kind:
    """``seeds``: file name → its bytes. ``read`` reads a mutated file that has the name of its seed."""

    seeds: Mapping[str, bytes]
    read: Read
    is_text: bool = False


def pictures(folder: Path) -> Kind:
    from wordgaze.vision.decoding_process import decode_safely

    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).resize((240, 160))
    seeds = {}
    for name, options in (
        ("a.jpg", {}), ("progressive.jpg", {"progressive": True}), ("a.png", {}), ("a.webp", {}), ("a.gif", {}),
        ("a.bmp", {}), ("a.tif", {"compression": "tiff_lzw"}), ("a.jp2", {}), ("a.avif", {}),
    ):  # fmt: skip
        seeds[name] = _saved(colours, Path(name).suffix, **options)
    seeds["palette.png"] = _saved(colours.quantize(8), ".png", transparency=1)
    seeds["grey.png"] = _saved(Image.fromarray(rng.integers(0, 2**16, (30, 40), np.uint16)), ".png")
    exif = Image.Exif()
    exif[0x0112] = 6
    seeds["turned.jpg"] = _saved(colours, ".jpg", exif=exif.tobytes())
    return Kind(seeds, decode_safely)


def _saved(image: Image.Image, suffix: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, Image.registered_extensions()[suffix], **options)
    return buffer.getvalue()


def captions(folder: Path) -> Kind:
    from wordgaze.data.readers.captions import read_captions, read_references

    def read(path: Path) -> object:
        if path.stem.startswith("given"):
            return read_captions(path)
        return read_references(path, strict=False)

    rows = [(f"{n}.jpg", f"a dog number {n} <unk> runs") for n in range(6)]
    coco = {
        "images": [{"id": n, "file_name": name} for n, (name, _) in enumerate(rows)],
        "annotations": [{"image_id": n, "id": n, "caption": text} for n, (_, text) in enumerate(rows)],
    }
    texts = {
        "table.csv": "image,caption\n" + "".join(f'{name},"{text}, ""now"""\n' for name, text in rows),
        "table.tsv": "image\tcaption\n" + "".join(f"{name}\t{text}\n" for name, text in rows),
        "tokens.txt": "".join(f"{name}#{n}\t{text}\n" for n in range(2) for name, text in rows),
        "lines.jsonl": "".join(json.dumps({"image": name, "captions": [text]}) + "\n" for name, text in rows),
        "coco.json": json.dumps(coco),
        "mapping.json": json.dumps(dict(rows)),
        "given.json": json.dumps([{"image_id": n, "caption": text} for n, (_, text) in enumerate(rows)]),
        "karpathy.json": json.dumps(
            {"images": [{"filename": a, "split": "train", "sentences": [{"raw": b}]} for a, b in rows]}
        ),
    }
    seeds = {name: text.encode() for name, text in texts.items()}
    return Kind({**seeds, "table.parquet": _parquet(rows)}, read, is_text=True)


def _parquet(rows: list[tuple[str, str]]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    buffer = io.BytesIO()
    names, texts = zip(*rows, strict=True)
    parquet.write_table(pa.table({"image": names, "caption": texts}), buffer)
    return buffer.getvalue()


def boxes(folder: Path) -> Kind:
    from wordgaze.data.readers.boxes import coco_boxes, flickr30k_boxes

    sentences = folder / "entities" / "Sentences"
    sentences.mkdir(parents=True, exist_ok=True)
    (folder / "entities" / "Annotations").mkdir(exist_ok=True)

    def read(path: Path) -> object:
        if path.suffix == ".json":
            return coco_boxes(path)
        is_xml = path.suffix == ".xml"
        (sentences / "1.txt").write_bytes(seeds["1.txt"] if is_xml else path.read_bytes())
        (sentences.parent / "Annotations" / "1.xml").write_bytes(path.read_bytes() if is_xml else seeds["1.xml"])
        return flickr30k_boxes(sentences.parent)

    content = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 10, "height": 10}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2.5, 4, 4], "iscrowd": 0}],
    }
    seeds = {
        "instances.json": json.dumps(content).encode(),
        "1.xml": b"<annotation><object><name>7</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax>"
        b"<ymax>40</ymax></bndbox></object></annotation>",
        "1.txt": b"[/EN#7/people Two men] walk with [/EN#8/animals a dog] .\n",
    }
    return Kind(seeds, read, is_text=True)


def params(folder: Path) -> Kind:
    from wordgaze.config.params import load_params

    whole = (Path(__file__).parents[2] / "params.yaml").read_bytes()
    seeds = {"params.yaml": whole, "short.yaml": b"seed: 3\ndataset: &a\n  name: scenes\ntrain_stage1: {epochs: 2}\n"}
    return Kind(seeds, load_params, is_text=True)


def archives(folder: Path) -> Kind:
    from wordgaze.data.datasets.archives import extract, members
    from wordgaze.inference.uploads import pictures_of_zip

    files = {
        "a.jpg": b"\xff\xd8\xff" + bytes(300),
        "captions.csv": b"image,caption\na.jpg,a dog\n",
        "b/c.png": bytes(99),
    }

    def read(path: Path) -> object:
        into = folder / "unpacked"
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()
        names = members(path)
        extract(path, {name: into / str(n) for n, name in enumerate(names)}, lambda done, total: None)
        return [each.read() for each in pictures_of_zip(path, path.name).each] if path.suffix == ".zip" else names

    tar, packed = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in {**files, "long" * 40: b"x"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    plain = tar.getvalue()
    seeds = {
        "a.tar": plain,
        "a.tar.gz": gzip.compress(plain),
        "b.tgz": bz2.compress(plain),
        "c.tgz": lzma.compress(plain),
    }
    return Kind({**seeds, "a.zip": packed.getvalue()}, read)


def captioners(folder: Path) -> Kind:
    """The card and the weights of a tiny captioner, without the checksums, which would refuse every mutation."""
    from tests.chaos.flips import TinyProject
    from wordgaze.inference.captioner import Captioner

    TinyProject(folder / "project")
    source = folder / "project" / "captioner"
    seeds = {name: (source / name).read_bytes() for name in ("captioner.json", "weights.safetensors")}

    def read(path: Path) -> object:
        whole = folder / "mutated"
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir()
        for name, data in seeds.items():
            (whole / name).write_bytes(path.read_bytes() if name == path.name else data)
        captioner = Captioner.load(whole)
        return captioner.caption([Image.new("RGB", (64, 64), "red")])

    return Kind(seeds, read)


KINDS: dict[str, Callable[[Path], Kind]] = {
    each.__name__: each for each in (pictures, captions, boxes, params, archives, captioners)
}
