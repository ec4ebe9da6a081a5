"""Windows of several sets of latents, dealt out by weights: what a training step sees is known from its number alone.

Why this file exists: trainings above latents share one dealing with pretraining: exact shares over any longer stretch,
every window as often as any other of its list, and nothing that depends on what was drawn before.

Letters: B windows of a step, T frames of a window, N tokens per frame, D width, A action, P state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vjepa_wm.data.clips.sample_order import SampleOrder
from vjepa_wm.data.latents.latent_set import LatentSet


class WindowMixture:
    """All windows of some sets, in an endless order.

    Attributes:
        sets: what they are windows of.
        num_frames: frames T of a window.
        num_windows: number of all windows.
    """

    def __init__(
        self,
        sets: Sequence[LatentSet],
        num_frames: int,
        *,
        weights: Sequence[float] = (),
        moving: Sequence[np.ndarray] | None = None,
        seed: int = 0,
    ) -> None:
        """Find the windows and choose their order.

        Args:
            sets: latents of one encoder, states and actions of one kind.
            num_frames: frames of a window.
            weights: share of each set; empty: by the number of windows.
            moving: of each set, for every frame row whether something but the robot moves on to the next (F,); then
                half of a set's windows are drawn among those in which it does, as far as there are both kinds.
            seed: the same seed gives the same order.

        Raises:
            ValueError: if there are no windows of so many frames, the sets do not fit each other, or there is not one
                weight for each.
        """
        self.sets, self.num_frames = tuple(sets), num_frames
        _check_alike(self.sets)
        if weights and len(weights) != len(self.sets):
            raise ValueError(f"weights must be one for each of {len(self.sets)} data sets, got {list(weights)}")
        starts = [one.window_starts(num_frames) for one in self.sets]
        self.num_windows = sum(len(rows) for rows in starts)
        if not self.num_windows:
            raise ValueError(f"no episode holds a window of {num_frames} frames; ask for fewer")
        lists: list[tuple[int, np.ndarray, float]] = []
        for number, rows in enumerate(starts):
            weight = weights[number] if weights else len(rows) / self.num_windows
            groups = [rows] if moving is None else _by_motion(rows, moving[number], num_frames)
            filled = [group for group in groups if len(group)]
            lists += [(number, group, weight / len(filled)) for group in filled]
        self._lists = lists
        self._order = SampleOrder(seed, [len(rows) for _, rows, _ in lists], [share for _, _, share in lists])

    def draw(self, step: int, batch_size: int) -> list[tuple[int, np.ndarray]]:
        """Return the windows of a step: for each set that has some, its number and their first rows."""
        drawn: dict[int, list[int]] = {}
        for number in range(step * batch_size, (step + 1) * batch_size):
            which, item = self._order[number]
            owner, rows, _ = self._lists[which]
            drawn.setdefault(owner, []).append(int(rows[item]))
        return [(owner, np.array(drawn[owner])) for owner in sorted(drawn)]

    def windows(
        self, step: int, batch_size: int, device: torch.device, *, share: tuple[int, int] = (0, 1)
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Read the windows of a step, or one of several equal shares of them.

        Args:
            step: number of the step.
            batch_size: windows of the whole step.
            device: where to.
            share: as of `share_of`.

        Returns:
            Latents (B, T, N, D), actions (B, T, A), states (B, T, P).
        """
        drawn = share_of(self.draw(step, batch_size), *share)
        parts = [self.sets[owner].windows(starts, self.num_frames, device) for owner, starts in drawn]
        z, actions, states = (torch.cat(values) for values in zip(*parts, strict=True))
        return z, actions, states

    def spread(self, num_windows: int) -> list[tuple[int, np.ndarray]]:
        """Return windows spread evenly over all of them, in order, as `draw` does; fewer if there are not as many."""
        starts = [one.window_starts(self.num_frames) for one in self.sets]
        ends = np.cumsum([len(rows) for rows in starts])
        chosen = np.linspace(0, self.num_windows - 1, min(num_windows, self.num_windows)).astype(np.int64)
        owners = np.searchsorted(ends, chosen, side="right")
        return [
            (int(owner), starts[owner][chosen[owners == owner] - (ends[owner] - len(starts[owner]))])
            for owner in np.unique(owners)
        ]


def share_of(drawn: list[tuple[int, np.ndarray]], which: int, count: int) -> list[tuple[int, np.ndarray]]:
    """Return one of the equal shares into which what was drawn for a step is divided among processes.

    Args:
        drawn: as `WindowMixture.draw` returns it; the last axis of its arrays counts windows, whose number over all of
            them is a multiple of `count`.
        which: number of the share.
        count: how many there are.
    """
    size = sum(rows.shape[-1] for _, rows in drawn) // count
    first, own = which * size, []
    for owner, rows in drawn:
        kept = rows[..., max(first, 0) : max(first + size, 0)]
        first -= rows.shape[-1]
        own += [(owner, kept)] if kept.shape[-1] else []
    return own


def _by_motion(starts: np.ndarray, moving: np.ndarray, num_frames: int) -> list[np.ndarray]:
    """Divide windows into those in which something moves between two of their frames, and those in which nothing."""
    steps = np.arange(max(num_frames - 1, 1))
    moves = moving[starts[:, None] + steps].any(axis=1)
    return [starts[moves], starts[~moves]]


def _check_alike(sets: Sequence[LatentSet]) -> None:
    first = sets[0]
    for number, one in enumerate(sets):
        for name in ("z", "states", "actions"):
            there, here = getattr(first, name).shape[1:], getattr(one, name).shape[1:]
            if there != here:
                raise ValueError(
                    f"data sets must have {name} of one shape, the first has {there}, number {number + 1} has {here}"
                )
