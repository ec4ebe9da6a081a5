"""Robot trajectories read from LeRobot v3 data sets.

Why this file exists: data from real robots comes in this layout (parquet for numbers, mp4 for cameras, json and parquet
for what is where), and ours is written in it too, so both enter action-conditioned training by the same door. Several
episodes may share a parquet or mp4 file; every episode's row says which file and which part of it.

Letters: T frames of an episode, H height, W width, P state, A action.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vjepa_wm.data.trajectories.columns import choose_numbers, join_numbers, read_columns
from vjepa_wm.data.trajectories.episode_frames import kept_frames, read_pictures, read_video_frames
from vjepa_wm.data.trajectories.layout import (
    ENVIRONMENT_STATE,
    IMAGES,
    STATS_PATH,
    VARIATION,
    TrajectoryError,
    colour_cameras,
    element_names,
    episode_video,
    listed,
    read_episode_rows,
    read_info,
)
from vjepa_wm.data.trajectories.poses import PoseConverter, displacements
from vjepa_wm.data.trajectories.stats import FeatureStats
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.models.pose import POSE_DIM


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One recorded episode.

    Attributes:
        frames: camera images, uint8 RGB, (T, H, W, 3).
        states: robot state at each frame, float32 (T, P).
        actions: action that moves frame t to frame t + 1, float32 (T, A); the last row moves nothing.
        task: what the episode shows, in words.
        index: number of the episode in its data set.
        objects: poses of the objects in the scene at each frame, float32 (T, E); None where no column has them.
        variation: value of each factor of look and physics that can vary, by their names; empty where none is recorded.
    """

    frames: np.ndarray
    states: np.ndarray
    actions: np.ndarray
    task: str
    index: int
    objects: np.ndarray | None = None
    variation: dict[str, str] = field(default_factory=dict)


