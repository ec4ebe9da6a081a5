"""The parquet files of a trajectory data set, as the recorder writes them.

Why this file exists: LeRobot reads its table of tasks with pandas, and its columns of lists in one form only.

Letters: T frames of an episode, D numbers of a column.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vjepa_wm.data.trajectories.metadata_checks import TrajectoryError, check_columns, open_parquet
from vjepa_wm.safe_files import write_bytes

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
    """Read the tasks in order from the file of a table as `tasks_table` makes it.

    Raises:
        FileNotFoundError: if there is none.
        TrajectoryError: if it is damaged or another table.
    """
    with open_parquet(path) as file:
        check_columns(path, [TASK_COLUMN], file.schema_arrow.names)
        tasks = file.read([TASK_COLUMN])[TASK_COLUMN].to_pylist()
    if not all(isinstance(task, str) for task in tasks):
        raise TrajectoryError(f"{TASK_COLUMN} must be texts in {path}")
    return tasks


def write_table(path: Path, table: pa.Table) -> None:
    """Write a parquet file, and the folders it lies in."""
    file = pa.BufferOutputStream()
    pq.write_table(table, file)
    write_bytes(path, memoryview(file.getvalue()))
