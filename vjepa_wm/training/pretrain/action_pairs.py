"""Pairs of successive frames and the action between them, for an encoder that is to show what actions do.

Why this file exists: to predict what is hidden an encoder may leave out what is small and moves little. Whoever reads
the action off what it makes of two frames needs just that.

Letters: P pairs, A action.

Source: features of inverse dynamics (arXiv 1705.05363, section 2.2), here beside masked prediction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vjepa_wm.checks import check_at_least
from vjepa_wm.data.latents.latent_set import units_of
from vjepa_wm.data.randomness import generator_for
from vjepa_wm.data.trajectories.metadata_checks import TrajectoryError
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.training.encoded_data import good_episodes
from vjepa_wm.training.paired_frames import check_sizes

_PAIRS = 4  # purpose of a draw, beside those of clips, masks and streams


@dataclass(frozen=True, kw_only=True)
class InverseConfig:
    """Inverse dynamics: actions to be read off what the encoder makes of two successive frames, one pair a clip."""

    weight: float = 0.0
    """Weight of that loss beside the one on hidden tokens; 0: there is none (V-JEPA 2)."""
    data: tuple[Path, ...] = ()
    """LeRobot v3 datasets that tell actions; all steps of all of them are drawn alike."""
    read: TrajectoryOptions = field(default_factory=TrajectoryOptions)
    """What of them is read: camera, rate, columns, and how they become actions."""

    def __post_init__(self) -> None:
        if isinstance(self.data, str | Path):
            object.__setattr__(self, "data", (Path(self.data),))
        check_at_least(0, **{"inverse.weight": self.weight})
        if bool(self.weight) != bool(self.data):
            raise ValueError(
                f"inverse.data must be given with a positive inverse.weight and only then, got {self.weight:g} and "
                f"{len(self.data)} datasets"
            )
        if not self.weight and self.read != TrajectoryOptions():
            raise ValueError("inverse.read must be left out without inverse.weight")


@dataclass(frozen=True)
class Pairs:
    """Some pairs of frames with what lies between them."""

    frames: Tensor
    """(P, 2, height, width, 3) uint8 RGB."""
    actions: Tensor
    """(P, A) float32, as recorded."""
    share: float
    """Which share they are of the step's."""

    def pin_memory(self) -> Pairs:
        """Return a copy that a GPU can fetch by itself."""
        return replace(self, frames=self.frames.pin_memory(), actions=self.actions.pin_memory())

    def to(self, device: torch.device) -> Pairs:
        """Return them on a device."""
        frames, actions = (part.to(device, non_blocking=True) for part in (self.frames, self.actions))
        return replace(self, frames=frames, actions=actions)


class ActionPairs:
    """All pairs of the datasets of an `InverseConfig`, by the number of the draw.

    Attributes:
        action_units: `mean` and `scale`, the deviation, of each number of the actions, (A,) each.
    """

    def __init__(self, config: InverseConfig, max_bad_share: float = 0.0) -> None:
        """Read all actions; frames are decoded as they are drawn.

        Args:
            config: the datasets.
            max_bad_share: largest share of a dataset's episodes that may be bad; they are named and left out.

        Raises:
            FileNotFoundError: if a dataset is missing.
            TrajectoryError: if one lacks what is needed or has more bad episodes.
            ValueError: if the datasets do not fit each other, or hold less than two pairs.
        """
        self._sets = [good_episodes(path, config.read, max_bad_share) for path in config.data]
        check_sizes("inverse.data", self._sets)
        actions, places = [], []
        for owner, one in enumerate(self._sets):
            for i in range(one.num_episodes):
                steps = one.numbers(i).actions[: one.lengths[i] - 1]
                actions.append(steps)
                places.append(np.stack((np.full(len(steps), owner), np.full(len(steps), i), np.arange(len(steps))), 1))
        widths = {part.shape[1] for part in actions}
        if len(widths) > 1:
            raise ValueError(f"actions of all inverse.data must have equally many numbers, got {sorted(widths)}")
        self._actions, self._places = np.concatenate(actions), np.concatenate(places)
        if len(self._places) < 2:
            raise ValueError(f"inverse.data must hold two pairs of frames at least, got {len(self._places)}")
        self.action_units = units_of(torch.from_numpy(self._actions))

    def contents(self) -> list[str]:
        """Return for each dataset text that tells it from others by its actions."""
        owners = self._places[:, 0]
        parts = [self._actions[owners == owner].tobytes() for owner in range(len(self._sets))]
        return [hashlib.blake2b(part, digest_size=8).hexdigest() for part in parts]

    def draw(self, numbers: Sequence[int], seed: int, share: float) -> Pairs:
        """Return the pairs of some draws, which are a share of the step's.

        Raises:
            TrajectoryError: if the frames of one cannot be decoded, or are of another size; with its episode.
        """
        frames, rows = [], []
        for number in numbers:
            generator = generator_for(seed, _PAIRS, number)
            rows.append(int(torch.randint(len(self._places), (), generator=generator)))
            owner, i, t = (int(place) for place in self._places[rows[-1]])
            one = self._sets[owner]
            try:
                frames.append(one.some_frames(i, np.array((t, t + 1))))
            except TrajectoryError as error:
                raise TrajectoryError(f"episode {one.episodes[i]} of {one.root}: {error}") from error
            if frames[-1].shape != frames[0].shape:
                raise TrajectoryError(f"episode {one.episodes[i]} of {one.root} has pictures of another size")
        return Pairs(torch.from_numpy(np.stack(frames)), torch.from_numpy(self._actions[rows]), share)
