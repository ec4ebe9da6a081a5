"""Numbers out of the parquet files of a trajectory data set.

Why this file exists: recorders name, nest and type their columns in many ways; here any of them becomes an array.

Letters: T frames of an episode, D numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from vjepa_wm.data.trajectories.layout import element_names
from vjepa_wm.data.trajectories.metadata_checks import TrajectoryError, check_columns, listed, open_parquet

_NUMBERS = ("float", "int", "uint", "bool")


@dataclass(frozen=True, kw_only=True)
class ColumnPart:
    """Some numbers of a column."""

    column: str
    """Name of the column."""
    size: int
    """Numbers in every row of it."""
    ids: tuple[int, ...]
    """Places of the wanted ones, in the order wanted."""


def choose_numbers(
    root: Path, features: Mapping[str, dict], choices: Iterable[str], option: str
) -> tuple[ColumnPart, ...]:
    """Find numbers by the names of columns and of numbers within them.

    Args:
        root: folder of the data set, for messages.
        features: the columns, as meta/info.json describes them.
        choices: each the name of a column, or "column:x,y,6" for some numbers of it, by name or place.
        option: what the numbers are for, for messages.

    Returns:
        The parts, in the order of `choices`.

    Raises:
        TrajectoryError: if there is no such column or number, or the column does not hold numbers.
    """
    return tuple(_choose(root, features, choice, option) for choice in choices)


def _choose(root: Path, features: Mapping[str, dict], choice: str, option: str) -> ColumnPart:
    column, colon, elements = (choice, "", "") if choice in features else choice.rpartition(":")
    column = column or choice
    if column not in features:
        raise TrajectoryError(f"no column {column!r} for {option} in {root}; it has {listed(features)}")
    kind = features[column]["dtype"]
    if not kind.startswith(_NUMBERS):
        numbers = [name for name, feature in features.items() if feature["dtype"].startswith(_NUMBERS)]
        raise TrajectoryError(f"column {column!r} of {root} must hold numbers, got {kind}; {listed(numbers)} do")
    names = element_names(features[column])
    if not colon:
        return ColumnPart(column=column, size=len(names), ids=tuple(range(len(names))))
    places = {str(k): k for k in range(len(names))} | {name: k for k, name in enumerate(names)}
    unknown = [name for name in elements.split(",") if name not in places]
    if unknown:
        raise TrajectoryError(
            f"no number {unknown[0]!r} in column {column!r} of {root}; it has {', '.join(names)}, and by place 0 to "
            f"{len(names) - 1}"
        )
    return ColumnPart(column=column, size=len(names), ids=tuple(places[name] for name in elements.split(",")))


def join_numbers(columns: Mapping[str, np.ndarray], parts: Sequence[ColumnPart], root: Path) -> np.ndarray:
    """Put chosen numbers side by side.

    Args:
        columns: numbers of a column by its name, (T, D) or (T,).
        parts: what to take.
        root: folder of the data set, for messages.

    Returns:
        float64, (T, numbers of all parts).

    Raises:
        TrajectoryError: if a column has another number of numbers than meta/info.json says.
    """
    chosen = []
    for part in parts:
        values = columns[part.column].reshape(len(columns[part.column]), -1)
        if values.shape[1] != part.size:
            raise TrajectoryError(
                f"column {part.column!r} must have the {part.size} numbers a row that {root / 'meta/info.json'} says, "
                f"got {values.shape[1]}"
            )
        chosen.append(values[:, part.ids])
    return np.concatenate(chosen, axis=1).astype(np.float64)


def read_columns(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read columns of numbers.

    Args:
        path: parquet file.
        names: columns.

    Returns:
        By name: (rows,) for plain numbers, (rows, D) for lists of D, however they are nested.

    Raises:
        FileNotFoundError: if there is no such file.
        TrajectoryError: if the file is damaged, or a column is missing, has gaps, lists of different lengths, or other
            things than numbers.
    """
    with open_parquet(path) as file:
        check_columns(path, names, file.schema_arrow.names)
        table = file.read(list(names))
    return {name: _to_numpy(table.column(name).combine_chunks(), f"column {name!r} of {path}") for name in names}


def _to_numpy(array: pa.Array, label: str) -> np.ndarray:
    num_rows, nested = len(array), False
    array = array.storage if isinstance(array.type, pa.BaseExtensionType) else array
    while pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_fixed_size_list(array.type):
        if array.null_count:
            break
        array, nested = array.flatten(), True
    if array.null_count:
        raise TrajectoryError(f"{label} must have a value in every row, got {array.null_count} without")
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    if not any(is_kind(array.type) for is_kind in kinds):
        raise TrajectoryError(f"{label} must hold numbers, got {array.type}")
    if nested and num_rows and len(array) % num_rows:
        raise TrajectoryError(f"{label} must hold equally long lists, got {len(array)} numbers in {num_rows} rows")
    values = array.to_numpy(zero_copy_only=False)
    if values.dtype.kind not in "biuf":
        raise TrajectoryError(f"{label} must hold numbers, got {array.type}")
    return values.reshape(num_rows, -1 if num_rows else 0) if nested else values
