"""Robot trajectories read from LeRobot v3 data sets.

Why this file exists: data from real robots comes in this layout (parquet for numbers, mp4 for cameras, json and parquet
for what is where), and ours is written in it too, so both enter action-conditioned training by the same door. Several
episodes may share a parquet or mp4 file; every episode's row says which file and which part of it.

Letters: T frames of an episode, H height, W width, P state, A action.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vjepa_wm.data.trajectory_layout import (
    ACTION,
    ENVIRONMENT_STATE,
    IMAGES,
    STATE,
    STATS_PATH,
    TrajectoryError,
    check_columns,
    episode_video,
    listed,
    read_episode_rows,
    read_info,
    video_cameras,
)
from vjepa_wm.data.trajectory_stats import FeatureStats
from vjepa_wm.data.video import read_frames


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One recorded episode.

    Attributes:
        frames: camera images, uint8 RGB, (T, H, W, 3).
        states: robot state at each frame, float32 (T, P).
        actions: action that moves frame t to frame t + 1, float32 (T, A); the last row moves nothing.
        task: what the episode shows, in words.
        index: number of the episode in its data set.
        objects: poses of the objects in the scene at each frame, float32 (T, E); None where no column has them.
    """

    frames: np.ndarray
    states: np.ndarray
    actions: np.ndarray
    task: str
    index: int
    objects: np.ndarray | None = None


