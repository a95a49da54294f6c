"""The second tab: many pictures at once, as a table that grows and as files."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr

from wordgaze.app.controls import Choices, read_controls, with_labels
from wordgaze.app.event_values import one_line_errors, shown_error
from wordgaze.app.handlers import jpeg_data_url
from wordgaze.app.service import UNSURE_BELOW, CaptionService, checked_strategy_config
from wordgaze.core.errors import ImageError, ParamsError, WordgazeError
from wordgaze.core.leftovers import temporary_folder
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.caption_uploads import caption_uploads
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.table import Row, write_table
from wordgaze.inference.uploads import Pictures, find_uploads

_NUM_SHOWN = 200  # rows on the page; the files have all
UPDATE_INTERVAL = 0.4  # seconds between two updates of the table
MAX_PICTURES = 10_000
"""Of a batch, all its files and zips together."""

MAX_BATCHES = 2
"""In progress at the same time; the next one waits. Each holds some pictures in memory."""

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
            if not paths:
                raise ImageError("there are no pictures; choose some, a folder or a zip first")
            rows: list[Row] = []
            with one_line_errors():
                for shown in self._rows(paths, controls, rows):
                    yield shown, *closed
        except WordgazeError as error:
            yield {**shown, "status": with_labels(shown_error(error)), "failed": True}, *closed
            return
        with temporary_folder() as folder:
            names = [folder / f"captions{ending}" for ending in ENDINGS]
            for name in names:
                write_table(rows, name)
            yield shown, *[gr.update(interactive=True, value=str(name)) for name in names]

    def cancelled(self, shown: Shown | None) -> Shown | None:
        """The table of a batch that was ended; of one that had ended before, nothing is new."""
        if not shown or shown.get("failed"):
            return shown
        done, total = shown.get("done"), shown.get("total")
        if not isinstance(done, int) or not isinstance(total, int) or (total and done == total):
            return shown
        return {**shown, "status": f"Cancelled after {done} of {_pictures(total)}."}

    def _rows(self, paths: list[str], controls: Any, rows: list[Row]) -> Iterator[Shown]:
        choices, cancel = read_controls(controls), Event()
        pictures = find_uploads([Path(path) for path in paths])
        if pictures.total > MAX_PICTURES:
            raise ParamsError(f"{pictures.total} pictures are more than the {MAX_PICTURES} of a batch; split them")
        captioners = [self.service.captioner(model) for model in choices.models]
        lines: list[dict[str, Any]] = []
        updated = 0.0
        try:
            for row in caption_uploads(captioners, pictures, _config(choices, captioners), cancel, seed=choices.seed):
                withheld = row.confidence is not None and row.confidence < choices.min_confidence
                answer = replace(row, caption="") if withheld else row
                rows.append(replace(answer, thumbnail=b""))
                lines += [_line(answer)] if len(lines) < _NUM_SHOWN else []
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
    return checked_strategy_config(captioners[0], name, {**choices.settings, "num_return_sequences": 1})


def _summary(rows: Sequence[Row], pictures: Pictures) -> str:
    """One line on the finished batch: how many pictures were captioned, could not be opened, and were left out."""
    broken = sum(row.error is not None for row in rows)
    unsure = sum(_is_withheld(row) for row in rows)
    line = f"{_pictures(len(rows) - broken)} captioned"
    line += f", {unsure} of them unsure" if unsure else ""
    unlike = sum(row.is_outlier is True for row in rows)
    line += f", {unlike} unlike the pictures of the captioner's training" if unlike else ""
    line += f", {broken} could not be opened." if broken else "."
    line += f" The first {_NUM_SHOWN} are shown; the files have all." if len(rows) > _NUM_SHOWN else ""
    names = [name for name, _ in pictures.skipped]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return line + (f" Left out: {', '.join(names[:5])}{more}." if names else "")


def _is_withheld(row: Row) -> bool:
    """Whether the caption was left out because its confidence is below the minimum."""
    return not row.caption and row.error is None and row.confidence is not None


def _pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"


def _line(row: Row) -> dict[str, Any]:
    picture = jpeg_data_url(row.thumbnail) if row.thumbnail else ""
    return {
        "name": row.name,
        "caption": "unsure" if _is_withheld(row) else row.caption,
        "p": row.probability,
        "confidence": row.confidence,
        "unsure": row.confidence is not None and row.confidence < UNSURE_BELOW,
        "unlike": row.is_outlier,
        "error": row.error,
        "picture": picture,
    }


def _shown(lines: list[dict[str, Any]], done: int, total: int, status: str) -> Shown:
    return {"rows": list(lines), "done": done, "total": total, "status": status}
