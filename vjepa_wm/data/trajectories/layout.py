"""The layout of LeRobot v3 data sets: which file says what, and where each episode lies.

Why this file exists: training on actions, pretraining on the videos alone and the recorder all go by it.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow.parquet as pq

logger = logging.getLogger(__name__)

INFO_PATH = "meta/info.json"
STATS_PATH = "meta/stats.json"
TASKS_PATH = "meta/tasks.parquet"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."
ENVIRONMENT_STATE = "observation.environment_state"
VARIATION = "variation/"
"""What begins the names of the columns that this package adds to an episode's row: one per factor that can vary."""


class TrajectoryError(ValueError):
    """A folder that is not a data set this package can read; the message says what is wrong."""


def read_info(root: Path) -> dict:
    """Read what a data set says of itself.

    Args:
        root: folder of the data set.

    Returns:
        The content of meta/info.json.

    Raises:
        FileNotFoundError: if root is not a folder, or holds no meta/info.json.
        TrajectoryError: if the layout is of another version, or an entry that is needed is missing.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"folder of trajectories does not exist: {root}")
    if not (root / INFO_PATH).is_file():
        raise FileNotFoundError(f"not a LeRobot data set, {INFO_PATH} is missing in {root}")
    info = json.loads((root / INFO_PATH).read_text())
    version = info.get("codebase_version", "unknown")
    if not version.startswith("v3."):
        raise TrajectoryError(f"LeRobot version must be v3.x, got {version} in {root}; LeRobot's converter can lift it")
    missing = {"fps", "total_episodes", "features", "data_path"} - set(info)
    if missing:
        raise TrajectoryError(f"no {listed(missing)} in {root / INFO_PATH}; it has {listed(info)}")
    return info


def read_episode_rows(
    root: Path, num_episodes: int, *, with_stats: bool = False, columns: Sequence[str] | None = None
) -> list[dict]:
    """Read the rows that say where each episode lies.

    Args:
        root: folder of the data set.
        num_episodes: rows of episodes from this number on are what a killed recorder left behind, and are not read.
        with_stats: whether to read the columns of statistics too.
        columns: columns to read beside the number of the episode; None is all.

    Returns:
        One dict per episode, by column name, in order.

    Raises:
        TrajectoryError: if an episode has no row, or a column is missing.
    """
    rows = []
    for path in sorted((root / "meta/episodes").glob("chunk-*/file-*.parquet")):
        with pq.ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if with_stats or not name.startswith("stats/")]
            if columns is not None:
                check_columns(path, columns, names)
                names = ["episode_index", *columns]
            rows += file.read(names).to_pylist()
    rows = sorted((row for row in rows if row["episode_index"] < num_episodes), key=lambda row: row["episode_index"])
    if [row["episode_index"] for row in rows] != list(range(num_episodes)):
        raise TrajectoryError(f"meta/episodes must hold one row for each of {num_episodes} episodes, got {len(rows)}")
    return rows


def colour_cameras(root: Path, info: dict) -> dict[str, str]:
    """List the cameras of a data set; those for depth are left out, which is logged.

    Args:
        root: folder of the data set, for messages.
        info: what `read_info` returned.

    Returns:
        By feature name, how each is stored: "video", or "image" for pictures within the parquet files.

    Raises:
        TrajectoryError: if there is none.
    """
    features = info["features"]
    stored = {name: feature["dtype"] for name, feature in features.items() if feature["dtype"] in ("video", "image")}
    depth = [name for name in stored if _is_depth(features[name])]
    if depth:
        logger.info("depth cameras are left out: %s of %s", listed(depth), root)
    cameras = {name: kind for name, kind in stored.items() if name not in depth}
    if not cameras:
        raise TrajectoryError(f"no camera with colour pictures in {root}; it has {listed(features)}")
    return cameras


def _is_depth(feature: dict) -> bool:
    # LeRobot has written it in three places.
    info = feature.get("info") or feature.get("video_info") or {}
    return bool(info.get("is_depth_map") or info.get("video.is_depth_map"))


def video_cameras(root: Path, info: dict) -> list[str]:
    """List the cameras of a data set that are stored as video, as `colour_cameras` does.

    Raises:
        TrajectoryError: if there is none.
    """
    cameras = colour_cameras(root, info)
    videos = [name for name, kind in cameras.items() if kind == "video"]
    if not videos:
        raise TrajectoryError(
            f"{listed(cameras)} of {root} are stored as pictures within parquet files, which pretraining does not "
            "read; cameras must be stored as video (LeRobot can convert them)"
        )
    return videos


def element_names(feature: dict) -> tuple[str, ...]:
    """Return what the numbers of a column are called; where LeRobot's list or dict does not say, their places."""
    names = feature.get("names") or ()
    if isinstance(names, dict):
        groups = list(names.values())
        names = [name for group in groups for name in group] if all(isinstance(g, list) for g in groups) else names
    size = math.prod(feature["shape"])
    return tuple(map(str, names)) if len(names) == size else tuple(map(str, range(size)))


def video_columns(camera: str) -> tuple[str, ...]:
    """Return the columns of an episode's row that say where its video lies."""
    return tuple(f"videos/{camera}/{name}" for name in ("chunk_index", "file_index", "from_timestamp", "to_timestamp"))


def episode_video(info: dict, camera: str, row: dict) -> tuple[str, float, float]:
    """Say where an episode's video lies.

    Args:
        info: what `read_info` returned.
        camera: feature name of the camera.
        row: the episode's row, as from `read_episode_rows`.

    Returns:
        File, relative to the data set's folder, and the times in it from which and before which its frames lie [s].
    """
    chunk, file, start_s, end_s = (row[column] for column in video_columns(camera))
    name = info["video_path"].format(video_key=camera, chunk_index=chunk, file_index=file)
    # Half a frame early, so that rounded time stamps of neighbours fall clearly on one side.
    early_s = 0.5 / float(info["fps"])
    return name, start_s - early_s, end_s - early_s


def check_columns(path: Path, wanted: Sequence[str], names: Sequence[str]) -> None:
    """Raise a TrajectoryError unless a parquet file with columns of these names has all the wanted ones."""
    missing = set(wanted) - set(names)
    if missing:
        raise TrajectoryError(f"no column {listed(missing)} in {path}; it has {listed(names)}")


def listed(names: Iterable[str]) -> str:
    """Return names as a text for people."""
    return ", ".join(sorted(names))
