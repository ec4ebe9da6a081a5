"""What the metadata of a LeRobot v3 data set must be before anything goes by it.

Why this file exists: data sets are edited by hand, merged by scripts and cut short by full disks. A wrong entry is
named here, with its file, instead of failing wherever it is used first.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vjepa_wm.safe_files import describe_start, load_json

MAX_NUMBERS = 1_000_000
"""Largest number of values in a row of a column that is taken for meant."""
MAX_FRAMES = 10_000_000
"""Largest number of frames of an episode that is taken for meant: four days at 30 a second."""
_MAX_SHOWN = 60
_LARGEST = 1e300  # what json has beyond does not fit into a float
_CAMERAS = ("video", "image")
_EPISODE_COUNTS = ("chunk_index", "file_index")


class TrajectoryError(ValueError):
    """A folder that is not a data set this package can read; the message says what is wrong."""


class EpisodeError(TrajectoryError):
    """An episode that cannot be read, in a data set that can.

    Attributes:
        number: of the episode in its data set.
    """

    def __init__(self, number: int, reason: Exception):
        """Take over the message of what was raised of it."""
        super().__init__(str(reason))
        self.number = number

    def __reduce__(self) -> tuple:
        return type(self), (self.number, Exception(*self.args))


def listed(names: Iterable[str]) -> str:
    """Return names as a text for people."""
    return ", ".join(sorted(names))


def is_count(value: object, least: int = 0) -> bool:
    """Tell whether a value is a whole number, at least `least`; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: object) -> bool:
    """Tell whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def read_json_object(path: Path) -> dict:
    """Read a json file that holds an object.

    Raises:
        TrajectoryError: if it holds something else or is damaged.
    """
    try:
        content = load_json(path)
    except ValueError as error:
        raise TrajectoryError(str(error)) from error
    if not isinstance(content, dict):
        raise TrajectoryError(f"{path} must hold a json object, got a {type(content).__name__}")
    return content


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a parquet file; turn what goes wrong within the context into a TrajectoryError.

    Raises:
        FileNotFoundError: if there is no such file.
        TrajectoryError: if it is damaged, has a column twice, or is no file (a pipe would be waited for without end).
    """
    if not path.exists():
        raise FileNotFoundError(f"parquet file does not exist: {path}")
    if not path.is_file():
        raise TrajectoryError(f"not a file: {path}")
    try:
        with pq.ParquetFile(path) as file:
            twice = [name for name, count in Counter(file.schema_arrow.names).items() if count > 1]
            if twice:
                raise TrajectoryError(f"{path} must have each column once, got {listed(twice)} twice")
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrajectoryError(f"cannot read {path} as parquet{describe_start(path) or f': {reason}'}") from error


def check_info(info: dict, path: Path) -> None:
    """Check what a data set says of itself.

    Args:
        info: content of meta/info.json.
        path: the file, for messages.

    Raises:
        TrajectoryError: if the layout is of another version, or an entry that is needed is missing or wrong.
    """
    version = info.get("codebase_version", "unknown")
    if not isinstance(version, str) or not version.startswith("v3."):
        shown = version if isinstance(version, str) else _shown(version)
        raise TrajectoryError(f"LeRobot version must be v3.x, got {shown} in {path}; LeRobot's converter can lift it")
    missing = {"fps", "total_episodes", "features", "data_path"} - set(info)
    if missing:
        raise TrajectoryError(f"no {listed(missing)} in {path}; it has {listed(info)}")
    if not is_number(info["fps"]) or not info["fps"] > 0:
        raise TrajectoryError(f"fps must be a positive number in {path}, got {_shown(info['fps'])}")
    if not is_count(info["total_episodes"]):
        raise TrajectoryError(f"total_episodes must be a count in {path}, got {_shown(info['total_episodes'])}")
    features = info["features"]
    if not isinstance(features, dict):
        raise TrajectoryError(f"features must be an object by column in {path}, got {_shown(features)}")
    for name, feature in features.items():
        _check_feature(name, feature, path)
    _check_template(info, "data_path", "", path)
    for name, feature in features.items():
        if feature["dtype"] == "video":
            _check_template(info, "video_path", name, path)


