"""The files of one episode that is recorded here: where they lie and what is in them.

Why this file exists: LeRobot's readers want counters in every row of numbers, and a row per episode that says which
files it is in and what its statistics are.

Letters: T frames of an episode, D numbers of a column.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vjepa_wm.data.trajectories.encoded_trajectory import EncodedTrajectory
from vjepa_wm.data.trajectories.layout import (
    ACTION,
    DATA_PATH,
    ENVIRONMENT_STATE,
    EPISODES_PATH,
    IMAGES,
    STATE,
    VARIATION,
    VIDEO_PATH,
)
from vjepa_wm.data.trajectories.metadata_checks import check_stats
from vjepa_wm.data.trajectories.stats import (
    STATS,
    FeatureStats,
    check_recorded_stats,
    to_arrays,
    to_lists,
    vector_stats,
)


def episode_files(root: Path, info: dict, number: int) -> dict[str, Path]:
    """Say where the files of an episode lie.

    Args:
        root: folder of the data set.
        info: content of meta/info.json.
        number: of the episode.

    Returns:
        The videos by feature name, its numbers as `data`, its row as `episodes`.
    """
    place = _place(info, number)
    paths = {camera: VIDEO_PATH.format(video_key=camera, **place) for camera in _cameras(info)}
    paths |= {"data": DATA_PATH.format(**place), "episodes": EPISODES_PATH.format(**place)}
    return {name: root / path for name, path in paths.items()}


def episode_columns(trajectory: EncodedTrajectory, info: dict, task_index: int) -> dict[str, np.ndarray]:
    """Gather the columns of the next episode's parquet file.

    Args:
        trajectory: what is recorded.
        info: content of meta/info.json, which does not count the episode yet.
        task_index: place of its task among those of the data set.

    Returns:
        By name, (T,) or (T, D).
    """
    steps = np.arange(len(trajectory.states))
    scene = {} if trajectory.objects is None else {ENVIRONMENT_STATE: trajectory.objects}
    counters = {
        "timestamp": (steps / info["fps"]).astype(np.float32),
        "frame_index": steps,
        "episode_index": np.full_like(steps, info["total_episodes"]),
        "index": steps + info["total_frames"],
        "task_index": np.full_like(steps, task_index),
    }
    return {STATE: trajectory.states, ACTION: trajectory.actions} | scene | counters


def episode_stats(trajectory: EncodedTrajectory, columns: dict[str, np.ndarray], info: dict) -> dict[str, FeatureStats]:
    """Take the statistics of an episode by feature, in the order of the features."""
    found = {name: vector_stats(values) for name, values in columns.items()}
    found |= {IMAGES + camera: video.stats for camera, video in trajectory.videos.items()}
    return {name: found[name] for name in info["features"]}


def episode_row(trajectory: EncodedTrajectory, info: dict, stats: dict[str, FeatureStats]) -> pa.Table:
    """Make the row of the next episode.

    Args:
        trajectory: what is recorded.
        info: content of meta/info.json, which does not count the episode yet.
        stats: its statistics by feature name.
    """
    number, start, length = info["total_episodes"], info["total_frames"], len(trajectory.states)
    row: dict[str, Any] = {
        "episode_index": number,
        "tasks": [trajectory.task],
        "length": length,
        "dataset_from_index": start,
        "dataset_to_index": start + length,
    }
    videos = [f"videos/{camera}" for camera in _cameras(info)]
    for owner in ("data", *videos, "meta/episodes"):
        row |= {f"{owner}/{name}": value for name, value in _place(info, number).items()}
    for video in videos:
        row |= {f"{video}/from_timestamp": 0.0, f"{video}/to_timestamp": length / info["fps"]}
    row |= {VARIATION + factor: trajectory.variation[factor] for factor in sorted(trajectory.variation)}
    for name, feature in to_lists(stats).items():
        row |= {f"stats/{name}/{stat}": feature[stat] for stat in STATS}
    return pa.Table.from_pylist([row])


def stats_columns(info: dict) -> list[str]:
    """Return the columns of an episode's row that hold its statistics."""
    return [f"stats/{name}/{stat}" for name in info["features"] for stat in STATS]


def row_stats(row: dict, info: dict, path: Path) -> dict[str, FeatureStats]:
    """Take the statistics by feature out of a row, as `read_episode_rows` reads it.

    Raises:
        TrajectoryError: if they are others than `episode_stats` makes; `path` is where the row lies.
    """
    content = {name: {stat: row[f"stats/{name}/{stat}"] for stat in STATS} for name in info["features"]}
    check_stats(content, path)
    stats = to_arrays(content)
    check_recorded_stats(stats, info, path)
    return stats


def _cameras(info: dict) -> list[str]:
    return [name for name, feature in info["features"].items() if feature["dtype"] == "video"]


def _place(info: dict, number: int) -> dict[str, int]:
    """Return which file of each kind an episode is in: one of its own."""
    return {"chunk_index": number // info["chunks_size"], "file_index": number % info["chunks_size"]}
