"""The index of a feature store: where the features of an image are, in 30 bytes or so for each image."""

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wordgaze.core.errors import DataError
from wordgaze.core.files import atomic_write

INDEX = "index.parquet"

_COLUMNS = ("image", "shard", "row")


class FeatureIndex:
    """Image names, sorted, with the number of the shard and the row of each."""

    def __init__(self, names: NDArray[Any], shards: NDArray[np.int32], rows: NDArray[np.int32]) -> None:
        self.names, self.shards, self.rows = names, shards, rows

    def __len__(self) -> int:
        return len(self.names)

    @property
    def num_rows(self) -> int:
        """The number of different places: images with equal contents share one."""
        return len(np.unique(np.stack([self.shards, self.rows]), axis=1).T)

    def find(self, images: Sequence[str]) -> NDArray[np.int64]:
        """The positions of images in the index. Raises KeyError with the first one that is not in it."""
        # Not np.searchsorted, which finds wrong places for strings of more than 15 bytes (NumPy 2.4).
        found = np.array([bisect_left(self.names, image) for image in images], np.int64)
        for image, position in zip(images, found.tolist(), strict=True):
            if position == len(self.names) or self.names[position] != image:
                raise KeyError(image)
        return found

    def write(self, folder: Path) -> None:
        """Writes INDEX, atomically."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = [pa.array(self.names.tolist(), pa.string()), pa.array(self.shards), pa.array(self.rows)]
        with atomic_write(folder / INDEX) as temporary:
            pq.write_table(pa.table(dict(zip(_COLUMNS, columns, strict=True))), temporary)

    @classmethod
    def read(cls, folder: Path, remedy: str) -> "FeatureIndex":
        """Reads INDEX. Raises DataError, which ends with ``remedy``, if it is missing or not such an index."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = folder / INDEX
        try:
            with pq.ParquetFile(path) as file:
                table = file.read(list(_COLUMNS))
            names = np.array(table["image"].to_pylist(), dtype=np.dtypes.StringDType())
            places = [table[name].to_numpy().astype(np.int32, casting="safe") for name in _COLUMNS[1:]]
        except FileNotFoundError as error:
            raise DataError(f"{path} is missing; {remedy}") from error
        except (OSError, ValueError, TypeError, KeyError, pa.ArrowException) as error:
            raise DataError(f"{path} is not an index ({' '.join(str(error).split())}); {remedy}") from error
        if (names[1:] <= names[:-1]).any() or any((place < 0).any() for place in places):
            raise DataError(f"{path} is not an index (its names are not sorted, or a place is negative); {remedy}")
        return cls(names, *places)
