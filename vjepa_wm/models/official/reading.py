"""Foreign checkpoint files to dictionaries, safely: nothing in a file is ever run.

Two formats: PyTorch's `torch.save` files (a zip, or the pickle stream of old versions) and the weights of
Hugging Face's folders (safetensors, whole or in shards). The tensors stay on the disk until they are used, so reading a
file costs no memory. Every way in which a file can be broken has its own message.
"""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vjepa_wm.models.checkpoint import CONFIG_FILE, WEIGHTS_FILE, CheckpointError, read_json, read_tensors
from vjepa_wm.safe_files import guess_origin

INDEX_FILE = "model.safetensors.index.json"
_ZIP_START = b"PK"
_PICKLE_START = b"\x80"
_SHOWN_BYTES = 60
_AGAIN = "download it again"
_RECORD = re.compile(r"[^/]+/data/\d+")  # of the numbers of a tensor, in a zip file
# What reading a damaged pickle stream has been seen to raise.
_BROKEN = (
    RuntimeError,
    MemoryError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    OSError,
    struct.error,
    zipfile.BadZipFile,
)


class NumpyNumber:
    """Stands for a numpy number, such as the loss that a training script saved, and for its type.

    Nobody here needs the value, and numpy's own reading of a damaged file can crash the process.
    """

    def __init__(self, *parts: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


_STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (NumpyNumber, name) for name in ("numpy.dtype", "numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar")
]


def read_pt(path: str | Path) -> dict:
    """Read a `torch.save` file that holds nothing but tensors, numbers, texts and containers of them.

    Args:
        path: the file, usually `.pt`, `.pth` or `.pth.tar`.

    Returns:
        What was saved, numpy numbers replaced by `NumpyNumber`; its tensors are on the CPU and, for zip files, stay on
        the disk until they are used.

    Raises:
        CheckpointError: if the file is missing, empty, cut short, no PyTorch file, or would need code to be run.
    """
    path = Path(path)
    start = check_file(path)
    is_zip = start.startswith(_ZIP_START)
    with torch.serialization.safe_globals(_STAND_INS):
        if is_zip:
            check_zip(path)
            refuse_code(path, unsafe_globals(path))
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
        except pickle.UnpicklingError as error:
            refuse_code(path, re.findall(r"GLOBAL (\S+)", str(error)))
            raise CheckpointError(damaged(path, error)) from error
        except _BROKEN as error:
            raise CheckpointError(damaged(path, error)) from error
    if is_zip:
        _check_sizes(path, content)
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, but a checkpoint is a dictionary: save model.state_dict()"
        )
    return content


def check_file(path: Path) -> bytes:
    """Return the first bytes of a file that could be PyTorch's.

    Raises:
        CheckpointError: if the file is missing, empty, or begins as no PyTorch file does.
    """
    if not path.is_file():
        raise CheckpointError(f"no file at {path}")
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise CheckpointError(f"{path} is empty (0 bytes); the download failed, download it again")
    if start.startswith((_ZIP_START, _PICKLE_START)):
        return start
    if start[8:9] == b"{":
        raise CheckpointError(
            f"{path} is a safetensors file; name the folder that holds it together with its {CONFIG_FILE}"
        )
    shown = start[:_SHOWN_BYTES].decode("utf-8", errors="replace").strip()
    raise CheckpointError(f"{path} is not a PyTorch file: it begins with {shown!r}{guess_origin(start)}")


def check_zip(path: Path) -> None:
    """Raise CheckpointError unless the zip file is whole; the table of a zip stands at its end."""
    try:
        is_whole = zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        is_whole = False
    if not is_whole:
        raise CheckpointError(f"{path} is cut short: {path.stat().st_size} bytes, and its end is missing; {_AGAIN}")


