"""Pairs of successive frames and the action between them, for an encoder that is to show what actions do.

Why this file exists: to predict what is hidden an encoder may leave out what is small and moves little. Whoever reads
the action off what it makes of two frames needs just that.

Letters: P pairs, S sides of the pictures, A action.

Source: features of inverse dynamics (arXiv 1705.05363, section 2.2), here beside masked prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from vjepa_wm.checks import check_at_least
from vjepa_wm.data.latents.latent_set import deviation
from vjepa_wm.data.randomness import generator_for
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.training.encoded_data import refuse_bad_episodes
from vjepa_wm.training.paired_frames import check_sizes

_PAIRS = 4  # purpose of a draw, beside those of clips, masks and streams


@dataclass(frozen=True, kw_only=True)
class InverseConfig:
    """Inverse dynamics: actions to be read off what the encoder makes of two successive frames, one pair a clip."""

    weight: float = 0.0
    """Weight of that loss beside the one on hidden tokens of clips; 0: there is none (V-JEPA 2)."""
    data: tuple[Path, ...] = ()
    """LeRobot v3 datasets that tell actions; all steps of all of them are drawn alike."""
    read: TrajectoryOptions = field(default_factory=TrajectoryOptions)
    """What of them is read: camera, rate, columns, and how they become actions."""

    def __post_init__(self) -> None:
        check_at_least(0, **{"inverse.weight": self.weight})
        if bool(self.weight) != bool(self.data):
            raise ValueError(
                f"inverse.data must be given with a positive inverse.weight and only then, got {self.weight:g} and "
                f"{len(self.data)} datasets"
            )


class Pairs(NamedTuple):
    """Some pairs of frames with what lies between them."""

    frames: Tensor
    """(P, 2, S, S, 3) uint8 RGB."""
    actions: Tensor
    """(P, A) float32, as recorded."""

    def pin_memory(self) -> Self:
        """Return a copy that a GPU can fetch by itself."""
        return type(self)(*(part.pin_memory() for part in self))

    def to(self, device: torch.device) -> Self:
        """Return them on a device."""
        return type(self)(*(part.to(device, non_blocking=True) for part in self))


class ActionPairs:
    """All pairs of the datasets of an `InverseConfig`, by the number of the draw.

    Attributes:
        action_scale: the deviation of each number of the actions, (A,).
    """

    def __init__(self, config: InverseConfig) -> None:
        """Read all actions; frames are decoded as they are drawn.

        Args:
            config: the datasets.

        Raises:
            FileNotFoundError: if a dataset is missing.
            TrajectoryError: if one lacks what is needed or has a bad episode.
            ValueError: if the datasets do not fit each other, or none has a step.
        """
        self._sets = [TrajectoryDataset(path, config.read) for path in config.data]
        for one in self._sets:
            refuse_bad_episodes(one)
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
        if not len(self._places):
            raise ValueError("inverse.data must hold two successive frames at least, got none")
        self.action_scale = tuple(deviation(torch.from_numpy(self._actions)).tolist())

    def draw(self, numbers: Sequence[int], seed: int) -> Pairs:
        """Return the pairs of some draws.

        Raises:
            TrajectoryError: if the frames of one cannot be decoded.
        """
        frames, rows = [], []
        for number in numbers:
            generator = generator_for(seed, _PAIRS, number)
            row = int(torch.randint(len(self._places), (), generator=generator))
            owner, i, t = self._places[row]
            frames.append(self._sets[owner].some_frames(int(i), np.array((t, t + 1))))
            rows.append(row)
        return Pairs(torch.from_numpy(np.stack(frames)), torch.from_numpy(self._actions[rows]))


def open_action_pairs(config: InverseConfig) -> ActionPairs | None:
    """Open what inverse dynamics is learned from, with the errors of `ActionPairs`; None without weight."""
    return ActionPairs(config) if config.weight else None
