"""Recorder of robot trajectories in LeRobot v3 layout.

Why this file exists: episodes recorded here open in LeRobot's own tools. Each episode gets its own parquet and mp4
file, which the layout allows, because then a recorder that is killed has damaged nothing: every file appears under its
name only when complete, and meta/info.json, replaced last, says how many episodes count.

Letters: T frames of an episode, H height, W width, P state, A action.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vjepa_wm.data.trajectory_files import tasks_table, to_arrow, write_json, write_table
from vjepa_wm.data.trajectory_layout import (
    ACTION,
    DATA_PATH,
    ENVIRONMENT_STATE,
    EPISODES_PATH,
    IMAGES,
    INFO_PATH,
    STATE,
    STATS_PATH,
    TASKS_PATH,
    VIDEO_PATH,
    TrajectoryError,
    read_episode_rows,
    read_info,
)
from vjepa_wm.data.trajectory_stats import STATS, FeatureStats, image_stats, merge_all, vector_stats
from vjepa_wm.data.video import write_video

STATE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
ACTION_NAMES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "dgripper")
CHUNK_SIZE = 1000
COUNTERS = ("frame_index", "episode_index", "index", "task_index")


class TrajectoryWriter:
    """Records episodes into a new data set, or appends them to one it has written before.

    States are DROID's 7-D poses, actions DROID's 7-D displacements (see `STATE_NAMES`, `ACTION_NAMES`).

    Attributes:
        root: folder of the data set.
        fps: frames, and actions, per second.
        image_size: (H, W) of the camera.
        object_names: names of the numbers in `observation.environment_state`; empty: no such column.
        num_episodes: episodes in the data set so far.
        num_frames: frames in the data set so far.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        *,
        fps: float,
        image_size: int | tuple[int, int],
        robot_type: str = "franka",
        camera: str = "front",
        object_names: Sequence[str] = (),
    ):
        """Make the folder, or open the data set that is in it.

        Args:
            root: folder to write into.
            fps: frames, and actions, per second.
            image_size: (H, W) of the camera, or one number for a square [pixels].
            robot_type: name of the robot, for readers.
            camera: name of the camera.
            object_names: what the numbers of the column `observation.environment_state` say of the objects in the
                scene; empty: there is no such column.

        Raises:
            ValueError: fps or image_size breaks its rule.
            TrajectoryError: the data set in the folder has other settings, or the folder holds other things.
        """
        if not fps > 0:
            raise ValueError(f"fps must be positive, got {fps}")
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        if height < 2 or width < 2 or height % 2 or width % 2:
            raise ValueError(f"image_size must be even and at least 2 for mp4, got {(height, width)}")
        self.root = Path(root)
        self.fps = fps
        self.image_size = (height, width)
        self._video_key = IMAGES + camera
        self.object_names = tuple(object_names)
        self._info = self._new_info(robot_type)
        self._tasks: list[str] = []
        self._stats: dict[str, FeatureStats] = {}
        if (self.root / INFO_PATH).exists():
            self._continue()
        elif self.root.exists() and any(path.name not in ("meta", "data", "videos") for path in self.root.iterdir()):
            raise TrajectoryError(f"root must be a new or empty folder or a LeRobot v3 data set, got {self.root}")

    @property
    def num_episodes(self) -> int:
        """Episodes in the data set so far."""
        return self._info["total_episodes"]

    @property
    def num_frames(self) -> int:
        """Frames in the data set so far."""
        return self._info["total_frames"]

    def __enter__(self) -> TrajectoryWriter:
        """Return the writer itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the writer."""
        self.close()

    def close(self) -> None:
        """Do nothing more than mark the end: every episode is already complete on disk."""

    def add_episode(
        self,
        frames: np.ndarray,
        states: np.ndarray,
        actions: np.ndarray,
        task: str,
        *,
        objects: np.ndarray | None = None,
    ) -> None:
        """Write one episode; it counts once this returns.

        Args:
            frames: uint8 RGB, (T, H, W, 3).
            states: pose at each frame, (T, 7), xyz [m], extrinsic xyz Euler angles [rad], gripper 0 open to 1 closed.
            actions: displacement from each frame to the next, (T, 7), units as the states'; the last row is zeros.
            task: what the episode shows, in words.
            objects: poses of the objects at each frame, (T, len(object_names)); None without `object_names`.

        Raises:
            ValueError: an array has a wrong shape or type, holds NaN or infinity, or the last action is not zero.
        """
        if (objects is None) != (not self.object_names):
            raise ValueError(
                f"objects must be given when, and only when, the data set has {ENVIRONMENT_STATE}; its columns there "
                f"are {list(self.object_names)}, got {'none' if objects is None else 'some'}"
            )
        states, actions = np.asarray(states, np.float32), np.asarray(actions, np.float32)
        vectors = {"states": (states, STATE_NAMES), "actions": (actions, ACTION_NAMES)}
        if objects is not None:
            objects = np.asarray(objects, np.float32)
            vectors["objects"] = (objects, self.object_names)
        self._check(frames, vectors, task)
        number, length = self.num_episodes, len(frames)
        tasks = self._tasks if task in self._tasks else [*self._tasks, task]
        columns = self._columns(states, actions, objects, tasks.index(task))
        episode_stats = {name: vector_stats(values) for name, values in columns.items()}
        episode_stats[self._video_key] = image_stats(frames)
        stats = merge_all(self._stats, episode_stats)
        counts = {"total_episodes": number + 1, "total_frames": self.num_frames + length, "total_tasks": len(tasks)}
        info = self._info | counts | {"splits": {"train": f"0:{number + 1}"}}
        place = {"chunk_index": number // CHUNK_SIZE, "file_index": number % CHUNK_SIZE}

        write_video(self.root / VIDEO_PATH.format(video_key=self._video_key, **place), frames, self.fps)
        data = pa.table({name: to_arrow(values) for name, values in columns.items()})
        write_table(self.root / DATA_PATH.format(**place), data)
        row = self._episode_row(length, task, place, episode_stats)
        write_table(self.root / EPISODES_PATH.format(**place), row)
        write_table(self.root / TASKS_PATH, tasks_table(tasks))
        write_json(self.root / STATS_PATH, _to_lists(stats))
        write_json(self.root / INFO_PATH, info)
        self._info, self._tasks, self._stats = info, tasks, stats

    def _check(self, frames: np.ndarray, vectors: Mapping[str, tuple[np.ndarray, tuple[str, ...]]], task: str) -> None:
        expected = (*self.image_size, 3)
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != expected or len(frames) == 0:
            raise ValueError(
                f"frames must be uint8 (T, {', '.join(map(str, expected))}), got {frames.dtype} {frames.shape}"
            )
        for name, (values, names) in vectors.items():
            if values.shape != (len(frames), len(names)):
                raise ValueError(f"{name} must be {(len(frames), len(names))} for these frames, got {values.shape}")
            if not np.isfinite(values).all():
                row = int(np.argmin(np.isfinite(values).all(axis=1)))
                raise ValueError(f"{name} must be finite, got {values[row].tolist()} in row {row}")
        last = vectors["actions"][0][-1]
        if last.any():
            raise ValueError(f"the last row of actions must be zeros, as no frame follows it, got {last.tolist()}")
        if not task:
            raise ValueError("task must say what the episode shows, got an empty string")

    def _columns(
        self, states: np.ndarray, actions: np.ndarray, objects: np.ndarray | None, task_index: int
    ) -> dict[str, np.ndarray]:
        """Gather the columns of the episode's parquet file, each (T,) or (T, D)."""
        steps = np.arange(len(states))
        scene = {} if objects is None else {ENVIRONMENT_STATE: objects}
        return (
            {STATE: states, ACTION: actions}
            | scene
            | {
                "timestamp": (steps / self.fps).astype(np.float32),
                "frame_index": steps,
                "episode_index": np.full_like(steps, self.num_episodes),
                "index": steps + self.num_frames,
                "task_index": np.full_like(steps, task_index),
            }
        )

    def _episode_row(self, length: int, task: str, place: dict[str, int], stats: dict[str, FeatureStats]) -> pa.Table:
        """Make the episode's row of meta/episodes."""
        row: dict[str, Any] = {
            "episode_index": self.num_episodes,
            "tasks": [task],
            "length": length,
            "dataset_from_index": self.num_frames,
            "dataset_to_index": self.num_frames + length,
        }
        for owner in ("data", f"videos/{self._video_key}", "meta/episodes"):
            row |= {f"{owner}/{name}": value for name, value in place.items()}
        video = f"videos/{self._video_key}/"
        row |= {video + "from_timestamp": 0.0, video + "to_timestamp": length / self.fps}
        for name, feature in _to_lists(stats).items():
            row |= {f"stats/{name}/{stat}": feature[stat] for stat in STATS}
        return pa.Table.from_pylist([row])

    def _new_info(self, robot_type: str) -> dict:
        height, width = self.image_size
        fps = int(self.fps) if self.fps == int(self.fps) else self.fps
        video = {"video.height": height, "video.width": width, "video.channels": 3, "video.fps": fps}
        video |= {"video.codec": "h264", "video.pix_fmt": "yuv420p", "video.is_depth_map": False, "has_audio": False}
        camera = {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": video,
        }
        features = {
            STATE: {"dtype": "float32", "shape": [len(STATE_NAMES)], "names": list(STATE_NAMES)},
            ACTION: {"dtype": "float32", "shape": [len(ACTION_NAMES)], "names": list(ACTION_NAMES)},
        }
        if self.object_names:
            names = list(self.object_names)
            features[ENVIRONMENT_STATE] = {"dtype": "float32", "shape": [len(names)], "names": names}
        features |= {
            self._video_key: camera,
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        }
        features |= {name: {"dtype": "int64", "shape": [1], "names": None} for name in COUNTERS}
        return {
            "codebase_version": "v3.0",
            "robot_type": robot_type,
            "total_episodes": 0,
            "total_frames": 0,
            "total_tasks": 0,
            "chunks_size": CHUNK_SIZE,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": fps,
            "splits": {},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH,
            "features": features,
        }

    def _continue(self) -> None:
        """Take up the data set in the folder where it ended."""
        found = read_info(self.root)
        theirs, ours = _settings(found), _settings(self._info)
        for name in {**theirs, **ours}:
            if theirs.get(name) != ours.get(name):
                raise TrajectoryError(
                    f"{name} must be {theirs.get(name)} to append to {self.root}, got {ours.get(name)}"
                )
        self._info = found
        if self.num_episodes == 0:
            return
        rows = read_episode_rows(self.root, self.num_episodes, with_stats=True)
        # From the episodes, not from stats.json: a recorder killed between writing the two counted one too many there.
        self._stats = reduce(merge_all, [_row_stats(row, found["features"]) for row in rows])
        for row in rows:
            self._tasks += [task for task in row["tasks"] if task not in self._tasks]


def _settings(info: dict) -> dict[str, object]:
    """Gather what must not change within a data set."""
    settings = {name: info[name] for name in ("fps", "robot_type", "chunks_size", "data_path", "video_path")}
    return settings | {f"shape of {name}": feature["shape"] for name, feature in info["features"].items()}


def _row_stats(row: dict, features: dict) -> dict[str, FeatureStats]:
    return {name: {stat: np.array(row[f"stats/{name}/{stat}"]) for stat in STATS} for name in features}


def _to_lists(stats: dict[str, FeatureStats]) -> dict[str, dict[str, list]]:
    return {name: {stat: value.tolist() for stat, value in feature.items()} for name, feature in stats.items()}
