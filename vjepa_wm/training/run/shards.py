"""Tensors that many processes hold in parts, as files: each process writes its parts, any number of them reads.

A shard is a safetensors file; its header says of every part where in the whole tensor it begins. So what two processes
wrote is read by one or by eight, and nothing is ever unpickled.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate, Shard

from vjepa_wm.models.checkpoint import CheckpointError, write_tensors

HEADER_KEY = "parts"


@dataclass(frozen=True)
class Part:
    """What one process holds of a tensor."""

    local: Tensor
    """The values; they share memory with the tensor."""
    shape: tuple[int, ...]
    """Shape of the whole tensor."""
    offset: tuple[int, ...]
    """Where `local` begins in it."""
    holders: tuple[int, ...]
    """Ranks of the processes that hold the same values."""

    def copied(self) -> Part:
        """Return a copy in CPU memory, which later changes of the tensor do not reach."""
        return replace(self, local=torch.empty(self.local.shape, dtype=self.local.dtype).copy_(self.local))


@dataclass
class StoredTensor:
    """What a folder of shards holds of a tensor."""

    shape: tuple[int, ...]
    """Shape of the whole tensor."""
    dtype: torch.dtype
    """Type of its values."""
    found: int = 0
    """Number of its values in the shards; all, if the shards are whole."""


def part_of(value: Tensor, world_size: int) -> Part:
    """Return what this process holds of a tensor; one that is not a DTensor is the same in all processes.

    Raises:
        TypeError: if a DTensor is neither sharded evenly nor replicated.
    """
    if not isinstance(value, DTensor):
        return Part(value.detach(), tuple(value.shape), (0,) * value.dim(), tuple(range(world_size)))
    extent, offset, same = list(value.shape), [0] * value.dim(), []
    mesh = value.device_mesh
    coordinate = mesh.get_coordinate()
    assert coordinate is not None  # every process is in the mesh
    for size, place, placement in zip(mesh.shape, coordinate, value.placements, strict=True):
        if type(placement) not in (Replicate, Shard):  # kinds of Shard that interleave are classes of their own
            raise TypeError(f"a tensor must be placed by Shard or Replicate to be saved, got {value.placements}")
        same.append(slice(None) if isinstance(placement, Replicate) else place)
        if isinstance(placement, Shard):
            dim = placement.dim
            rows = math.ceil(extent[dim] / size)
            start = min(place * rows, extent[dim])
            extent[dim] = min(rows, extent[dim] - start)
            offset[dim] += start
    local = cast(DTensor, value.detach()).to_local()
    if list(local.shape) != extent:
        raise TypeError(f"a tensor must be sharded evenly to be saved: {tuple(extent)} expected, got {local.shape}")
    return Part(local, tuple(value.shape), tuple(offset), tuple(mesh.mesh[tuple(same)].flatten().tolist()))


def own_parts(parts: Mapping[str, Part], rank: int) -> dict[str, Part]:
    """Choose what a process writes, so that every value is written once and all processes write about as much.

    Every process decides alone and all come to the same, as those that hold the same parts meet them in one order.
    """
    loads: dict[tuple[int, ...], list[int]] = {}
    chosen = {}
    for name, part in sorted(parts.items()):
        load = loads.setdefault(part.holders, [0] * len(part.holders))
        writer = load.index(min(load))
        load[writer] += part.local.nbytes
        if part.holders[writer] == rank and (part.local.numel() or 0 in part.shape):
            chosen[name] = part
    return chosen


def write_shard(path: Path, parts: Mapping[str, Part]) -> None:
    """Write contiguous parts in CPU memory into one file, and return when the disk has it."""
    header = {
        name: {
            "shape": part.shape,
            "offset": part.offset,
            "dtype": str(part.local.dtype).removeprefix("torch."),
        }
        for name, part in parts.items()
    }
    write_tensors(path, {name: part.local for name, part in parts.items()}, {HEADER_KEY: json.dumps(header)})
    sync(path)


def sync(path: Path) -> None:
    """Return when the disk has a file, or the names in a folder."""
    if path.is_dir() and os.name != "posix":  # Windows cannot open folders
        return
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def read_index(paths: Iterable[Path]) -> dict[str, StoredTensor]:
    """Return what shards hold, by name.

    Raises:
        CheckpointError: if a shard is missing or damaged, or a tensor is not whole.
    """
    index: dict[str, StoredTensor] = {}
    for path in paths:
        with _opened(path) as (file, header):
            for name, place in header.items():
                stored = index.setdefault(name, StoredTensor(place.shape, place.dtype))
                stored.found += math.prod(file.get_slice(name).get_shape())
    broken = sorted(name for name, stored in index.items() if stored.found != math.prod(stored.shape))
    if broken:
        raise CheckpointError(
            f"{path.parent} is damaged: {len(broken)} tensors are not whole, the first is {broken[0]}"
        )
    return index


def read_parts(paths: Iterable[Path], parts: Mapping[str, Part]) -> None:
    """Fill parts in place from the shards that hold their tensors.

    Raises:
        CheckpointError: if a shard is missing or damaged.
    """
    for path in paths:
        with _opened(path) as (file, header):
            for name, place in header.items():
                _copy_overlap(file, name, place.offset, parts[name])


def _copy_overlap(file: safe_open, name: str, offset: tuple[int, ...], part: Part) -> None:
    """Copy what a stored part, which begins at `offset`, and `part` have in common."""
    stored = file.get_slice(name)
    shape = stored.get_shape()
    low = [max(pair) for pair in zip(offset, part.offset, strict=True)]
    high = [
        min(start + size, own_start + own_size)
        for start, size, own_start, own_size in zip(offset, shape, part.offset, part.local.shape, strict=True)
    ]
    if any(start >= end for start, end in zip(low, high, strict=True)):
        return
    source, target = (
        tuple(slice(start - first, end - first) for start, end, first in zip(low, high, begin, strict=True))
        for begin in (offset, part.offset)
    )
    whole = [rows.stop - rows.start for rows in source] == list(
        shape
    )  # also a tensor without dimensions, not sliceable
    part.local[target].copy_(file.get_tensor(name) if whole else stored[source])


class _Place(NamedTuple):
    """What the header of a shard says of a part."""

    shape: tuple[int, ...]
    """Shape of the whole tensor."""
    offset: tuple[int, ...]
    """Where the part begins in it."""
    dtype: torch.dtype
    """Type of its values."""


@contextmanager
def _opened(path: Path) -> Iterator[tuple[safe_open, dict[str, _Place]]]:
    """Open a shard; it is named by the error of a block that cannot read from it."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    try:
        with safe_open(path, framework="pt") as file:
            yield file, _read_header(file)
    except (SafetensorError, _HeaderError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


class _HeaderError(Exception):
    """The header of a shard does not say what is in it."""


def _read_header(file: safe_open) -> dict[str, _Place]:
    try:
        values = json.loads(file.metadata()[HEADER_KEY])
        return {
            name: _Place(tuple(place["shape"]), tuple(place["offset"]), getattr(torch, place["dtype"]))
            for name, place in values.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _HeaderError(f"its header does not say where its tensors belong ({error!r})") from error
