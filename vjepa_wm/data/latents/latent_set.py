"""Trajectories whose frames are latents, end to end, as training reads them.

Why this file exists: an encoder is frozen while predictor and proposal are trained above it, so each frame is encoded
once. The arrays may be maps of files larger than memory: only the rows that a batch asks for are read.

Letters: E episodes, F frames of all of them, B windows, T frames of a window, N tokens per frame, D width, A action,
P state, O numbers that say where objects are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vjepa_wm.checks import check_at_least


@dataclass(frozen=True, eq=False, kw_only=True)
class LatentSet:
    """Episodes of one data set, or of a part of it."""

    z: np.ndarray
    """Latents of all frames of the data set, (F, N, D) float16."""
    states: np.ndarray
    """(F, P) float32."""
    actions: np.ndarray
    """(F, A) float32; a row moves its frame to the next, the last of an episode moves nothing."""
    objects: np.ndarray | None
    """(F, O) float32, or None where the data set tells none."""
    firsts: np.ndarray
    """First frame of each episode of this part, (E,)."""
    lengths: np.ndarray
    """Its number of frames, (E,)."""
    object_names: tuple[str, ...] = ()
    """What the O numbers are; empty where the data set tells none."""
    pictures: np.ndarray | None = None
    """What tells the pictures of each episode of the data set from others, a number each; None: unknown."""

    @property
    def num_episodes(self) -> int:
        """Episodes of this part."""
        return len(self.firsts)

    @property
    def num_frames(self) -> int:
        """Frames of this part."""
        return int(self.lengths.sum())

    def part(self, episodes: Sequence[int] | np.ndarray) -> LatentSet:
        """Return some of the episodes, named by their place, on the same arrays."""
        chosen = np.asarray(episodes, dtype=np.int64)
        return replace(self, firsts=self.firsts[chosen], lengths=self.lengths[chosen])

    def content(self) -> str:
        """Return text that tells the data set from others by what is recorded in it; all its parts have the same."""
        digest = hashlib.blake2b(digest_size=8)
        for values in (self.states, self.actions):
            digest.update(f"{values.shape}".encode())
            digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()

    def pictures_content(self) -> str:
        """Return text that tells the pictures of the data set from others; all its parts have the same."""
        return "" if self.pictures is None else hashlib.blake2b(self.pictures.tobytes(), digest_size=8).hexdigest()

    def split(self, validation_share: float, seed: int) -> tuple[LatentSet, LatentSet]:
        """Divide the episodes at random into two parts.

        Args:
            validation_share: share of the episodes that goes to the second part, rounded to whole episodes.
            seed: the same seed gives the same parts.

        Raises:
            ValueError: if a part would be empty.
        """
        num_val = num_validation(validation_share, self.num_episodes)
        order = np.random.default_rng(seed).permutation(self.num_episodes)
        return self.part(np.sort(order[num_val:])), self.part(np.sort(order[:num_val]))

    def frames(self) -> np.ndarray:
        """Return the rows of this part's frames in order, (frames,)."""
        return self.window_starts(1)

    def window_starts(self, num_frames: int) -> np.ndarray:
        """Return the first row of every window of so many frames that lies within an episode, in order.

        Raises:
            ValueError: if num_frames is not positive.
        """
        check_at_least(1, num_frames=num_frames)
        counts = np.maximum(self.lengths - num_frames + 1, 0)
        before = np.cumsum(counts) - counts
        return np.repeat(self.firsts - before, counts) + np.arange(counts.sum())

    def episode_ends(self, rows: np.ndarray) -> np.ndarray:
        """Return the last row of the episode that each row is in."""
        order = np.argsort(self.firsts, kind="stable")
        place = order[np.searchsorted(self.firsts[order], rows, side="right") - 1]
        return self.firsts[place] + self.lengths[place] - 1

    def read_z(self, rows: np.ndarray, device: torch.device) -> Tensor:
        """Read latents of rows of any shape, (*rows, N, D) float32."""
        return _rows(self.z, rows, device)

    def read_states(self, rows: np.ndarray, device: torch.device) -> Tensor:
        """Read states of rows of any shape, (*rows, P)."""
        return _rows(self.states, rows, device)

    def read_actions(self, rows: np.ndarray, device: torch.device) -> Tensor:
        """Read actions of rows of any shape, (*rows, A)."""
        return _rows(self.actions, rows, device)

    def windows(self, starts: np.ndarray, num_frames: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Read windows.

        Args:
            starts: their first rows, (B,).
            num_frames: frames T of a window.
            device: where to.

        Returns:
            Latents (B, T, N, D), actions (B, T, A) and states (B, T, P), float32.
        """
        rows = starts[:, None] + np.arange(num_frames)
        return self.read_z(rows, device), self.read_actions(rows, device), self.read_states(rows, device)


def num_validation(validation_share: float, num_episodes: int) -> int:
    """Return how many episodes are kept out of training.

    Raises:
        ValueError: if they are none, or all.
    """
    num_val = round(validation_share * num_episodes)
    if not 0 < num_val < num_episodes:
        raise ValueError(
            f"validation_share must leave at least one of {num_episodes} episodes in each part, got {validation_share}"
        )
    return num_val


def number_units(sets: Sequence[LatentSet], name: Literal["states", "actions"]) -> dict[str, tuple[float, ...]]:
    """Return `mean` and `scale`, the deviation, of each number of states or actions over all frames of some sets."""
    values = torch.from_numpy(np.concatenate([getattr(one, name)[one.frames()] for one in sets]))
    return units_of(values)


def units_of(values: Tensor) -> dict[str, tuple[float, ...]]:
    """Return `mean` and `scale`, the deviation, of each number of states or actions (F, A).

    A number that hardly varies must not be blown up, hence the floor of a thousandth [m, rad, gripper].
    """
    scale = values.std(dim=0).clamp_min(1e-3)
    return {"mean": tuple(values.mean(dim=0).tolist()), "scale": tuple(scale.tolist())}


def _rows(values: np.ndarray, rows: np.ndarray, device: torch.device) -> Tensor:
    """Read rows of an array that may be a map of a file; in the order of the file, which disks like."""
    flat = rows.reshape(-1)
    order = np.argsort(flat, kind="stable")
    read = np.empty((len(flat), *values.shape[1:]), values.dtype)
    read[order] = values[flat[order]]
    return torch.from_numpy(read).to(device).float().unflatten(0, rows.shape)
