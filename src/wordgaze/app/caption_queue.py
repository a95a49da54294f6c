"""The images that wait for a caption by hand: a file beside the corrections, which ``wordgaze select`` writes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wordgaze.app.corrections import Corrections
from wordgaze.core.errors import DataError
from wordgaze.core.files import write_text


class CaptionQueue:
    """JSON lines with ``path``, ``checksum``, ``caption`` and ``confidence`` of each image, the most useful first.

    An image leaves the queue when there is a correction of it: the corrections say what is done, and so the file is
    only written by ``put``.
    """

    def __init__(self, path: Path, corrections: Corrections) -> None:
        self.path, self._corrections = path, corrections

    def put(self, images: Sequence[Mapping[str, Any]]) -> None:
        """Replaces the queue."""
        write_text(self.path, "".join(json.dumps(dict(each)) + "\n" for each in images))

    def waiting(self) -> list[dict[str, Any]]:
        """The images without a correction; none where there is no queue. Raises DataError for a broken file."""
        if not self.path.exists():
            return []
        done = {each.checksum for each in self._corrections.all()}
        try:
            rows = [json.loads(line) for line in self.path.read_text(encoding="utf-8").split("\n") if line]
            return [row for row in rows if row["checksum"] not in done]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.path} is not a queue ({error}); run wordgaze select again") from error