def _check_sizes(path: Path, content: object) -> None:
    """Raise CheckpointError if a tensor is as long as no record of the zip file: it would read on in the next."""
    try:
        with zipfile.ZipFile(path) as archive:
            stated = Counter(one.file_size for one in archive.infolist() if _RECORD.fullmatch(one.filename))
    except _BROKEN as error:
        raise CheckpointError(damaged(path, error)) from error
    sizes = {storage.data_ptr(): storage.nbytes() for storage in _storages(content)}
    stray = sorted((Counter(sizes.values()) - stated).elements())
    if stray:
        raise CheckpointError(
            f"{path} is damaged: no part of it has the {stray[0]} bytes of one of its tensors; {_AGAIN}"
        )


def _storages(content: object) -> Iterator[torch.UntypedStorage]:
    """Yield the memory of all tensors in containers, which may hold each other, but for those without any."""
    left, seen = [content], set[int]()
    while left:
        part = left.pop()
        if isinstance(part, Tensor):
            if part.layout is torch.strided and not part.is_meta and part.untyped_storage().nbytes():
                yield part.untyped_storage()
        elif isinstance(part, dict | list | tuple) and id(part) not in seen:
            seen.add(id(part))
            left += part.values() if isinstance(part, dict) else part


def unsafe_globals(path: Path) -> list[str]:
    """Return the names of what a zip file would have to run, found without running it.

    Raises:
        CheckpointError: if the zip file is no PyTorch file, or damaged.
    """
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (*_BROKEN, pickle.UnpicklingError) as error:
        raise CheckpointError(damaged(path, error)) from error


def refuse_code(path: Path, names: list[str]) -> None:
    """Raise CheckpointError if `names`, the functions and classes a file wants to call, is not empty."""
    if not names:
        return
    raise CheckpointError(
        f"{path} is refused: besides tensors it holds {', '.join(sorted(set(names)))}, and loading it would run that "
        "code. Nothing was run. If you trust its author, make a plain file of it on a machine you can spare: "
        'torch.save(torch.load(path, weights_only=False)["..."].state_dict(), "plain.pt"), naming the model in it'
    )


def damaged(path: Path, error: Exception) -> str:
    """Return the message for a file that begins rightly but cannot be read."""
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if isinstance(error, EOFError) or "Weights only load failed" in reason:
        reason = "its content breaks off or is no PyTorch pickle"
    return f"{path} is damaged or not a PyTorch file ({path.stat().st_size} bytes): {reason}; {_AGAIN}"


def read_huggingface_weights(folder: Path) -> dict[str, Tensor]:
    """Read the weights in a model folder of Hugging Face transformers.

    Args:
        folder: holds `model.safetensors`, or shards with `model.safetensors.index.json`.

    Returns:
        The tensors by name, on the disk until they are used.

    Raises:
        CheckpointError: if a file is missing, cut short or damaged, or lies outside the folder.
    """
    if (folder / WEIGHTS_FILE).is_file():
        return read_tensors(folder / WEIGHTS_FILE)
    if not (folder / INDEX_FILE).is_file():
        old = sorted(path.name for path in folder.glob("pytorch_model*.bin"))
        hint = f"; its {', '.join(old)} is of an older format: save it again with a present transformers" if old else ""
        raise CheckpointError(
            f"{folder} has a {CONFIG_FILE} but no weights: {WEIGHTS_FILE} or {INDEX_FILE} is missing{hint}"
        )
    places = read_json(folder / INDEX_FILE).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise CheckpointError(f"{folder / INDEX_FILE} must map tensors to files under 'weight_map'")
    shards = sorted(set(places.values()))
    outside = [name for name in shards if name in ("", ".", "..") or set(name) & set("/\\\0") or len(name) > 200]
    if outside:
        raise CheckpointError(
            f"{folder / INDEX_FILE} must name files beside it, got {outside[0][:99]!r}: shards of other "
            "folders are not read"
        )
    absent = [name for name in shards if not (folder / name).is_file()]
    if absent:
        raise CheckpointError(
            f"{folder} misses {len(absent)} of {len(shards)} shards: {', '.join(absent)}; download them as well"
        )
    weights: dict[str, Tensor] = {}
    for name in shards:
        weights |= read_tensors(folder / name)
    return weights