class TrajectoryDataset:
    """Episodes of a LeRobot v3 data set, or of a part of it.

    Attributes:
        root: folder of the data set.
        fps: frames, and actions, per second.
        camera: feature name of the camera that is read.
        episodes: numbers of the episodes in this part, increasing.
        lengths: frames of each of them.
        object_names: names of the numbers in the column `observation.environment_state`; empty without that column.
        stats: statistics of the whole data set by feature and name, as its recorder wrote them; empty without any.
    """

    def __init__(self, root: str | os.PathLike, *, camera: str | None = None, episodes: Sequence[int] | None = None):
        """Open a data set; frames and numbers are read when an episode is asked for.

        Args:
            root: folder holding meta/, data/ and videos/.
            camera: camera to read, "observation.images.front" or just "front"; None is the only one there is.
            episodes: numbers of the episodes to use; None is all.

        Raises:
            FileNotFoundError: root is not a folder, or holds no meta/info.json.
            TrajectoryError: another version of the layout, a missing column, an unknown camera, or no episode.
        """
        self.root = Path(root)
        self._info = read_info(self.root)
        self.fps = float(self._info["fps"])
        self.camera = self._choose_camera(camera)
        for name in (STATE, ACTION):
            if name not in self._info["features"]:
                raise TrajectoryError(f"no column {name!r} in {self.root}; it has {listed(self._info['features'])}")
        self.object_names = _object_names(self._info)
        rows = read_episode_rows(self.root, self._info["total_episodes"])
        self._rows = {row["episode_index"]: row for row in rows}
        self.episodes = sorted(self._rows if episodes is None else episodes)
        unknown = [number for number in self.episodes if number not in self._rows]
        if unknown:
            raise TrajectoryError(f"episodes must be from 0 to {len(rows) - 1} in {self.root}, got {unknown[:5]}")
        if not self.episodes:
            raise TrajectoryError(f"no episode in {self.root}")
        self.lengths = [self._rows[number]["length"] for number in self.episodes]
        self.stats = _read_stats(self.root)
        self._table: tuple[Path, dict[str, np.ndarray]] | None = None

    @property
    def num_episodes(self) -> int:
        """Number of episodes in this part."""
        return len(self.episodes)

    def __len__(self) -> int:
        """Count the episodes in this part."""
        return self.num_episodes

    def episode(self, i: int) -> Episode:
        """Read one episode.

        Args:
            i: its place in this part, 0 to num_episodes - 1.

        Returns:
            Frames, states, actions, task and, where there are any, objects.

        Raises:
            IndexError: i is out of range.
            TrajectoryError: the files hold another number of frames than the episode's row says.
            VideoError: the video cannot be decoded.
        """
        row = self._row(i)
        numbers = self._numbers(row)
        frames = self._frames(row)
        for name, count in (("parquet file", len(numbers[STATE])), ("video", len(frames))):
            if count != row["length"]:
                raise TrajectoryError(
                    f"episode {row['episode_index']} of {self.root} has {row['length']} frames, its {name} {count}"
                )
        return Episode(
            frames=frames,
            states=numbers[STATE],
            actions=numbers[ACTION],
            task=", ".join(row["tasks"]),
            index=row["episode_index"],
            objects=numbers.get(ENVIRONMENT_STATE),
        )

    def objects(self, i: int) -> np.ndarray | None:
        """Read where the objects of one episode are, without its frames.

        Args:
            i: its place in this part, 0 to num_episodes - 1.

        Returns:
            Poses at each frame, float32 (T, E); None where no column has them.

        Raises:
            IndexError: i is out of range.
        """
        return self._numbers(self._row(i)).get(ENVIRONMENT_STATE)

    def windows(self, num_frames: int) -> list[tuple[int, int]]:
        """List every stretch of consecutive frames within one episode.

        Args:
            num_frames: frames of a stretch.

        Returns:
            (place of the episode in this part, first frame); its actions between frames are the first num_frames - 1.

        Raises:
            ValueError: no episode is that long, or num_frames is not positive.
        """
        if num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, got {num_frames}")
        windows = [(i, start) for i, length in enumerate(self.lengths) for start in range(length - num_frames + 1)]
        if not windows:
            raise ValueError(f"num_frames must be at most {max(self.lengths)}, the longest episode, got {num_frames}")
        return windows

    def split(self, val_share: float, seed: int) -> tuple[TrajectoryDataset, TrajectoryDataset]:
        """Divide the episodes at random into two parts.

        Args:
            val_share: share of the episodes that goes to the second part, between 0 and 1, rounded to whole episodes.
            seed: the same seed gives the same parts.

        Returns:
            Training part and validation part.

        Raises:
            ValueError: a part would be empty.
        """
        num_val = round(val_share * self.num_episodes)
        if not 0 < num_val < self.num_episodes:
            raise ValueError(
                f"val_share must leave at least one of {self.num_episodes} episodes in each part, got {val_share}"
            )
        order = np.random.default_rng(seed).permutation(self.episodes).tolist()
        train, val = (
            TrajectoryDataset(self.root, camera=self.camera, episodes=part)
            for part in (order[num_val:], order[:num_val])
        )
        return train, val

    def _row(self, i: int) -> dict:
        if not 0 <= i < self.num_episodes:
            raise IndexError(f"i must be from 0 to {self.num_episodes - 1}, got {i}")
        return self._rows[self.episodes[i]]

    def _choose_camera(self, camera: str | None) -> str:
        cameras = video_cameras(self.root, self._info)
        found = [name for name in cameras if camera is None or camera in (name, name.removeprefix(IMAGES))]
        if len(found) == 1:
            return found[0]
        given = "a camera must be named" if camera is None else f"unknown camera {camera!r}"
        raise TrajectoryError(f"{given} for {self.root}; known cameras: {listed(cameras)}")

    def _numbers(self, row: dict) -> dict[str, np.ndarray]:
        """Read an episode's states, actions and objects; the file last read is kept, as it often holds the next too."""
        names = (STATE, ACTION, ENVIRONMENT_STATE) if self.object_names else (STATE, ACTION)
        place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        path = self.root / self._info["data_path"].format(**place)
        if self._table is None or self._table[0] != path:
            self._table = path, _read_columns(path, (*names, "episode_index", "frame_index"))
        columns = self._table[1]
        ids = np.flatnonzero(columns["episode_index"] == row["episode_index"])
        ids = ids[np.argsort(columns["frame_index"][ids])]
        return {name: columns[name][ids].astype(np.float32) for name in names}

    def _frames(self, row: dict) -> np.ndarray:
        name, start_s, end_s = episode_video(self._info, self.camera, row)
        return read_frames(self.root / name, start_s, end_s)[0]


def _object_names(info: dict) -> tuple[str, ...]:
    """Return the names in the objects' column; LeRobot lets them be a list, a dict of lists, or nothing."""
    feature = info["features"].get(ENVIRONMENT_STATE)
    if feature is None:
        return ()
    names = feature.get("names")
    if isinstance(names, dict):
        names = [name for group in names.values() for name in group]
    return tuple(names or (str(k) for k in range(feature["shape"][0])))


def _read_stats(root: Path) -> dict[str, FeatureStats]:
    path = root / STATS_PATH
    if not path.is_file():
        return {}
    stats = json.loads(path.read_text())
    return {name: {stat: np.array(value) for stat, value in feature.items()} for name, feature in stats.items()}


def _read_columns(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read columns of numbers as (rows,) and of equally long lists as (rows, D)."""
    with pq.ParquetFile(path) as file:
        check_columns(path, names, file.schema_arrow.names)
        table = file.read(list(names))
    columns = {}
    for name in names:
        array = table.column(name).combine_chunks()
        nested = pa.types.is_fixed_size_list(array.type) or pa.types.is_list(array.type)
        values = (array.flatten() if nested else array).to_numpy(zero_copy_only=False)
        columns[name] = values.reshape(len(array), -1) if nested else values
    return columns
