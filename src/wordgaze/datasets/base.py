"""The one interface of all data sets."""

from pathlib import Path
from typing import Protocol

from wordgaze.records import Record


class DataSet(Protocol):
    """One data set. ``collect`` is all that the pipeline asks of it."""

    name: str

    def collect(self, folder: Path) -> list[Record]:
        """Puts the pictures into ``folder/images`` and tells what is known of each.

        Records may name pictures that are missing or broken, and pictures may have no record: the audit that
        follows counts and drops both. Raises DataError where the source itself cannot be used.
        """
        ...