def _check_feature(name: str, feature: object, path: Path) -> None:
    where = f"feature {name!r} of {path}"
    if not isinstance(feature, dict):
        raise TrajectoryError(f"{where} must be an object, got {_shown(feature)}")
    dtype, shape, names = feature.get("dtype"), feature.get("shape"), feature.get("names")
    if not isinstance(dtype, str):
        raise TrajectoryError(f"dtype must be a text in {where}, got {_shown(dtype)}")
    if not isinstance(shape, list) or not all(is_count(size, 1) for size in shape):
        raise TrajectoryError(f"shape must be a list of positive whole numbers in {where}, got {_shown(shape)}")
    if dtype not in _CAMERAS and math.prod(shape) > MAX_NUMBERS:
        raise TrajectoryError(f"shape must be at most {MAX_NUMBERS:,} numbers in {where}, got {_shown(shape)}")
    if not isinstance(names, list | dict | None):
        raise TrajectoryError(f"names must be a list, an object or null in {where}, got {_shown(names)}")
    for entry in ("info", "video_info"):
        if not isinstance(feature.get(entry), dict | None):
            raise TrajectoryError(f"{entry} must be an object in {where}, got {_shown(feature[entry])}")


def _check_template(info: dict, entry: str, camera: str, path: Path) -> None:
    """Check a pattern of file names, which must lead to files inside the data set's folder."""
    template = info.get(entry)
    try:
        name = template.format(video_key=camera, chunk_index=0, file_index=0) if isinstance(template, str) else ""
    except (LookupError, ValueError, TypeError, AttributeError):
        name = ""
    parts = PurePosixPath(name.replace("\\", "/"))
    if not name or "\0" in name or parts.is_absolute() or ".." in parts.parts:
        raise TrajectoryError(
            f"{entry} must be a path inside the data set made of video_key, chunk_index and file_index in {path}, "
            f"got {_shown(template)}"
        )


def check_episode_row(row: Mapping[str, object], columns: Iterable[str], path: Path) -> None:
    """Check what the row of an episode says of where it lies.

    Args:
        row: by column name.
        columns: those that are needed and there.
        path: the file, for messages.

    Raises:
        TrajectoryError: if a value is missing or of the wrong kind.
    """
    for column in columns:
        value, last = row[column], column.rpartition("/")[2]
        if column == "length" and not is_count(value, 1):
            rule = "a positive count"
        elif column == "length" and cast(int, value) > MAX_FRAMES:
            rule = f"at most {MAX_FRAMES:,}"
        elif (last in _EPISODE_COUNTS or column == "episode_index") and not is_count(value):
            rule = "a count"
        elif last in ("from_timestamp", "to_timestamp") and not is_number(value):
            rule = "a time in seconds"
        else:
            continue
        raise TrajectoryError(
            f"{column} must be {rule}, got {_shown(value)} for episode {_shown(row['episode_index'])} in {path}"
        )


def check_stats(content: Mapping[str, object], path: Path) -> None:
    """Check the form of statistics by feature and name.

    Raises:
        TrajectoryError: if they are not lists of numbers, each of one depth.
    """
    for name, feature in content.items():
        if not isinstance(feature, dict):
            raise TrajectoryError(f"statistics of {name!r} must be an object in {path}, got {_shown(feature)}")
        for stat, values in feature.items():
            try:
                kind = np.array(values).dtype.kind
            except (ValueError, OverflowError):
                kind = "O"
            if kind not in "biuf":
                raise TrajectoryError(f"{stat} of {name!r} must be numbers in {path}, got {_shown(values)}")


def check_columns(path: Path, wanted: Sequence[str], names: Sequence[str]) -> None:
    """Raise a TrajectoryError unless a parquet file with columns of these names has all the wanted ones."""
    missing = set(wanted) - set(names)
    if missing:
        raise TrajectoryError(f"no column {listed(missing)} in {path}; it has {listed(names)}")


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
