"""The numbers the plane worlds share and the geometry of their walls. Apart, so that policies need no simulator.

Letters: N points or segments, W walls. Walls are rectangles x_low, y_low, x_high, y_high [m].
"""

from __future__ import annotations

import numpy as np

from vjepa_wm.envs.task import ActionLimits

CONTROL_HZ = 5
"""Control steps per second."""
POINT_ACTION_HIGH = np.array([0.1, 0.1], dtype=np.float32)
"""Largest displacement per control step, (2,) [m]; the smallest is its negative."""
POINT_RADIUS = 0.065
"""Of the disc that the point is seen as, which walls stop [m]."""
SUCCESS_RADIUS = 0.05
"""Largest distance of the point to the goal that counts as success [m]."""
HALF_WIDTH = 0.5
"""From the middle of the plane to the middle of the walls around [m]."""
WALL_HALF = 0.02
"""Half the thickness of the walls inside [m]."""
PLAN_LIMITS = ActionLimits(size=(0.1, 0.1), state_low=(-HALF_WIDTH, -HALF_WIDTH), state_high=(HALF_WIDTH, HALF_WIDTH))
"""What a plan may do in the plane."""


def are_free(places: np.ndarray, walls: np.ndarray, radius: float = POINT_RADIUS) -> np.ndarray:
    """Tell at which places a disc touches no wall.

    Args:
        places: of its middle, (N, 2) [m].
        walls: (W, 4) [m].
        radius: of the disc [m].

    Returns:
        (N,) bool.
    """
    places = places[:, None]
    gaps = np.maximum(np.maximum(walls[:, :2] - places, places - walls[:, 2:]), 0.0)
    return (np.hypot(gaps[..., 0], gaps[..., 1]) >= radius).all(axis=1)


def are_clear(begins: np.ndarray, ends: np.ndarray, walls: np.ndarray, radius: float = POINT_RADIUS) -> np.ndarray:
    """Tell along which straight lines a disc touches no wall.

    Args:
        begins: of the way of its middle, (N, 2) [m].
        ends: (N, 2) [m].
        walls: (W, 4) [m].
        radius: of the disc [m].

    Returns:
        (N,) bool.
    """
    begins, way = begins[:, None], (ends - begins)[:, None]
    way = np.where(way == 0.0, 1e-12, way)
    clear = np.ones(len(begins), bool)
    # A wall made larger by the radius is the wall made wider, the wall made longer, and a disc at each corner.
    for outset in np.diag([radius, radius]):
        # When, as shares of the way, the line comes to the two borders on each axis.
        first, second = (walls[:, :2] - outset - begins) / way, (walls[:, 2:] + outset - begins) / way
        enters, leaves = np.minimum(first, second).max(axis=2), np.maximum(first, second).min(axis=2)
        clear &= ((enters >= leaves) | (leaves <= 0.0) | (enters >= 1.0)).all(axis=1)
    corners = walls[:, [[0, 1], [0, 3], [2, 1], [2, 3]]].reshape(-1, 2) - begins
    nearest = np.clip((corners * way).sum(axis=2) / (way**2).sum(axis=2), 0.0, 1.0)[..., None] * way
    return clear & (np.linalg.norm(corners - nearest, axis=2) >= radius).all(axis=1)
