"""CIFAR-10 and CIFAR-100, as the python archive that its authors distribute and as parquet files of hubs.

Why this file exists: the archive is made of pickles, which can run any code. These are read by an unpickler that knows
arrays and nothing else.
"""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vjepa_wm.data.labelled.label_files import class_number
from vjepa_wm.data.labelled.labelled_set import LabelError, LabelledSet, TablePicture, single_question
from vjepa_wm.data.media.pictures import decode_picture

SIDE = 32
"""Of CIFAR's pictures [px]."""
_TRAIN, _TEST, _META = ("data_batch", "train"), ("test_batch", "test"), ("batches.meta", "meta")
_ARCHIVES = (".tar", ".tar.gz", ".tgz")
_LABEL_COLUMNS = ("label", "fine_label")
_IMAGE_COLUMNS = ("img", "image")
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Reads arrays, texts, numbers and containers of them; anything else is refused by its name."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what an array is made of."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it would run {module}.{name}; nothing was run")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_array_pickle(content: bytes, name: str) -> dict[str, Any]:
    """Read a pickled dictionary of arrays, lists and texts without running anything.

    Args:
        content: the pickle.
        name: what messages call it.

    Raises:
        LabelError: if it holds anything else, or is damaged.
    """
    try:
        found = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises whatever it stumbles over
        raise LabelError(f"{name} is refused: {str(error) or type(error).__name__}") from error
    if not isinstance(found, dict):
        raise LabelError(f"{name} must hold a dictionary, got a {type(found).__name__}")
    return found


def is_cifar(path: Path) -> bool:
    """Tell whether a path is CIFAR's python archive or the folder that it unpacks to."""
    if path.is_dir():
        return any((path / name).is_file() for name in _META)
    return path.name.lower().endswith(_ARCHIVES)


def read_cifar(path: Path) -> tuple[LabelledSet, LabelledSet]:
    """Read training and test set of CIFAR's python version.

    Args:
        path: the archive (.tar.gz), or the folder that it unpacks to.

    Raises:
        LabelError: if a file is missing, damaged, or holds more than arrays and texts.
    """
    files = {name: read_array_pickle(content, f"{path}/{name}") for name, content in _files(path)}
    meta = next((files[name] for name in _META if name in files), None)
    parts = [[files[name] for name in sorted(files) if name.startswith(names)] for names in (_TRAIN, _TEST)]
    if meta is None or not all(parts):
        raise LabelError(f"{path} must hold batches of CIFAR and their names, got {', '.join(files) or 'none of them'}")
    names = meta.get("label_names") or meta.get("fine_label_names")
    if not names:
        raise LabelError(f"{path} does not name its classes: label_names and fine_label_names are missing")
    train, test = (_join(path, names, batches) for batches in parts)
    return train, test


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of CIFAR's files."""
    wanted = (*_TRAIN, *_TEST, *_META)
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.is_file() and file.name.startswith(wanted):
                yield file.name, file.read_bytes()
        return
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name, packed = Path(member.name).name, archive.extractfile(member)
                if packed is not None and name.startswith(wanted):
                    yield name, packed.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise LabelError(f"{path} cannot be read as an archive: {error}") from error


def _join(path: Path, names: Sequence[str], batches: Sequence[dict[str, Any]]) -> LabelledSet:
    """Put batches end to end."""
    try:
        pixels = np.concatenate([np.asarray(batch["data"], np.uint8) for batch in batches])
        labels = np.concatenate([batch.get("labels") or batch["fine_labels"] for batch in batches]).astype(np.int64)
        pictures = pixels.reshape(len(labels), 3, SIDE, SIDE)
    except (KeyError, TypeError, ValueError) as error:
        raise LabelError(f"{path} holds no batches of CIFAR: {error}") from error

    def read(index: int) -> np.ndarray:
        """Return a picture."""
        return pictures[index].transpose(1, 2, 0)

    return _table(path, names, labels, read)


def _table(path: Path, names: Sequence[str], labels: np.ndarray, read: Callable[[int], np.ndarray]) -> LabelledSet:
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
        raise LabelError(f"{path} has {len(names)} classes, but labels from {labels.min()} to {labels.max()}")
    items = [TablePicture(path=path, index=index, read=read) for index in range(len(labels))]
    return single_question(str(path), tuple(names), items, labels.tolist())


def parquet_files(folder: Path, part: str) -> list[Path]:
    """Return the parquet files of a part, such as `train-00000-of-00001.parquet`, in the folder or one below."""
    return sorted((*folder.glob(f"{part}*.parquet"), *folder.glob(f"*/{part}*.parquet")))


def read_parquet(files: Sequence[Path], class_names: Sequence[str] | None = None) -> LabelledSet:
    """Read pictures and labels from parquet files as Hugging Face's hub has them.

    Args:
        files: of one part, in order.
        class_names: the classes by number; None: what the files say, else the numbers.

    Raises:
        LabelError: if a file is damaged, or has no column of pictures (`img`, `image`) or labels (`label`,
            `fine_label`).
    """
    contents: list[bytes] = []
    labels: list[int] = []
    names = class_names
    for path in files:
        try:
            table = pq.read_table(path)
            image = next(name for name in _IMAGE_COLUMNS if name in table.column_names)
            label = next(name for name in _LABEL_COLUMNS if name in table.column_names)
            contents += [cell["bytes"] for cell in table[image].to_pylist()]
            labels += [class_number(str(value), str(path)) for value in table[label].cast(pa.int64()).to_pylist()]
        except StopIteration:
            raise LabelError(f"{path} must have the columns img and label, got {table.column_names}") from None
        except LabelError:
            raise
        except (OSError, TypeError, KeyError, ValueError, pa.ArrowException) as error:
            raise LabelError(f"{path} cannot be read as pictures and labels: {error}") from error
        names = names or _stated_names(table.schema.metadata or {}, label)

    def read(index: int) -> np.ndarray:
        """Return a picture."""
        return decode_picture(contents[index], f"{files[0]}#{index}")

    numbers = np.array(labels, np.int64)
    return _table(files[0], names or [str(k) for k in range(int(numbers.max(initial=0)) + 1)], numbers, read)


def _stated_names(metadata: dict[bytes, bytes], label: str) -> list[str] | None:
    """Return the names of classes that Hugging Face's `datasets` notes in a file."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None
