"""The second tab: many pictures at once, as a table that grows and as files."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import gradio as gr

from wordgaze.app.handlers import jpeg_data_url, read_controls
from wordgaze.app.service import CaptionService
from wordgaze.core.errors import WordgazeError
from wordgaze.generation.config import parse_generation_config
from wordgaze.inference.caption_uploads import caption_uploads
from wordgaze.inference.table import Row, write_table
from wordgaze.inference.uploads import find_uploads

_NUM_SHOWN = 200  # rows on the page; the files have all
UPDATE_INTERVAL = 0.4  # seconds between two updates of the table
ENDINGS = (".csv", ".jsonl", ".parquet")
Shown = dict[str, Any]


class BatchHandlers:
    """The handlers of the tab."""

    def __init__(self, service: CaptionService) -> None:
        self.service = service

    def captions(self, paths: list[str] | None, models: list[str], *controls: Any) -> Iterator[tuple[Any, ...]]:
        """The table as it grows, and at the end a file of each kind. Several models caption as an ensemble."""
        closed = [gr.update(interactive=False, value=None) for _ in ENDINGS]
        shown: Shown = {"rows": [], "done": 0, "total": 0, "status": "Reading …"}
        yield shown, *closed
        try:
            rows: list[Row] = []
            for shown in self._rows(paths or [], models, controls, rows):
                yield shown, *closed
        except WordgazeError as error:
            yield {**shown, "status": str(error)}, *closed
            return
        with TemporaryDirectory() as folder:
            names = [Path(folder) / f"captions{ending}" for ending in ENDINGS]
            for name in names:
                write_table(rows, name)
            yield shown, *[gr.update(interactive=True, value=str(name)) for name in names]

    def cancelled(self, shown: Shown | None) -> Shown | None:
        """The table of a batch that was ended."""
        return shown and {**shown, "status": f"Cancelled after {shown['done']} of {shown['total']}."}

    def _rows(self, paths: list[str], models: list[str], controls: Any, rows: list[Row]) -> Iterator[Shown]:
        (decode, seed), cancel = read_controls(controls), Event()
        pictures = find_uploads([Path(path) for path in paths])
        captioners = [self.service.captioner(model) for model in models]
        lines: list[dict[str, Any]] = []
        updated = 0.0
        try:
            for row in caption_uploads(
                captioners,
                pictures,
                parse_generation_config(**{**decode, "num_return_sequences": 1}),
                cancel,
                seed=seed,
            ):
                rows.append(replace(row, thumbnail=b""))
                lines += [_line(row)] if len(lines) < _NUM_SHOWN else []
                if time.monotonic() - updated > UPDATE_INTERVAL:
                    yield _shown(lines, len(rows), pictures.total, "")
                    updated = time.monotonic()
        finally:
            cancel.set()
        left_out = f" Left out: {', '.join(name for name, _ in pictures.skipped[:5])}." if pictures.skipped else ""
        more = f" The first {_NUM_SHOWN} are shown." if len(rows) > _NUM_SHOWN else ""
        yield _shown(lines, len(rows), pictures.total, f"{len(rows)} pictures.{more}{left_out}")


def _line(row: Row) -> dict[str, Any]:
    picture = jpeg_data_url(row.thumbnail) if row.thumbnail else ""
    return {"name": row.name, "caption": row.caption, "p": row.probability, "error": row.error, "picture": picture}


def _shown(lines: list[dict[str, Any]], done: int, total: int, status: str) -> Shown:
    return {"rows": list(lines), "done": done, "total": total, "status": status or f"{done} of {total}"}
