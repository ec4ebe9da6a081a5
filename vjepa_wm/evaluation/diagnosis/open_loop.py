"""How far imagined latents are from what is really seen, step by step, beside the error of "nothing changes".

Why this file exists: a predictor can be worse than standing still and look well trained, since most patches do not
change. Where an object moved is what planning needs, so those sequences are counted on their own.

Letters: R sequences, H horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

OBJECT_MOVED = 0.01
"""An object has moved where one of its numbers differs by more than this [m, rad]."""
Motion = Literal["all", "object moved", "object at rest"]


@dataclass(frozen=True, kw_only=True)
class OpenLoopRow:
    """Errors after a number of steps."""

    motion: Motion
    """Of which sequences."""
    sequences: int
    """How many these are."""
    step: int
    """After how many actions."""
    imagined: float
    """L2 energy between imagined and true latent, mean."""
    standing_still: float
    """L2 energy between the latent at the start and the true one, mean."""
    ratio: float
    """Of the two; above 1 it were better to imagine nothing."""


def has_moved(objects: np.ndarray) -> np.ndarray:
    """Tell in which sequences an object moved.

    Args:
        objects: numbers of the objects at the start and after each action, (R, H + 1, E).

    Returns:
        (R,) bool; all False where E is 0.
    """
    return (np.abs(objects - objects[:, :1]) > OBJECT_MOVED).any(axis=(1, 2))


def open_loop(imagined: np.ndarray, still: np.ndarray, moved: np.ndarray | None) -> list[OpenLoopRow]:
    """Average errors over sequences.

    Args:
        imagined: error of what is imagined after each action, (R, H).
        still: error of "nothing changes", (R, H).
        moved: in which sequences an object moved, (R,); None: the task has no objects.

    Returns:
        A row per step, of all sequences, then of those with and without motion; groups without a sequence are left out.
    """
    groups: list[tuple[Motion, np.ndarray]] = [("all", np.full(len(imagined), True))]
    if moved is not None:
        groups += [("object moved", moved), ("object at rest", ~moved)]
    rows = []
    for motion, chosen in groups:
        if not chosen.any():
            continue
        for step, (ours, theirs) in enumerate(
            zip(imagined[chosen].mean(axis=0).tolist(), still[chosen].mean(axis=0).tolist(), strict=True), start=1
        ):
            rows.append(
                OpenLoopRow(
                    motion=motion,
                    sequences=int(chosen.sum()),
                    step=step,
                    imagined=ours,
                    standing_still=theirs,
                    ratio=ours / theirs if theirs > 0 else float("inf"),
                )
            )
    return rows
