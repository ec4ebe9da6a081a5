"""Robot trajectories read from LeRobot v3 data sets.

Why this file exists: data from real robots comes in this layout (parquet for numbers, mp4 for cameras, json and parquet
for what is where), and ours is written in it too, so both enter action-conditioned training by the same door. An
episode is what LeRobot calls an entry of a data set; a trajectory is what is read of one, by `TrajectoryOptions`.

Letters: T frames of an episode, H height, W width, P state, A action, E numbers that say where objects are.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vjepa_wm.data.media.video import VideoError
from vjepa_wm.data.trajectories.episode_frames import kept_frames, num_kept
from vjepa_wm.data.trajectories.layout import IMAGES
from vjepa_wm.data.trajectories.metadata_checks import EpisodeError, TrajectoryError, listed
from vjepa_wm.data.trajectories.stored_episodes import StoredEpisodes
from vjepa_wm.data.trajectories.trajectory_numbers import NumberReader, TrajectoryNumbers
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions


@dataclass(frozen=True, kw_only=True)
class Trajectory(TrajectoryNumbers):
    """What is read of one episode."""

    frames: np.ndarray
    """Camera images, uint8 RGB, (T, H, W, 3)."""
    task: str
    """What the episode shows, in words."""
    index: int
    """Number of the episode in its data set."""
    variation: dict[str, str] = field(default_factory=dict)
    """Value of each factor of look and physics that can vary, by their names; empty where none is recorded."""


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
            episodes: numbers of the episodes to use; None is what `options` say.

        Raises:
            FileNotFoundError: if root is not a folder, or holds no meta/info.json; or there is no such robot model.
            TrajectoryError: if the layout is of another version, a camera, column or number is not there, columns
                cannot be converted as asked, or there is no episode.
        """
        self.root = Path(root)
        self.options = options or TrajectoryOptions()
        self._stored = StoredEpisodes(self.root)
        self.cameras = self._stored.cameras
        self.camera = self._choose_camera(self.options.camera)
        self._stride = self._choose_stride()
        self.fps = self._stored.fps / self._stride
        self._numbers = NumberReader(self._stored, self.options, self._stride)
        self.object_names = self._numbers.object_names
        self.stats = self._stored.read_stats()
        known = self._stored.numbers
        chosen = episodes if episodes is not None else self.options.episodes
        self.episodes = sorted(set(known if chosen is None else chosen))
        unknown = [number for number in self.episodes if number not in known]
        if unknown:
            raise TrajectoryError(f"episodes must be from 0 to {len(known) - 1} in {self.root}, got {unknown[:5]}")
        if not self.episodes:
            raise TrajectoryError(f"no episode in {self.root}")

    @property
    def lengths(self) -> list[int]:
        """Frames of each episode in this part, as they are read."""
        return [num_kept(self._stored.length(number), self._stride) for number in self.episodes]

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
            IndexError: if i is out of range.
            EpisodeError: if the files are missing or damaged, hold another number of frames than the episode's row
                says, numbers that are not finite, or numbers that are no rotation where they should be one.
        """
        number = self._number(i)
        try:
            numbers, frames = self.numbers(i), self._stored.frames(number, self.camera, self._kept(number))
        except (TrajectoryError, VideoError, OSError) as error:
            raise EpisodeError(number, error) from error
        return Trajectory(
            frames=frames,
            states=numbers.states,
            actions=numbers.actions,
            objects=numbers.objects,
            task=self._stored.task(number),
            index=number,
            variation=self._stored.variation(number),
        )

    def numbers(self, i: int) -> TrajectoryNumbers:
        """Read one episode without its frames.

        Args:
            i: its place in this part, 0 to num_episodes - 1.

        Raises:
            IndexError: if i is out of range.
            TrajectoryError: if the file holds another number of frames than the episode's row says, numbers that are
                not finite, or numbers that are no rotation where they should be one.
        """
        number = self._number(i)
        return self._numbers.read(number, self._kept(number))

    def check(self, i: int) -> None:
        """Raise what reading an episode would raise, as far as that can be told without decoding frames.

        Args:
            i: its place in this part, 0 to num_episodes - 1.
        """
        self.numbers(i)
        self._stored.check_frames(self._number(i), self.camera)

    def frames(self, i: int, camera: str) -> np.ndarray:
        """Read what another camera saw in one episode.

        Args:
            i: its place in this part, 0 to num_episodes - 1.
            camera: name of the camera, as in `TrajectoryOptions`.

        Returns:
            uint8 RGB, (T, H, W, 3), of the same moments as the episode's frames.

        Raises:
            IndexError: if i is out of range.
            TrajectoryError: if there is no such camera, or its file holds another number of frames than there should
                be.
            VideoError: if the video cannot be decoded.
        """
        number = self._number(i)
        return self._stored.frames(number, self._choose_camera(camera), self._kept(number))

    def some_frames(self, i: int, chosen: np.ndarray) -> np.ndarray:
        """Read some frames of one episode.

        Args:
            i: its place in this part, 0 to num_episodes - 1.
            chosen: which of the episode's frames, increasing, (T,).

        Returns:
            uint8 RGB, (T, H, W, 3).

        Raises:
            IndexError: if i or a frame is out of range.
            EpisodeError: if the file is missing or damaged, or holds another number of frames than there should be.
        """
        number = self._number(i)
        if np.min(chosen, initial=0) < 0:
            raise IndexError(f"chosen must be frames of the episode, got {np.min(chosen)}")
        try:
            return self._stored.frames(number, self.camera, self._kept(number)[chosen])
        except (TrajectoryError, VideoError, OSError) as error:
            raise EpisodeError(number, error) from error

    def objects(self, i: int) -> np.ndarray | None:
        """Read where the objects of one episode are, without its frames.

        Args:
            i: its place in this part, 0 to num_episodes - 1.

        Returns:
            Poses at each frame, float32 (T, E); None where no column has them.

        Raises:
            IndexError: if i is out of range.
        """
        number = self._number(i)
        return self._numbers.read_objects(number, self._kept(number))

    def stamp(self) -> str:
        """Return a number that is another one as soon as a file of the data set, or the choice of episodes, is."""
        chosen = hashlib.blake2b(np.array(self.episodes).tobytes(), digest_size=8)
        chosen.update(self._stored.stamp().encode())
        return chosen.hexdigest()

    def split(self, test_share: float, seed: int) -> tuple[TrajectoryDataset, TrajectoryDataset]:
        """Divide the episodes at random into two parts.

        Args:
            test_share: share of the episodes that goes to the second part, between 0 and 1, rounded to whole episodes.
            seed: the same seed gives the same parts.

        Returns:
            Training part and validation part.

        Raises:
            ValueError: if a part would be empty.
        """
        num_val = round(test_share * self.num_episodes)
        if not 0 < num_val < self.num_episodes:
            raise ValueError(
                f"test_share must leave at least one of {self.num_episodes} episodes in each part, got {test_share}"
            )
        order = np.random.default_rng(seed).permutation(self.episodes).tolist()
        train, val = copy.copy(self), copy.copy(self)
        train.episodes, val.episodes = sorted(order[num_val:]), sorted(order[:num_val])
        return train, val

    def _number(self, i: int) -> int:
        if not 0 <= i < self.num_episodes:
            raise IndexError(f"i must be from 0 to {self.num_episodes - 1}, got {i}")
        return self.episodes[i]

    def _choose_camera(self, camera: str | None) -> str:
        found = [name for name in self.cameras if camera is None or camera in (name, name.removeprefix(IMAGES))]
        if len(found) == 1:
            return found[0]
        given = "a camera must be named" if camera is None else f"unknown camera {camera!r}"
        raise TrajectoryError(f"{given} for {self.root}; known cameras: {listed(self.cameras)}")

    def _choose_stride(self) -> float:
        """Return how many recorded frames there are for one that is read; it need not be a whole number."""
        recorded, wanted = self._stored.fps, self.options.fps
        if wanted is not None and wanted > recorded:
            raise TrajectoryError(f"fps must be at most {recorded:g}, that of {self.root}, got {wanted:g}")
        return 1.0 if wanted is None else recorded / wanted

    def _kept(self, number: int) -> np.ndarray:
        return kept_frames(self._stored.length(number), self._stride)
