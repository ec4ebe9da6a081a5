"""The episodes of a LeRobot v3 data set as they lie on disk.

Why this file exists: several episodes may share a parquet or mp4 file; every episode's row says which file and which
part of it. That is looked up here, while what the numbers mean is left to `dataset`.

Letters: T frames of an episode, H height, W width, D numbers of a column.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vjepa_wm.data.trajectories.columns import read_columns
from vjepa_wm.data.trajectories.episode_frames import read_pictures, read_video_frames, scan_part
from vjepa_wm.data.trajectories.layout import (
    INFO_PATH,
    STATS_PATH,
    VARIATION,
    colour_cameras,
    episode_video,
    read_episode_rows,
    read_info,
    video_columns,
)
from vjepa_wm.data.trajectories.metadata_checks import (
    TrajectoryError,
    check_columns,
    check_episode_row,
)
from vjepa_wm.data.trajectories.stats import FeatureStats, read_stats

RATE_TOLERANCE = 0.1
"""Largest share by which the time stamps of an episode may be longer or shorter than its rate makes them."""


class StoredEpisodes:
    """What is recorded of each episode: numbers, frames, and what its row says.

    Attributes:
        root: folder of the data set.
        fps: frames, and actions, per second, as they were recorded.
        features: the columns, as meta/info.json describes them.
        cameras: feature names of the cameras for colour.
        numbers: of the episodes, increasing from 0.
    """

    def __init__(self, root: Path):
        """Read what the data set says of itself.

        Args:
            root: folder holding meta/, data/ and, where cameras are stored as video, videos/.

        Raises:
            FileNotFoundError: if root is not a folder, or holds no meta/info.json.
            TrajectoryError: if the layout is of another version, there is no camera, or an episode has no row.
        """
        self.root = root
        self._info = read_info(root)
        self._stored_as = colour_cameras(root, self._info)
        self._rows = read_episode_rows(root, self._info["total_episodes"])
        self._check_places()
        self._source: tuple[Path, list[str]] | None = None
        self._table: dict[str, np.ndarray] = {}
        self.fps = float(self._info["fps"])
        self.features = self._info["features"]
        self.cameras = tuple(self._stored_as)
        self.numbers = range(len(self._rows))

    def length(self, number: int) -> int:
        """Return how many frames an episode has."""
        return self._rows[number]["length"]

    def task(self, number: int) -> str:
        """Return what an episode shows, in words; empty where no one has said."""
        tasks = self._rows[number].get("tasks") or ()
        return ", ".join(map(str, tasks)) if isinstance(tasks, list | tuple) else str(tasks)

    def variation(self, number: int) -> dict[str, str]:
        """Return the value of each factor that can vary, by their names."""
        row = self._rows[number]
        return {name.removeprefix(VARIATION): row[name] for name in row if name.startswith(VARIATION)}

    def columns(self, number: int, names: Iterable[str], kept: np.ndarray) -> dict[str, np.ndarray]:
        """Read columns of numbers; the file last read is kept, as it often holds the next episode too.

        Args:
            number: of the episode.
            names: columns.
            kept: which of its frames are wanted, (T,), increasing.

        Returns:
            By name, (T,) for plain numbers, (T, D) for lists.

        Raises:
            FileNotFoundError: if the file is missing.
            TrajectoryError: if a column is missing or has gaps, the file holds another number of frames than the
                episode's row says, or its numbers and times of frames cannot be.
        """
        clock = {"timestamp"} & set(self.features)
        source = self._data_path(number), sorted({*names, *clock, "episode_index", "frame_index"})
        if self._source != source:
            read = read_columns(*source)
            counters = {name: _one_a_row(read, name, source[0]) for name in ("episode_index", "frame_index", *clock)}
            self._table, self._source = _in_order(read | counters), source
        columns, length = self._table, self.length(number)
        begin, end = np.searchsorted(columns["episode_index"], (number, number + 1))
        if end - begin != length:
            raise TrajectoryError(
                f"episode {number} of {self.root} has {length} frames, its parquet file {end - begin}"
            )
        times_s = columns["timestamp"][begin:end] if clock else None
        self._check_order(number, columns["frame_index"][begin:end], times_s)
        return {name: columns[name][begin + kept] for name in names}

    def frames(self, number: int, camera: str, kept: np.ndarray) -> np.ndarray:
        """Decode what a camera saw.

        Args:
            number: of the episode.
            camera: feature name of the camera.
            kept: which of its frames are wanted, (T,), increasing.

        Returns:
            uint8 RGB, (T, H, W, 3).

        Raises:
            FileNotFoundError: if the file is missing.
            TrajectoryError: if the file holds another number of frames than the episode's row says, or a picture in it
                is missing or damaged.
            VideoError: if the video cannot be decoded.
        """
        length = self.length(number)
        if self._stored_as[camera] == "image":
            return read_pictures(self._data_path(number), camera, number, kept, length)
        name, start_s, end_s = episode_video(self._info, camera, self._rows[number])
        return read_video_frames(self.root / name, start_s, end_s, kept, length)

    def check_frames(self, number: int, camera: str) -> None:
        """Raise what `frames` would, as far as that can be told without decoding."""
        if self._stored_as[camera] == "video":
            name, start_s, end_s = episode_video(self._info, camera, self._rows[number])
            scan_part(self.root / name, start_s, end_s, self.length(number))

    def read_stats(self) -> dict[str, FeatureStats]:
        """Read the statistics of the whole data set by feature and name; empty where no recorder wrote any.

        Raises:
            TrajectoryError: if the file is damaged.
        """
        path = self.root / STATS_PATH
        return read_stats(path) if path.is_file() else {}

    def stamp(self) -> str:
        """Return a number that is another one as soon as any file of the data set is, from their sizes and times."""
        digest = hashlib.blake2b(digest_size=8)
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(name for name in names if not name.startswith(".")):
                status = os.stat(os.path.join(folder, name))
                place = os.path.relpath(folder, self.root)
                digest.update(f"{place}/{name} {status.st_size} {status.st_mtime_ns}".encode())
        return digest.hexdigest()

    def _check_order(self, number: int, frame_index: np.ndarray, times_s: np.ndarray | None) -> None:
        """Refuse numbers of frames that leave their order open, and times that contradict the rate."""
        if (np.diff(frame_index.astype(np.int64)) != 1).any():
            raise TrajectoryError(
                f"frame_index of episode {number} of {self.root} must rise by one, got {frame_index[:5].tolist()} ..."
            )
        if times_s is None or len(times_s) < 2:
            return
        lasts_s, claimed_s = float(times_s[-1] - times_s[0]), (len(times_s) - 1) / self.fps
        if not abs(lasts_s - claimed_s) <= RATE_TOLERANCE * claimed_s:
            raise TrajectoryError(
                f"timestamp must agree with the fps {self.fps:g} of {self.root / INFO_PATH}, but episode {number} "
                f"lasts {lasts_s:g} s in place of {claimed_s:g} s"
            )

    def _check_places(self) -> None:
        """Check what the rows say of where the videos lie."""
        videos = [camera for camera, kind in self._stored_as.items() if kind == "video"]
        columns = [column for camera in videos for column in video_columns(camera)]
        for row in self._rows:
            check_columns(self.root / "meta/episodes", columns, list(row))
            check_episode_row(row, columns, self.root / "meta/episodes")

    def _data_path(self, number: int) -> Path:
        row = self._rows[number]
        place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        return self.root / self._info["data_path"].format(**place)


def _one_a_row(columns: dict[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    """Return a column that must have one number a row, maybe as a list."""
    if columns[name].size != len(columns[name]) or columns[name].dtype.kind not in "iuf":
        raise TrajectoryError(f"column {name!r} must hold one number a row in {path}")
    return columns[name].reshape(-1)


def _in_order(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Sort rows by episode and frame, as most recorders write them."""
    order = np.lexsort((columns["frame_index"], columns["episode_index"]))
    return {name: values[order] for name, values in columns.items()}
