"""Recorder of robot trajectories in LeRobot v3 layout.

Why this file exists: episodes recorded here open in LeRobot's own tools. Each episode gets its own parquet file and one
mp4 file per camera, which the layout allows, because then a recorder that is killed has damaged nothing: every file
appears under its name only when complete, and meta/info.json, replaced last, says how many episodes count.

Letters: T frames of an episode, H height, W width, P state, A action, E numbers that say where objects are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa

from vjepa_wm.checks import check_positive
from vjepa_wm.data.trajectories.encoded_trajectory import EncodedTrajectory, check_trajectory, encode_trajectory
from vjepa_wm.data.trajectories.episode_files import (
    episode_columns,
    episode_files,
    episode_row,
    episode_stats,
    row_stats,
    stats_columns,
)
from vjepa_wm.data.trajectories.info_file import new_info, settings
from vjepa_wm.data.trajectories.layout import (
    IMAGES,
    INFO_PATH,
    STATS_PATH,
    TASKS_PATH,
    VARIATION,
    TrajectoryError,
    read_episode_rows,
    read_info,
)
from vjepa_wm.data.trajectories.metadata_checks import is_count, open_parquet
from vjepa_wm.data.trajectories.parquet_tables import read_tasks, tasks_table, to_arrow, write_table
from vjepa_wm.data.trajectories.stats import FeatureStats, check_recorded_stats, merge_all, read_stats, to_lists
from vjepa_wm.safe_files import FolderInUseError, FolderLock, remove_file, unfinished_name, write_bytes, write_json

STATE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
ACTION_NAMES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "dgripper")
CHUNK_SIZE = 1000
LOCK_PATH = "meta/.lock"


class TrajectoryWriter:
    """Records episodes into a new data set, or appends them to one it has written before.

    Only one writer at a time can have a folder open: close it, or use it in a `with` statement.

    Attributes:
        root: folder of the data set.
        fps: frames, and actions, per second.
        image_size: (H, W) of the cameras.
        cameras: their names.
        state_names: what the numbers of a state are.
        action_names: what the numbers of an action are.
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
        cameras: Sequence[str] = ("front",),
        state_names: Sequence[str] = STATE_NAMES,
        action_names: Sequence[str] = ACTION_NAMES,
        object_names: Sequence[str] = (),
        robot_type: str = "franka",
    ):
        """Make the folder, or open the data set that is in it, and put right what a killed recorder left there.

        Args:
            root: folder to write into.
            fps: frames, and actions, per second.
            image_size: (H, W) of the cameras, or one number for a square [pixels].
            cameras: their names.
            state_names: what the numbers of a state are; DROID's pose, xyz [m], extrinsic xyz Euler angles [rad],
                gripper 0 open to 1 closed, unless said otherwise.
            action_names: what the numbers of an action are; displacements of DROID's pose unless said otherwise.
            object_names: what the numbers of the column `observation.environment_state` say of the objects in the
                scene; empty: there is no such column.
            robot_type: name of the robot, for readers.

        Raises:
            ValueError: if fps, image_size or cameras breaks its rule.
            TrajectoryError: if the data set in the folder has other settings, the folder holds other things, or another
                writer has it open.
        """
        check_positive(fps=fps)
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        if height < 2 or width < 2 or height % 2 or width % 2:
            raise ValueError(f"image_size must be even and at least 2 for mp4, got {(height, width)}")
        if isinstance(cameras, str) or not cameras or len(set(cameras)) < len(cameras):
            raise ValueError(f"cameras must be a list of different names, at least one, got {cameras!r}")
        self.root = Path(root)
        self.fps = fps
        self.image_size = (height, width)
        self.cameras = tuple(cameras)
        self.state_names, self.action_names = tuple(state_names), tuple(action_names)
        self.object_names = tuple(object_names)
        self._info = new_info(
            fps=fps,
            image_size=self.image_size,
            cameras=cameras,
            state_names=state_names,
            action_names=action_names,
            object_names=object_names,
            robot_type=robot_type,
            chunk_size=CHUNK_SIZE,
        )
        self._tasks: list[str] = []
        self._factors: list[str] = []
        self._stats: dict[str, FeatureStats] = {}
        self._open()

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
        """Let other writers open the folder; every episode is already complete on disk."""
        self._lock.release()

    def add_episode(
        self,
        frames: np.ndarray | Mapping[str, np.ndarray],
        states: np.ndarray,
        actions: np.ndarray,
        task: str,
        *,
        objects: np.ndarray | None = None,
        variation: Mapping[str, str] | None = None,
    ) -> None:
        """Encode and write one episode; it counts once this returns.

        Args:
            frames: uint8 RGB, (T, H, W, 3); with several cameras a dict of such, by the camera's name.
            states: state of the robot at each frame, (T, P), in the units of `state_names`.
            actions: action from each frame to the next, (T, A), in the units of `action_names`; the last row is zeros.
            task: what the episode shows, in words.
            objects: where the objects are at each frame, (T, E); None without `object_names`.
            variation: the value of each factor that can vary between episodes, by their names; the same factors in all
                episodes of a data set.

        Raises:
            ValueError: if an array has a wrong shape or type or holds NaN or infinity, the last action is not zero, or
                the factors are others than those of the episodes before.
        """
        if not isinstance(frames, Mapping):
            frames = {self.cameras[0]: frames}
        encoded = encode_trajectory(frames, states, actions, task, objects=objects, variation=variation, fps=self.fps)
        self.add_encoded(encoded)

    def add_encoded(self, trajectory: EncodedTrajectory) -> None:
        """Write one episode whose videos are encoded; it counts once this returns.

        Args:
            trajectory: what `encode_trajectory` made, at this data set's rate.

        Raises:
            ValueError: if `add_episode` would refuse the episode.
            OSError: if it cannot be written, or the data set was deleted meanwhile.
        """
        check_trajectory(
            trajectory,
            cameras=self.cameras,
            image_size=self.image_size,
            state_names=self.state_names,
            action_names=self.action_names,
            object_names=self.object_names,
        )
        self._lock.check()
        factors = sorted(trajectory.variation)
        if self.num_episodes and factors != self._factors:
            raise ValueError(f"variation must have the factors of the episodes before, {self._factors}, got {factors}")
        number, num_frames = self.num_episodes, self.num_frames + len(trajectory.states)
        tasks = self._tasks if trajectory.task in self._tasks else [*self._tasks, trajectory.task]
        counts = {"total_episodes": number + 1, "total_frames": num_frames, "total_tasks": len(tasks)}
        columns = episode_columns(trajectory, self._info, tasks.index(trajectory.task))
        stats = episode_stats(trajectory, columns, self._info)
        row = episode_row(trajectory, self._info, stats)

        files = episode_files(self.root, self._info, number)
        for camera, video in trajectory.videos.items():
            write_bytes(files[IMAGES + camera], video.content)
        write_table(files["data"], pa.table({name: to_arrow(values) for name, values in columns.items()}))
        write_table(files["episodes"], row)
        all_stats = merge_all(self._stats, stats)
        self._write_summary(tasks, all_stats)
        info = self._info | counts | {"splits": {"train": f"0:{number + 1}"}}
        write_json(self.root / INFO_PATH, info)
        self._lock.check()
        self._info, self._tasks, self._stats, self._factors = info, tasks, all_stats, factors

    def _write_summary(self, tasks: list[str], stats: dict[str, FeatureStats]) -> None:
        write_table(self.root / TASKS_PATH, tasks_table(tasks))
        write_json(self.root / STATS_PATH, to_lists(stats))

    def _open(self) -> None:
        """Lock the folder and take up what is in it."""
        begun = (self.root / INFO_PATH).exists() or not self.root.exists()
        if not begun and any(path.name not in ("meta", "data", "videos") for path in self.root.iterdir()):
            raise TrajectoryError(f"root must be a new or empty folder or a LeRobot v3 data set, got {self.root}")
        try:
            self._lock = FolderLock(self.root, LOCK_PATH)
        except FolderInUseError as error:
            raise TrajectoryError(str(error)) from error
        with ExitStack() as on_error:
            on_error.callback(self.close)
            if (self.root / INFO_PATH).exists():
                self._continue()
            on_error.pop_all()

    def _continue(self) -> None:
        """Take up the data set in the folder where it ended."""
        found = read_info(self.root)
        theirs, ours = settings(found), settings(self._info)
        for name in {**theirs, **ours}:
            if theirs.get(name) != ours.get(name):
                raise TrajectoryError(
                    f"{name} must be {theirs.get(name)} to append to {self.root}, got {ours.get(name)}"
                )
        for count in ("total_frames", "total_tasks"):
            if not is_count(found.get(count)):
                raise TrajectoryError(f"{count} must be a count in {self.root / INFO_PATH}, got {found.get(count)!r}")
        self._info = found
        if self.num_episodes:
            self._tasks, self._stats = self._read_summary()
        elif self.num_frames:
            raise TrajectoryError(f"{self.root / INFO_PATH} counts {self.num_frames} frames of no episode")
        # A recorder that was killed may have left files of an episode that does not count, and readers that take all
        # files of a folder would count it.
        for path in episode_files(self.root, self._info, self.num_episodes).values():
            remove_file(path)
        unfinished_name(self.root / INFO_PATH).unlink(missing_ok=True)
        if self.num_episodes:
            with open_parquet(episode_files(self.root, self._info, 0)["episodes"]) as file:
                names = file.schema_arrow.names
            self._factors = [name.removeprefix(VARIATION) for name in names if name.startswith(VARIATION)]
            self._write_summary(self._tasks, self._stats)

    def _read_summary(self) -> tuple[list[str], dict[str, FeatureStats]]:
        """Return tasks and statistics of the episodes that count."""
        tasks = read_tasks(self.root / TASKS_PATH)[: self._info["total_tasks"]]
        stats = read_stats(self.root / STATS_PATH)
        check_recorded_stats(stats, self._info, self.root / STATS_PATH)
        if stats["index"]["count"].tolist() != [self.num_frames]:
            # The recorder was killed after it had counted an episode there, before it had counted it for good.
            columns = stats_columns(self._info)
            rows = read_episode_rows(self.root, self.num_episodes, with_stats=True, columns=columns)
            parts = [row_stats(row, self._info, self.root / "meta/episodes") for row in rows]
            stats = reduce(merge_all, parts)
            if stats["index"]["count"].tolist() != [self.num_frames]:
                raise TrajectoryError(
                    f"total_frames is {self.num_frames} in {self.root / INFO_PATH}, the episodes have "
                    f"{stats['index']['count'].tolist()}"
                )
        return tasks, stats
