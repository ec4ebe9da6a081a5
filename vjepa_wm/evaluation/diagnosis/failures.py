"""In what way episodes of an evaluation failed, told from their records alone.

Why this file exists: ten failures that never touched the object and ten that came to it and turned it wrongly want
different cures, and a success rate shows neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from vjepa_wm.evaluation.diagnosis.open_loop import OBJECT_MOVED
from vjepa_wm.evaluation.evaluated_episode import EpisodeResult

FailureKind = Literal["came back", "never touched", "stuck", "wrong heading", "fell short"]
FAILURE_KINDS: tuple[FailureKind, ...] = get_args(FailureKind)
MEANINGS: dict[FailureKind, str] = {
    "came back": "was solved at some step and not at the end",
    "never touched": "no object moved",
    "stuck": "the robot stood still for the last third of the episode",
    "wrong heading": "ended as near as others that were solved, so what is wrong is what the distance does not count",
    "fell short": "ended too far away",
}
STOOD_STILL = 0.01
"""A robot stands still where no number of its state changes by more than this [m, rad]."""
NEAR_SHARE = 0.25
"""Share of the distance at the start that counts as near where no episode was solved that would tell."""


def sort_failures(results: Sequence[EpisodeResult], solved_distance: float | None) -> dict[FailureKind, list[int]]:
    """Sort the episodes that were not solved at their end.

    Args:
        results: records, in the order of the protocol; those without states and objects are sorted by distance alone.
        solved_distance: as `largest_solved_distance` gives it.

    Returns:
        Numbers of the episodes of each kind; what the records cannot tell is left out: stuck without states, never
        touched without objects.
    """
    untold: set[FailureKind] = set()
    untold |= {"stuck"} if all(result.states is None for result in results) else set()
    untold |= {"never touched"} if all(result.objects is None for result in results) else set()
    kinds: dict[FailureKind, list[int]] = {kind: [] for kind in FAILURE_KINDS if kind not in untold}
    for k, result in enumerate(results):
        if not result.success_last:
            kinds[failure_kind(result, solved_distance)].append(k)
    return kinds


def failure_kind(result: EpisodeResult, solved_distance: float | None) -> FailureKind:
    """Tell how an unsolved episode failed.

    Args:
        result: its record.
        solved_distance: as `largest_solved_distance` gives it.
    """
    if result.success_ever:
        return "came back"
    if result.objects is not None and not _moved(result.objects, OBJECT_MOVED):
        return "never touched"
    if result.states is not None and not _moved(result.states[-1 - len(result.states) // 3 :], STOOD_STILL):
        return "stuck"
    near = NEAR_SHARE * result.distances[0] if solved_distance is None else solved_distance
    return "wrong heading" if result.distances[-1] <= near else "fell short"


def largest_solved_distance(results: Sequence[EpisodeResult]) -> float | None:
    """Return the largest distance of any moment that the environment called a success; None: there was none."""
    solved = [
        distance
        for result in results
        for distance, reached in zip(result.distances, result.reached, strict=True)
        if reached
    ]
    return max(solved, default=None)


def _moved(values: Sequence[Sequence[float]], least: float) -> bool:
    """Tell whether a number changes by more than a bound."""
    return bool((np.ptp(np.array(values), axis=0) > least).any())
