"""Trajectory data sets as scripts, merges and accidents leave them: small whole ones, then one thing changed."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from small_trajectories import make_dataset, write_foreign

ROWS, DATA = "meta/episodes/chunk-000/file-000.parquet", "data/chunk-000/file-000.parquet"
VIDEO = "videos/observation.images.top/chunk-000/file-000.mp4"


def write_foreign_set(root):
    write_foreign(root)
    return root


def info(**changes):
    """Change entries of meta/info.json."""

    def change(root):
        path = root / "meta/info.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def without(entry):
    """Leave an entry of meta/info.json out."""

    def change(root):
        path = root / "meta/info.json"
        content = json.loads(path.read_text())
        del content[entry]
        path.write_text(json.dumps(content))

    return change


def feature(name, **changes):
    """Change entries of a feature in meta/info.json."""

    def change(root):
        path = root / "meta/info.json"
        content = json.loads(path.read_text())
        content["features"][name] |= changes
        path.write_text(json.dumps(content))

    return change


def column(file, name, values):
    """Replace a column of a parquet file; None leaves it out, a function is given the old values."""

    def change(root):
        table = pq.ParquetFile(root / file).read()
        old = table.column(name).to_pylist()
        table = table.drop_columns(name)
        if values is not None:
            table = table.append_column(name, pa.array([values(value) for value in old]))
        pq.write_table(table, root / file)

    return change


def column_twice(file, name):
    """Put a column of a parquet file in once more."""

    def change(root):
        table = pq.ParquetFile(root / file).read()
        pq.write_table(table.append_column(name, table[name]), root / file)

    return change


def content(file, data):
    """Replace a file by any bytes."""

    def change(root):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(data)

    return change


def pipe_in_place_of(file):
    """Replace a file by a pipe that nobody writes into."""

    def change(root):
        (root / file).unlink()
        os.mkfifo(root / file)

    return change


def picture_set(root, encode):
    """Record the frames as pictures within the parquet file, each made by a function of its number to bytes."""
    write_foreign(root)
    feature("observation.images.top", dtype="image")(root)
    table = pq.ParquetFile(root / DATA).read()
    cells = [{"bytes": encode(k), "path": None} for k in range(len(table))]
    pq.write_table(table.append_column("observation.images.top", pa.array(cells)), root / DATA)
    return root


def set_with_bad_episodes(root, *numbers):
    """Record four episodes of which some have a state that is no number or a video that breaks off."""
    make_dataset(root)
    for number in numbers:
        if number % 2:
            path = next(root.glob(f"videos/*/chunk-000/file-{number:03d}.mp4"))
            path.write_bytes(path.read_bytes()[:-100])
        else:
            path = root / f"data/chunk-000/file-{number:03d}.parquet"
            table = pq.ParquetFile(path).read()
            states = np.array(table["observation.state"].to_pylist(), np.float32)
            states[2, 3] = np.nan
            place = table.column_names.index("observation.state")
            pq.write_table(table.set_column(place, "observation.state", pa.array(states.tolist())), path)
    return root
