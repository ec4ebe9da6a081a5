"""The files of a trajectory data set, each written beside its place and put there only when complete.

Why this file exists: a recorder may be killed at any moment, and what is under a file's name must be whole.

Letters: T frames of an episode, D numbers of a column.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def to_arrow(values: np.ndarray) -> pa.Array:
    """Return a column of numbers (T,) or of equally long lists (T, D)."""
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def tasks_table(tasks: list[str]) -> pa.Table:
    """Make the table of tasks; its reader expects the task's text as the index of a pandas table."""
    index = "__index_level_0__"
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


def write_table(path: Path, table: pa.Table) -> None:
    """Write a parquet file, and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".tmp")
    pq.write_table(table, unfinished)
    os.replace(unfinished, path)


def write_json(path: Path, content: dict) -> None:
    """Write a json file, and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(unfinished, path)
