"""The files of a trajectory data set, each written beside its place and put there only when complete.

Why this file exists: a recorder may be killed at any moment, and what is under a file's name must be whole.

Letters: T frames of an episode, D numbers of a column.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TASK_COLUMN = "__index_level_0__"


def to_arrow(values: np.ndarray) -> pa.Array:
    """Return a column of numbers (T,) or of equally long lists (T, D)."""
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def tasks_table(tasks: list[str]) -> pa.Table:
    """Make the table of tasks; its reader expects the task's text as the index of a pandas table."""
    index = TASK_COLUMN
    number = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    text = {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": [index],
        "column_indexes": [text | {"field_name": None, "metadata": {"encoding": "UTF-8"}}],
        "columns": [number | {"metadata": None}, text | {"metadata": None}],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), index: pa.array(tasks, pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def read_tasks(path: Path) -> list[str]:
    """Read the tasks in order from the file of a table as `tasks_table` makes it."""
    return pq.read_table(path)[TASK_COLUMN].to_pylist()


def write_table(path: Path, table: pa.Table) -> None:
    """Write a parquet file, and the folders it lies in."""
    file = pa.BufferOutputStream()
    pq.write_table(table, file)
    write_bytes(path, file.getvalue())


def write_json(path: Path, content: dict) -> None:
    """Write a json file, and the folders it lies in."""
    write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())


def write_bytes(path: Path, content: bytes | pa.Buffer) -> None:
    """Write a file, and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = unfinished_name(path)
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


def remove(path: Path) -> None:
    """Remove a file, finished or not, that may be there."""
    path.unlink(missing_ok=True)
    unfinished_name(path).unlink(missing_ok=True)


def unfinished_name(path: Path) -> Path:
    """Return the name that a file has while it is written."""
    return path.with_name(path.name + ".tmp")


class FolderLock:
    """Keeps other processes from writing into a folder, until it is released or this process ends, however it ends."""

    def __init__(self, path: Path):
        """Take the lock.

        Args:
            path: file to lock, made with the folders it lies in; it stays, since to remove it while another process
                waits for it would let two in.

        Raises:
            BlockingIOError: somebody else has the lock.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Let others write; does nothing the second time."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
