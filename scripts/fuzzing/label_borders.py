"""Where files of labels enter: of each place a small whole file, and its reader here."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzzing.border import Border, Reader, read_in, read_table, show_picture
from fuzzing.mutations import mutate_csv, mutate_json, mutate_parquet
from PIL import Image

from vjepa_wm.data.labelled.dense_labels import read_labels
from vjepa_wm.data.labelled.find_labelled import LabelOptions, find_labelled
from vjepa_wm.data.labelled.labelled_set import LabelError, TablePicture
from vjepa_wm.data.media.pictures import PictureError

KINETICS = "label,youtube_id,time_start,time_end,split"
EPIC = "video_id,start_timestamp,stop_timestamp,verb_class,noun_class,verb,noun"


def labels(name: str, *lines: str) -> Callable[[Path], Path]:
    """Return what writes a text file of labels, beside a file of the names of classes."""

    def make(folder: Path) -> Path:
        (folder / "names.txt").write_text("a\nb\nc\n")
        (folder / name).write_text("\n".join((*lines, "")))
        return folder / name

    return make


def something(folder: Path) -> Path:
    """Write labels as Something-Something v2 has them."""
    names = ("Holding something", "Moving something up", "Tearing something")
    entries = [{"id": str(k), "template": names[k % 3].replace("something", "[something]")} for k in range(6)]
    (folder / "labels.json").write_text(json.dumps({name: str(k) for k, name in enumerate(names)}))
    (folder / "train.json").write_text(json.dumps(entries))
    return folder / "train.json"


def pictures_with_labels(folder: Path) -> Path:
    """Write pictures and labels in a parquet file, as hubs have them."""
    cells = []
    for frame in np.full((6, 32, 48, 3), 90, np.uint8):
        file = BytesIO()
        Image.fromarray(frame).save(file, "png")
        cells.append({"bytes": file.getvalue(), "path": None})
    table = pa.table({"img": cells, "label": [0, 1, 2, 0, 1, 2]})
    pq.write_table(table, folder / "train-00000-of-00001.parquet")
    return folder / "train-00000-of-00001.parquet"


def patch_labels(name: str) -> Callable[[Path], Path]:
    """Return what writes the classes of a picture's pixels."""

    def make(folder: Path) -> Path:
        values = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32) % 5
        if name.endswith(".npy"):
            np.save(folder / name, values)
        else:
            Image.fromarray(values).save(folder / name)
        return folder / name

    return make


def _read_sets(name: str = ".", **options: Any) -> Reader:
    def read(folder: Path) -> None:
        """Read a training and a test set, and the pictures that lie in tables."""
        named = {key: folder / value if isinstance(value, str) else value for key, value in options.items()}
        for part in find_labelled(folder / name, LabelOptions(**named), 0):
            for item in part.items:
                if isinstance(item, TablePicture):
                    with suppress(PictureError):  # which are counted, one by one
                        item.read(item.index)

    return read


LINES = [f"{k}.mp4,{k % 3}" for k in range(6)]
CLIPS = [f"{k % 3},v{k},{k}.5,{k + 10}.0,train" for k in range(6)]
ACTIONS = [f"P01_{k},00:0{k}:01.50,00:0{k}:04.25,{k % 2},{k % 2},put,cup" for k in range(6)]
LABELS: tuple[tuple[str, Callable[[Path], Path], Reader, str | None], ...] = (
    ("labels", labels("list.csv", *LINES), _read_sets("list.csv"), None),
    ("labels with names", labels("list.csv", *LINES), _read_sets("list.csv", class_names="names.txt"), None),
    ("names", labels("list.csv", *LINES), _read_sets("list.csv", class_names="names.txt"), "names.txt"),
    ("labels, Kinetics", labels("k.csv", KINETICS, *CLIPS), _read_sets("k.csv"), None),
    ("labels, EPIC-KITCHENS", labels("e.csv", EPIC, *ACTIONS), _read_sets("e.csv"), None),
)
LABEL_BORDERS: dict[str, tuple[Border, ...]] = {
    "csv": (
        *(
            Border(name, make=make, read=read, errors=(LabelError,), file=file, mutate=mutate_csv)
            for name, make, read, file in LABELS
        ),
    ),
    "json": tuple(
        Border(
            name,
            make=something,
            read=_read_sets(),
            errors=(LabelError,),
            file=f"{name}.json",
            mutate=mutate_json,
            reference=lambda path: json.loads(path.read_bytes()),
        )
        for name in ("train", "labels")
    ),
    "parquet": (
        Border(
            "labels",
            make=pictures_with_labels,
            read=_read_sets(),
            errors=(LabelError,),
            mutate=mutate_parquet,
            reference=read_table,
        ),
    ),
    "picture": (
        Border(
            "classes of pixels",
            make=patch_labels("labels.png"),
            read=read_in(read_labels, "labels.png"),
            errors=(LabelError,),
            reference=show_picture,
        ),
    ),
}
"""By kind of file."""
