"""Columns that cannot be what they say are refused by name, not trained on. A case is one line."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_trajectories import write_foreign

from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.layout import TrajectoryError

COUNT = np.concatenate([np.arange(length) for length in (4, 6, 5)])
CASES = [
    ("frame_index", [0] * 15, "frame_index of episode 0 of .* must rise by one"),
    ("frame_index", (2 * COUNT).tolist(), "frame_index of episode 0 of .* must rise by one"),
    ("timestamp", (COUNT / 30).tolist(), "timestamp must agree with the fps 10 .* lasts 0.1 s in place of 0.3 s"),
    ("timestamp", [float("nan")] * 15, "timestamp must agree with the fps 10"),
    ("action", [[str(k)] for k in range(15)], "column 'action' of .* must hold numbers, got string"),
    ("action", [[1e300]] * 15, "action must be finite, got .*inf"),
    ("observation.state", [[1.0, 1e39]] * 15, "state must be finite, got .*inf"),
]


@pytest.mark.parametrize(("column", "values", "message"), CASES, ids=lambda value: str(value)[:30])
def test_what_cannot_be_is_refused(column, values, message, tmp_path):
    write_foreign(tmp_path)
    path = tmp_path / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    table = table.drop_columns([column]) if column in table.column_names else table
    pq.write_table(table.append_column(column, pa.array(values)), path)
    info = json.loads((tmp_path / "meta/info.json").read_text())
    info["features"].setdefault(column, {"dtype": "float32", "shape": [1], "names": None})
    (tmp_path / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(TrajectoryError, match=message):
        TrajectoryDataset(tmp_path).episode(0)


def test_right_time_stamps_are_no_mistake(tmp_path):
    write_foreign(tmp_path)
    path = tmp_path / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("timestamp", pa.array(COUNT / 10 + 0.004 * (COUNT % 2))), path)
    info = json.loads((tmp_path / "meta/info.json").read_text())
    info["features"]["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    (tmp_path / "meta/info.json").write_text(json.dumps(info))
    assert len(TrajectoryDataset(tmp_path).episode(1).frames) == 6
