"""The layout of LeRobot v3 data sets: which file says what, and where each episode lies.

Why this file exists: training on actions, pretraining on the videos alone and the recorder all go by it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from vjepa_wm.data.trajectories.metadata_checks import (
    TrajectoryError,
    check_columns,
    check_episode_row,
    check_info,
    listed,
    open_parquet,
    read_json_object,
)

logger = logging.getLogger(__name__)

INFO_PATH = "meta/info.json"
STATS_PATH = "meta/stats.json"
TASKS_PATH = "meta/tasks.parquet"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."
ENVIRONMENT_STATE = "observation.environment_state"
EPISODE_COLUMNS = ("length", "data/chunk_index", "data/file_index")
"""Columns of an episode's row without which its numbers cannot be found."""
VARIATION = "variation/"
"""What begins the names of the columns that this package adds to an episode's row: one per factor that can vary."""


def read_info(root: Path) -> dict:
    """Read what a data set says of itself.

    Args:
        root: folder of the data set.

    Returns:
        The content of meta/info.json.

    Raises:
        FileNotFoundError: if root is not a folder, or holds no meta/info.json.
        TrajectoryError: if the layout is of another version, or an entry that is needed is missing or wrong.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"folder of trajectories does not exist: {root}")
    if not (root / INFO_PATH).is_file():
        raise FileNotFoundError(f"not a LeRobot data set, {INFO_PATH} is missing in {root}")
    info = read_json_object(root / INFO_PATH)
    check_info(info, root / INFO_PATH)
    return info


def read_episode_rows(
    root: Path, num_episodes: int, *, with_stats: bool = False, columns: Sequence[str] | None = None
) -> list[dict]:
    """Read the rows that say where each episode lies.

    Args:
        root: folder of the data set.
        num_episodes: rows of episodes from this number on are what a killed recorder left behind, and are not read.
        with_stats: whether to read the columns of statistics too.
        columns: columns to read beside the number of the episode; None is all, of which `EPISODE_COLUMNS` must be
            there.

    Returns:
        One dict per episode, by column name, in order.

    Raises:
        TrajectoryError: if an episode has no row, a file is damaged, or a column or value is missing or wrong.
    """
    rows: list[dict] = []
    needed = EPISODE_COLUMNS if columns is None else columns
    for path in sorted((root / "meta/episodes").glob("chunk-*/file-*.parquet")):
        with open_parquet(path) as file:
            names = [name for name in file.schema_arrow.names if with_stats or not name.startswith("stats/")]
            check_columns(path, ["episode_index", *needed], names)
            read = file.read(names if columns is None else ["episode_index", *columns]).to_pylist()
        for row in read:
            check_episode_row(row, ["episode_index", *needed], path)
        rows += read
    rows = sorted((row for row in rows if row["episode_index"] < num_episodes), key=lambda row: row["episode_index"])
    if len(rows) != num_episodes or any(row["episode_index"] != number for number, row in enumerate(rows)):
        raise TrajectoryError(
            f"meta/episodes must hold one row for each of {num_episodes} episodes, got {len(rows)} in {root}"
        )
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
