"""The fingers and the table as seen from above: sizes and frames that all tasks with objects share. Needs no simulator.

An object pose is x, y, z of its centre [m] and its heading [rad] against the x axis. P = 7 entries of a tool pose, N
poses.
"""

from __future__ import annotations

from math import cos, sin, tau

import numpy as np

from vjepa_wm.envs.arm.workspace import FINGER_STROKE

FINGER_HALF = np.array([0.024, 0.03])
"""Half the size of both fingers together, when closed, along the tool's x and y [m]."""
ONE_FINGER_HALF = np.array([0.024, 0.015])
"""Half the size of one finger along the tool's x and y [m]."""
TIP_BELOW_TOOL = 0.011
"""How far the fingers reach below the tool centre point [m]."""
TO_CAMERA = np.array([0.8, -0.9]) / np.hypot(0.8, -0.9)
"""From a place on the table, the camera `front` is in this direction, (2,)."""


def direction(angle: float) -> np.ndarray:
    """Return the unit vector of an angle against the x axis [rad], (2,)."""
    return np.array([cos(angle), sin(angle)])


def seen_from(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Turn positions on the table into positions seen from an object.

    Args:
        points: x and y, (..., 2) [m].
        pose: of the object, (4,).

    Returns:
        Along the heading and to its left, (..., 2) [m].
    """
    ahead, left = direction(pose[3]), direction(pose[3] + tau / 4)
    return (points - pose[:2]) @ np.stack([ahead, left], axis=1)


def finger_extent(angle: float, gripper: float = 1.0) -> float:
    """Return how far the fingers reach from the tool centre point in a direction.

    Args:
        angle: direction, seen from the tool [rad].
        gripper: 0 open .. 1 closed.

    Returns:
        Distance [m].
    """
    half = FINGER_HALF + np.array([0.0, FINGER_STROKE * (1.0 - gripper)])
    return float(np.abs(direction(angle)) @ half)


def finger_middles(poses: np.ndarray) -> np.ndarray:
    """Return where the middles of both fingers are.

    Args:
        poses: tool poses, straight down, (N, P).

    Returns:
        x and y of the finger at the tool's left and of the other, (N, 2, 2) [m].
    """
    offset = ONE_FINGER_HALF[1] + FINGER_STROKE * (1.0 - np.clip(poses[:, 6], 0.0, 1.0))
    side = offset[:, None] * np.stack([-np.sin(poses[:, 5]), np.cos(poses[:, 5])], axis=1)
    return poses[:, None, :2] + np.stack([side, -side], axis=1)


def hides(pose: np.ndarray, place: np.ndarray, *, along: float = -0.05, across: float = 0.13) -> bool:
    """Tell whether the hand is between a place on the table and the camera `front`.

    Args:
        pose: tool pose, (P,).
        place: x and y, (2,) [m].
        along: a hand that is this much nearer to the camera than the place, or more, can hide it [m].
        across: a hand that is less than this beside the line from the place to the camera hides it [m].
    """
    offset, sideways = pose[:2] - place, np.array([-TO_CAMERA[1], TO_CAMERA[0]])
    return bool(offset @ TO_CAMERA > along and abs(offset @ sideways) < across)
