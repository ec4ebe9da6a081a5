"""Arrays on disk that only ever grow.

Why this file exists: latents of a data set that is still being recorded are added to while trainings read what is
there. The file of an array is its rows, one after the other, and nothing else: a header with their number would have to
change under a reader's eyes. How many rows count is noted elsewhere, once they are on the disk; what a killed process
left behind them is cut off by the next one that adds some.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vjepa_wm.safe_files import named


class DamagedRowsError(ValueError):
    """A file holds fewer rows than it should; the message names it."""


@dataclass(frozen=True, kw_only=True)
class RowForm:
    """What every row of an array is."""

    dtype: np.dtype
    """Number format."""
    shape: tuple[int, ...]
    """Of one row."""

    @classmethod
    def of(cls, values: np.ndarray) -> RowForm:
        """Return the form of the rows of an array (rows, ...)."""
        return cls(dtype=values.dtype, shape=values.shape[1:])

    @property
    def num_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * self.dtype.itemsize

    def to_json(self) -> dict[str, Any]:
        """Return it as json has it; plain formats only."""
        return {"dtype": self.dtype.name, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> RowForm:
        """Read what `to_json` returned.

        Raises:
            ValueError: if it is something else.
        """
        form = cls(dtype=np.dtype(str(content["dtype"])), shape=tuple(content["shape"]))
        if form.dtype.kind != "f" or not all(type(size) is int and 0 < size < 2**31 for size in form.shape):
            raise ValueError(f"no array of numbers has rows of {content}")
        return form


def map_rows(path: Path, form: RowForm, num_rows: int) -> np.memmap:
    """Map the first rows of a file into memory, to be read, (num_rows, ...).

    Raises:
        DamagedRowsError: if there are not so many.
    """
    _check_size(path, form, num_rows)
    return np.memmap(path, dtype=form.dtype, mode="r", shape=(num_rows, *form.shape))


class RowFile:
    """The file of an array, open for more rows; one process at a time."""

    def __init__(self, path: Path, form: RowForm, num_rows: int) -> None:
        """Open or make the file, and cut off what lies behind the rows that count.

        Args:
            path: the file.
            form: of its rows.
            num_rows: how many count.

        Raises:
            DamagedRowsError: if there are not so many.
        """
        if num_rows:
            _check_size(path, form, num_rows)
        self._path, self._form = path, form
        self._file = path.open("r+b" if path.exists() else "w+b")
        with named(path):
            self._file.truncate(num_rows * form.num_bytes)
        self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> RowFile:
        """Return the file itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        with named(self._path):  # what a full disk has no room for is tried once more
            self._file.close()

    def append(self, rows: np.ndarray) -> None:
        """Add rows (added, ...) of the file's form."""
        assert RowForm.of(rows) == self._form
        with named(self._path):
            self._file.write(np.ascontiguousarray(rows).tobytes())

    def save(self) -> None:
        """Return when all rows are on the disk."""
        with named(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())


def _check_size(path: Path, form: RowForm, num_rows: int) -> None:
    wanted, found = num_rows * form.num_bytes, path.stat().st_size if path.is_file() else 0
    if found < wanted:
        raise DamagedRowsError(f"{path} is damaged: {found} bytes in place of {wanted}")
