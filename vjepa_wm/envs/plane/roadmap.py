"""Shortest ways of the point around walls: they turn only at corners, so those are all the places to think about.

Letters: K corners, W walls. Walls are rectangles x_low, y_low, x_high, y_high [m].

Source: Lozano-Perez and Wesley 1979, "An algorithm for planning collision-free paths among polyhedral obstacles".
"""

from __future__ import annotations

import numpy as np

from vjepa_wm.envs.plane.geometry import POINT_RADIUS, are_clear, are_free

# Ways turn this far outside of where the point would touch a corner, and may touch it by as much [m].
SLACK = 0.004
# Whether there is wall beside a corner is looked up this far from it [m].
PROBE = 0.001
# Of two ways of one length the one whose next corner is further: else the point would stop at each.
EAGERNESS = 0.999


class Roadmap:
    """What lies between any two places of one arrangement of walls."""

    def __init__(self, walls: np.ndarray) -> None:
        """Find the corners and the shortest ways between them.

        Args:
            walls: (W, 4) [m].
        """
        self._walls = np.asarray(walls, dtype=np.float64)
        self._corners = self._outside_corners()
        num = len(self._corners)
        begins, ends = np.repeat(self._corners, num, axis=0), np.tile(self._corners, (num, 1))
        self._between = self._straight(begins, ends).reshape(num, num)
        for k in range(num):
            self._between = np.minimum(self._between, self._between[:, k, None] + self._between[None, k])

    def next_place(self, place: np.ndarray, goal: np.ndarray) -> np.ndarray | None:
        """Return where to head for in a straight line on the shortest way to a goal, (2,); None if there is no way.

        Args:
            place: where the point is, (2,) [m].
            goal: where it shall go, (2,) [m].
        """
        place, goal = np.asarray(place, dtype=np.float64), np.asarray(goal, dtype=np.float64)
        if self._straight(place[None], goal[None])[0] < np.inf:
            return goal
        first, rest = self._legs(place, goal)
        ways = EAGERNESS * first + rest
        return self._corners[ways.argmin()] if np.isfinite(ways).any() else None

    def length(self, place: np.ndarray, goal: np.ndarray) -> float:
        """Return the length of the shortest way between two places, (2,) each [m]; infinite if there is none."""
        place, goal = np.asarray(place, dtype=np.float64), np.asarray(goal, dtype=np.float64)
        straight = float(self._straight(place[None], goal[None])[0])
        return min(straight, float(np.add(*self._legs(place, goal)).min(initial=np.inf)))

    def _outside_corners(self) -> np.ndarray:
        """Return the places from which the point goes around the corners of the walls, (K, 2)."""
        corners = self._walls[:, [[0, 1], [0, 3], [2, 1], [2, 3]]].reshape(-1, 2)
        outward = np.tile([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], (len(self._walls), 1))
        # Where walls join, there is wall beside the corner of each.
        is_open = np.ones(len(corners), bool)
        for side in ([1.0, -1.0], [-1.0, 1.0]):
            is_open &= are_free(corners + PROBE * outward * side, self._walls, PROBE / 2)
        places = np.unique((corners + (POINT_RADIUS + SLACK) * outward)[is_open].round(6), axis=0)
        return places[are_free(places, self._walls, POINT_RADIUS + SLACK / 2)]

    def _legs(self, place: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the straight way from a place to each corner and the shortest from there to the goal, (K,) each."""
        num = len(self._corners)
        first = self._straight(np.broadcast_to(place, (num, 2)), self._corners)
        last = self._straight(self._corners, np.broadcast_to(goal, (num, 2)))
        return first, (self._between + last).min(axis=1, initial=np.inf)

    def _straight(self, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Return the lengths of straight lines, infinite where a wall is in the way."""
        clear = are_clear(begins, ends, self._walls, POINT_RADIUS - SLACK)
        return np.where(clear, np.linalg.norm(ends - begins, axis=1), np.inf)
