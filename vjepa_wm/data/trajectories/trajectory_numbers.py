"""States, actions and poses of objects of an episode: which columns they are, and how they are converted.

Why this file exists: data sets name their columns as they like and record poses in many forms; what comes out of here
is what training knows.

Letters: T frames of an episode, P state, A action, E numbers that say where objects are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vjepa_wm.data.trajectories.columns import choose_numbers, join_numbers
from vjepa_wm.data.trajectories.layout import ENVIRONMENT_STATE, element_names
from vjepa_wm.data.trajectories.metadata_checks import TrajectoryError
from vjepa_wm.data.trajectories.poses import PoseConverter, displacements
from vjepa_wm.data.trajectories.stored_episodes import StoredEpisodes
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.models.pose import POSE_DIM


@dataclass(frozen=True, kw_only=True)
class TrajectoryNumbers:
    """What is read of one episode without its frames."""

    states: np.ndarray
    """Robot state at each frame, float32 (T, P)."""
    actions: np.ndarray
    """Action that moves frame t to frame t + 1, float32 (T, A); the last row moves nothing."""
    objects: np.ndarray | None = None
    """Poses of the objects in the scene at each frame, float32 (T, E); None where no column has them."""


class NumberReader:
    """Reads the numbers of episodes.

    Attributes:
        object_names: names of the numbers that say where objects are; empty where no column has them.
    """

    def __init__(self, stored: StoredEpisodes, options: TrajectoryOptions, stride: float) -> None:
        """Find the numbers of states, actions and objects, and what turns them into states.

        Args:
            stored: the episodes as they lie on the disk.
            options: what is read and how.
            stride: how many recorded frames there are for one that is read.

        Raises:
            TrajectoryError: if a column or number is not there, or columns cannot be converted as asked.
        """
        self._stored = stored
        root, features = stored.root, stored.features
        self._state = choose_numbers(root, features, options.state, "state")
        self._convert = PoseConverter(options, sum(len(part.ids) for part in self._state))
        changed = stride > 1 or options.pose != "as_is"
        self._action = None
        if options.actions == "recorded" or (options.actions is None and not changed):
            self._action = choose_numbers(root, features, options.action, "action")
            self._check_recorded(options, stride, sum(len(part.ids) for part in self._action))
        self.object_names = element_names(features[ENVIRONMENT_STATE]) if ENVIRONMENT_STATE in features else ()

    def _check_recorded(self, options: TrajectoryOptions, stride: float, num_numbers: int) -> None:
        """Raise if recorded actions do not fit states that are not as they were recorded."""
        if stride > 1:
            raise TrajectoryError(
                f"actions must be from_states at fps {options.fps:g}, as those of {self._stored.root} were recorded at "
                f"{self._stored.fps:g}; got recorded"
            )
        if options.pose != "as_is" and num_numbers != POSE_DIM:
            raise TrajectoryError(
                f"recorded actions must be {POSE_DIM} numbers, a displacement of the pose, to go with pose "
                f"{options.pose}, got {num_numbers} from {', '.join(options.action)}; from_states needs none"
            )

    def read(self, number: int, kept: np.ndarray) -> TrajectoryNumbers:
        """Read the numbers of one episode.

        Args:
            number: of the episode in the data set.
            kept: the frames that are read, (T,).

        Raises:
            TrajectoryError: if the file holds another number of frames than the episode's row says, numbers that are
                not finite, or numbers that are no rotation where they should be one.
        """
        root, columns = self._stored.root, self._columns(number, kept)
        states = self._convert(join_numbers(columns, self._state, root))
        actions = displacements(states) if self._action is None else join_numbers(columns, self._action, root)
        with np.errstate(over="ignore"):  # which the next lines tell better
            states, actions = states.astype(np.float32), actions.astype(np.float32)
        for name, values in (("state", states), ("action", actions)):
            if not np.isfinite(values).all():
                frame = int(np.argmin(np.isfinite(values).all(axis=1)))
                raise TrajectoryError(
                    f"{name} must be finite, got {values[frame].tolist()} in frame {frame} of episode {number} of "
                    f"{root}"
                )
        return TrajectoryNumbers(states=states, actions=actions, objects=self._objects(columns))

    def read_objects(self, number: int, kept: np.ndarray) -> np.ndarray | None:
        """Read where the objects of one episode are, float32 (T, E); arguments as of `read`."""
        return self._objects(self._columns(number, kept))

    def _columns(self, number: int, kept: np.ndarray) -> dict[str, np.ndarray]:
        """Read the columns of numbers that are used of an episode."""
        names = {part.column for part in (*self._state, *(self._action or ()))}
        names |= {ENVIRONMENT_STATE} if self.object_names else set()
        return self._stored.columns(number, names, kept)

    def _objects(self, columns: dict[str, np.ndarray]) -> np.ndarray | None:
        if not self.object_names:
            return None
        values = columns[ENVIRONMENT_STATE]
        return values.reshape(len(values), -1).astype(np.float32)
