"""The second tab: many pictures at once, as a table that grows and as files."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import gradio as gr

from wordgaze.app.controls import UNSURE, Choices, read_controls
from wordgaze.app.handlers import jpeg_data_url
from wordgaze.app.service import CaptionService, check_cost
from wordgaze.core.errors import WordgazeError
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.caption_uploads import caption_uploads
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.comparison import preset_config
from wordgaze.inference.table import Row, write_table
from wordgaze.inference.uploads import Pictures, find_uploads

_NUM_SHOWN = 200  # rows on the page; the files have all
UPDATE_INTERVAL = 0.4  # seconds between two updates of the table
ENDINGS = (".csv", ".jsonl", ".parquet")
Shown = dict[str, Any]


class BatchHandlers:
    """The handlers of the tab."""

    def __init__(self, service: CaptionService) -> None:
        self.service = service

    def captions(self, paths: list[str] | None, *controls: Any) -> Iterator[tuple[Any, ...]]:
        """The table as it grows, and at the end a file of each kind. Several models caption as an ensemble."""
        closed = [gr.update(interactive=False, value=None) for _ in ENDINGS]
        shown: Shown = {"rows": [], "done": 0, "total": 0, "status": "Reading …"}
        yield shown, *closed
        try:
            rows: list[Row] = []
            for shown in self._rows(paths or [], controls, rows):
                yield shown, *closed
        except WordgazeError as error:
            yield {**shown, "status": str(error), "failed": True}, *closed
            return
        with TemporaryDirectory() as folder:
            names = [Path(folder) / f"captions{ending}" for ending in ENDINGS]
            for name in names:
                write_table(rows, name)
            yield shown, *[gr.update(interactive=True, value=str(name)) for name in names]

    def cancelled(self, shown: Shown | None) -> Shown | None:
        """The table of a batch that was ended; of one that had ended before, nothing is new."""
        if not shown or (shown["total"] and shown["done"] == shown["total"]) or shown.get("failed"):
            return shown
        return {**shown, "status": f"Cancelled after {shown['done']} of {_pictures(shown['total'])}."}

    def _rows(self, paths: list[str], controls: Any, rows: list[Row]) -> Iterator[Shown]:
        choices, cancel = read_controls(controls), Event()
        pictures = find_uploads([Path(path) for path in paths])
        captioners = [self.service.captioner(model) for model in choices.models]
        unsure_below = self.service.unsure_below(choices.models[0])
        lines: list[dict[str, Any]] = []
        updated = 0.0
        try:
            for row in caption_uploads(captioners, pictures, _config(choices, captioners), cancel, seed=choices.seed):
                answer = _answered(row, choices.min_confidence)
                rows.append(replace(answer, thumbnail=b""))
                lines += [_line(answer, unsure_below)] if len(lines) < _NUM_SHOWN else []
                if time.monotonic() - updated > UPDATE_INTERVAL:
                    yield _shown(lines, len(rows), pictures.total, f"{len(rows)} of {_pictures(pictures.total)}")
                    updated = time.monotonic()
        finally:
            cancel.set()
        yield _shown(lines, len(rows), pictures.total, _summary(rows, pictures))


def _config(choices: Choices, captioners: Sequence[Captioner]) -> GenerationConfig:
    """One caption by the first chosen strategy that every captioner supports. Raises ParamsError."""
    strategies = list(choices.strategies)
    for model, captioner in zip(choices.models, captioners, strict=True):
        supported = choices.supported(model, captioner.presets)
        strategies = [name for name in strategies if name in supported]
    name = (strategies or ["beam"])[0]
    config = preset_config(name, {**choices.settings, "num_return_sequences": 1})
    check_cost(config)
    return config


def _answered(row: Row, minimum: float) -> Row:
    """The row with ``unsure`` in place of a caption whose confidence is below the minimum."""
    withheld = row.confidence is not None and row.confidence < minimum
    return replace(row, caption=UNSURE) if withheld else row


def _summary(rows: Sequence[Row], pictures: Pictures) -> str:
    """One line on the finished batch: how many pictures were captioned, could not be opened, and were left out."""
    broken = sum(row.error is not None for row in rows)
    unsure = sum(row.caption == UNSURE for row in rows)
    line = f"{_pictures(len(rows) - broken)} captioned"
    line += f", {unsure} of them {UNSURE}" if unsure else ""
    line += f", {broken} could not be opened." if broken else "."
    line += f" The first {_NUM_SHOWN} are shown; the files have all." if len(rows) > _NUM_SHOWN else ""
    names = [name for name, _ in pictures.skipped]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return line + (f" Left out: {', '.join(names[:5])}{more}." if names else "")


def _pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"


def _line(row: Row, unsure_below: float) -> dict[str, Any]:
    picture = jpeg_data_url(row.thumbnail) if row.thumbnail else ""
    return {
        "name": row.name,
        "caption": row.caption,
        "p": row.probability,
        "confidence": row.confidence,
        "unsure": row.confidence is not None and row.confidence < unsure_below,
        "error": row.error,
        "picture": picture,
    }


def _shown(lines: list[dict[str, Any]], done: int, total: int, status: str) -> Shown:
    return {"rows": list(lines), "done": done, "total": total, "status": status}