class TrajectoryDataset:
    """Episodes of a LeRobot v3 data set, or of a part of it, seen by one camera.

    Attributes:
        root: folder of the data set.
        options: which columns are read, at which rate, and how they are converted.
        fps: frames, and actions, per second, as they are read.
        cameras: feature names of the cameras that there are.
        camera: the one whose frames the episodes have.
        episodes: numbers of the episodes in this part, increasing.
        lengths: frames of each of them, as they are read.
        object_names: names of the numbers in the column `observation.environment_state`; empty without that column.
        stats: statistics of the whole data set by feature and name, as its recorder wrote them; empty without any.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        options: TrajectoryOptions | None = None,
        *,
        episodes: Sequence[int] | None = None,
    ):
        """Open a data set; frames and numbers are read when an episode is asked for.

        Args:
            root: folder holding meta/, data/ and, where cameras are stored as video, videos/.
            options: what is read and how; None is the only camera and LeRobot's own columns, as they are.
            episodes: numbers of the episodes to use; None is all.

        Raises:
            FileNotFoundError: root is not a folder, or holds no meta/info.json; or there is no such robot model.
            TrajectoryError: another version of the layout; a camera, column or number that is not there; columns that
                cannot be converted as asked; or no episode.
        """
        self.root = Path(root)
        self.options = options or TrajectoryOptions()
        self._info = read_info(self.root)
        self._stored = colour_cameras(self.root, self._info)
        self.cameras = tuple(self._stored)
        self.camera = self._choose_camera(self.options.camera)
        self._stride = self._choose_stride()
        self.fps = float(self._info["fps"]) / self._stride
        self._choose_columns()
        rows = read_episode_rows(self.root, self._info["total_episodes"])
        self._rows = {row["episode_index"]: row for row in rows}
        self.stats = _read_stats(self.root)
        self._table: tuple[Path, dict[str, np.ndarray]] | None = None
        self.episodes = sorted(self._rows if episodes is None else episodes)
        unknown = [number for number in self.episodes if number not in self._rows]
        if unknown:
            raise TrajectoryError(f"episodes must be from 0 to {len(rows) - 1} in {self.root}, got {unknown[:5]}")
        if not self.episodes:
            raise TrajectoryError(f"no episode in {self.root}")

    @property
    def lengths(self) -> list[int]:
        """Frames of each episode in this part, as they are read."""
        return [len(self._kept(self._rows[number])) for number in self.episodes]

    @property
    def num_episodes(self) -> int:
        """Number of episodes in this part."""
        return len(self.episodes)

    def __len__(self) -> int:
        """Count the episodes in this part."""
        return self.num_episodes

    def episode(self, i: int) -> Trajectory:
        """Read one episode.

        Args:
            i: its place in this part, 0 to num_episodes - 1.

        Returns:
            Frames, states, actions, task and, where there are any, objects.

        Raises:
            IndexError: i is out of range.
            TrajectoryError: the files hold another number of frames than the episode's row says, numbers that are not
                finite, or numbers that are no rotation where they should be one.
            VideoError: the video cannot be decoded.
        """
        row = self._row(i)
        numbers = self._numbers(row)
        states = self._convert(join_numbers(numbers, self._state))
        actions = displacements(states) if self._action is None else join_numbers(numbers, self._action)
        for name, values in (("state", states), ("action", actions)):
            if not np.isfinite(values).all():
                frame = int(np.argmin(np.isfinite(values).all(axis=1)))
                raise TrajectoryError(
                    f"{name} must be finite, got {values[frame].tolist()} in frame {frame} of episode "
                    f"{row['episode_index']} of {self.root}"
                )
        return Trajectory(
            frames=self._frames(row, self.camera),
            states=states.astype(np.float32),
            actions=actions.astype(np.float32),
            task=", ".join(row.get("tasks") or ()),
            index=row["episode_index"],
            objects=self._objects(numbers),
            variation={name.removeprefix(VARIATION): row[name] for name in row if name.startswith(VARIATION)},
        )

    def frames(self, i: int, camera: str) -> np.ndarray:
        """Read what another camera saw in one episode.

        Args:
            i: its place in this part, 0 to num_episodes - 1.
            camera: name of the camera, as in `TrajectoryOptions`.

        Returns:
            uint8 RGB, (T, H, W, 3), of the same moments as the episode's frames.

        Raises:
            IndexError: i is out of range.
            TrajectoryError: there is no such camera, or its file holds another number of frames than there should be.
            VideoError: the video cannot be decoded.
        """
        return self._frames(self._row(i), self._choose_camera(camera))

    def objects(self, i: int) -> np.ndarray | None:
        """Read where the objects of one episode are, without its frames.

        Args:
            i: its place in this part, 0 to num_episodes - 1.

        Returns:
            Poses at each frame, float32 (T, E); None where no column has them.

        Raises:
            IndexError: i is out of range.
        """
        return self._objects(self._numbers(self._row(i)))

    def windows(self, num_frames: int, *, stride: int = 1) -> list[tuple[int, int]]:
        """List stretches of consecutive frames within one episode.

        Args:
            num_frames: frames of a stretch, at the rate that is read.
            stride: frames from the start of a stretch to the start of the next; 1 is every stretch there is.

        Returns:
            (place of the episode in this part, first frame); its actions between frames are the first num_frames - 1.

        Raises:
            ValueError: no episode is that long, or num_frames or stride is not positive.
        """
        if num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, got {num_frames}")
        if stride < 1:
            raise ValueError(f"stride must be at least 1, got {stride}")
        lengths = self.lengths
        windows = [(i, k) for i, length in enumerate(lengths) for k in range(0, length - num_frames + 1, stride)]
        if not windows:
            raise ValueError(f"num_frames must be at most {max(lengths)}, the longest episode, got {num_frames}")
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
        train, val = copy.copy(self), copy.copy(self)
        train.episodes, val.episodes = sorted(order[num_val:]), sorted(order[:num_val])
        return train, val

    def _row(self, i: int) -> dict:
        if not 0 <= i < self.num_episodes:
            raise IndexError(f"i must be from 0 to {self.num_episodes - 1}, got {i}")
        return self._rows[self.episodes[i]]

    def _choose_camera(self, camera: str | None) -> str:
        found = [name for name in self.cameras if camera is None or camera in (name, name.removeprefix(IMAGES))]
        if len(found) == 1:
            return found[0]
        given = "a camera must be named" if camera is None else f"unknown camera {camera!r}"
        raise TrajectoryError(f"{given} for {self.root}; known cameras: {listed(self.cameras)}")

    def _choose_stride(self) -> float:
        """Return how many recorded frames there are for one that is read; it need not be a whole number."""
        recorded, wanted = float(self._info["fps"]), self.options.fps
        if wanted is not None and wanted > recorded:
            raise TrajectoryError(f"fps must be at most {recorded:g}, that of {self.root}, got {wanted:g}")
        return 1.0 if wanted is None else recorded / wanted

    def _choose_columns(self) -> None:
        """Find the numbers of states, actions and objects, and what turns them into states."""
        options, features = self.options, self._info["features"]
        self._state = choose_numbers(self.root, features, options.state, "state")
        self._convert = PoseConverter(options, sum(len(part.ids) for part in self._state))
        changed = self._stride > 1 or options.pose != "as_is"
        self._action = None
        if options.actions == "recorded" or (options.actions is None and not changed):
            self._action = choose_numbers(self.root, features, options.action, "action")
            num_numbers = sum(len(part.ids) for part in self._action)
            if self._stride > 1:
                raise TrajectoryError(
                    f"actions must be from_states at fps {options.fps:g}, as those of {self.root} were recorded at "
                    f"{self._info['fps']:g}; got recorded"
                )
            if options.pose != "as_is" and num_numbers != POSE_DIM:
                raise TrajectoryError(
                    f"recorded actions must be {POSE_DIM} numbers, a displacement of the pose, to go with pose "
                    f"{options.pose}, got {num_numbers} from {', '.join(options.action)}; from_states needs none"
                )
        self.object_names = element_names(features[ENVIRONMENT_STATE]) if ENVIRONMENT_STATE in features else ()

    def _kept(self, row: dict) -> np.ndarray:
        return kept_frames(row["length"], self._stride)

    def _numbers(self, row: dict) -> dict[str, np.ndarray]:
        """Read an episode's columns of numbers; the file last read is kept, as it often holds the next episode too."""
        names = {part.column for part in (*self._state, *(self._action or ()))}
        names |= {ENVIRONMENT_STATE} if self.object_names else set()
        path = self._data_path(row)
        if self._table is None or self._table[0] != path:
            self._table = path, read_columns(path, sorted(names | {"episode_index", "frame_index"}))
        columns = self._table[1]
        ids = np.flatnonzero(columns["episode_index"] == row["episode_index"])
        if len(ids) != row["length"]:
            raise TrajectoryError(
                f"episode {row['episode_index']} of {self.root} has {row['length']} frames, its parquet file {len(ids)}"
            )
        ids = ids[np.argsort(columns["frame_index"][ids])][self._kept(row)]
        return {name: columns[name][ids] for name in names}

    def _objects(self, numbers: dict[str, np.ndarray]) -> np.ndarray | None:
        if not self.object_names:
            return None
        values = numbers[ENVIRONMENT_STATE]
        return values.reshape(len(values), -1).astype(np.float32)

    def _frames(self, row: dict, camera: str) -> np.ndarray:
        kept = self._kept(row)
        if self._stored[camera] == "image":
            return read_pictures(self._data_path(row), camera, row["episode_index"], kept, row["length"])
        name, start_s, end_s = episode_video(self._info, camera, row)
        return read_video_frames(self.root / name, start_s, end_s, kept, row["length"])

    def _data_path(self, row: dict) -> Path:
        place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        return self.root / self._info["data_path"].format(**place)


def _read_stats(root: Path) -> dict[str, FeatureStats]:
    path = root / STATS_PATH
    if not path.is_file():
        return {}
    stats = json.loads(path.read_text())
    return {name: {stat: np.array(value) for stat, value in feature.items()} for name, feature in stats.items()}
