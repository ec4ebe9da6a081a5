"""What a border is, a place where files of other people enter, and the readers that others trust."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from fuzzing.mutations import Mutation, mutate_bytes
from PIL import Image

from vjepa_wm.data.trajectories.parquet_tables import TASK_COLUMN

USED = {
    *("observation.state", "action", "timestamp", "frame_index", "episode_index", "observation.images.front"),
    *("length", "tasks", "img", "label", "data/chunk_index", "data/file_index", TASK_COLUMN),
}
Reader = Callable[[Path], object]
Errors = tuple[type[Exception], ...]


@dataclass(frozen=True)
class Border:
    """A place where files enter."""

    name: str
    """What enters there, among those of a kind."""
    make: Callable[[Path], Path]
    """Writes what is whole into a folder, and returns the file that is then changed."""
    read: Reader
    """Reads the folder as the package does."""
    errors: Errors
    """What a file that is refused raises."""
    file: str | None = None
    """The file that is changed, within what `make` wrote; None: what it returned."""
    mutate: Mutation = mutate_bytes
    """Changes the file's content."""
    reference: Reader | None = None
    """Raises if the changed file is broken, by a reader that others trust."""


def read_in(reader: Callable[[Path], object], name: str) -> Reader:
    """Return a reader of a folder that reads a file in it."""
    return lambda folder: reader(folder / name)


def show_picture(path: Path) -> None:
    """Decode a picture."""
    with Image.open(path) as picture:
        picture.verify()
    with Image.open(path) as picture:
        picture.load()


def read_table(path: Path) -> None:
    """Read the columns that are read here too; the others may be broken."""
    with pq.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if name in USED or name.startswith("videos/")]
        file.read(names).validate(full=True)
