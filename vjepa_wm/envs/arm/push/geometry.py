"""The block that is pushed and the fingers that push it: sizes, and where they touch. Needs no simulator.

A block pose is x, y, z of the centre [m] and the heading [rad], the direction of its marked end, against the x axis.
P = 7 entries of a tool pose.
"""

from __future__ import annotations

from math import cos, remainder, sin, tau

import numpy as np

from vjepa_wm.envs.arm.workspace import FINGER_STROKE

BLOCK_HALF = np.array([0.08, 0.06, 0.035])
"""Half the block's length, width and height [m]; the same as in scene.xml."""
BLOCK_TOP = 2 * BLOCK_HALF[2]
"""Height of its upper side above the table [m]."""
BLOCK_LOW = np.array([0.48, -0.16, -np.pi / 4])
"""Least x, y [m] and heading [rad] of sampled blocks."""
BLOCK_HIGH = np.array([0.59, 0.16, np.pi / 4])
"""Largest x, y [m] and heading [rad] of sampled blocks. The fingers get to all sides of a block in between."""
FINGER_HALF = np.array([0.024, 0.03])
"""Half the size of both fingers together, when closed, along the tool's x and y [m]."""
TIP_BELOW_TOOL = 0.011
"""How far the fingers reach below the tool centre point [m]."""
PUSH_HEIGHT = 0.04
"""Height of the tool centre point at which the fingers push [m]."""


def direction(angle: float) -> np.ndarray:
    """Return the unit vector of an angle against the x axis [rad], (2,)."""
    return np.array([cos(angle), sin(angle)])


def heading_error(heading: float, goal: float) -> float:
    """Return the smallest turn from the goal's heading to a heading, in [-pi, pi] [rad]."""
    return remainder(heading - goal, tau)


def in_block_frame(points: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Turn positions on the table into positions seen from the block.

    Args:
        points: x and y, (..., 2) [m].
        block: block pose, (4,).

    Returns:
        Along the heading and to its left, (..., 2) [m].
    """
    ahead, left = direction(block[3]), direction(block[3] + tau / 4)
    return (points - block[:2]) @ np.stack([ahead, left], axis=1)


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


def reach_around(pose: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Return how far from the block's centre, along its two axes, the tool centre point touches it, (2,) [m]."""
    angle = block[3] - pose[5]
    return BLOCK_HALF[:2] + np.array([finger_extent(angle, pose[6]), finger_extent(angle + tau / 4, pose[6])])


def reaches_into(pose: np.ndarray, block: np.ndarray, slack: float) -> bool:
    """Tell whether the fingers are within the block.

    Args:
        pose: tool pose, (P,).
        block: block pose, (4,).
        slack: how deep they may be [m].
    """
    if pose[2] - TIP_BELOW_TOOL > BLOCK_TOP - slack:
        return False
    return bool((np.abs(in_block_frame(pose[:2], block)) < reach_around(pose, block) - slack).all())


def pose_behind(block: np.ndarray, gap: float = 0.002) -> np.ndarray:
    """Return the tool pose after a push along the heading: behind the block, closed, straight down, not turned.

    Args:
        block: block pose, (4,).
        gap: distance between fingers and block [m].

    Returns:
        Tool pose, (P,) float64.
    """
    pose = np.array([0.0, 0.0, PUSH_HEIGHT, 0.0, 0.0, 0.0, 1.0])
    pose[:2] = block[:2] - (reach_around(pose, block)[0] + gap) * direction(block[3])
    return pose


def stay_above(pose: np.ndarray, action: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Keep a displacement from pressing the fingers onto the block, as a guarded arm would.

    The path may lead into the block's sides, which is a push, but not down onto it.

    Args:
        pose: tool pose, (P,).
        action: displacement, (P,).
        block: block pose, (4,).

    Returns:
        The displacement, with z raised where it must be, (P,) float64.
    """
    action = np.array(action, dtype=np.float64)
    shares = np.linspace(0.0, 1.0, 11)
    path = in_block_frame(pose[:2] + shares[:, None] * action[:2], block)
    open_most = np.array(pose)
    open_most[6] = np.clip(min(pose[6], pose[6] + action[6]), 0.0, 1.0)
    over = (np.abs(path) < reach_around(open_most, block)).all(axis=1)
    if over.any():
        tip = pose[2] - TIP_BELOW_TOOL
        # Lower than this where it meets the block, the fingers touch a side rather than an edge.
        if tip + shares[np.argmax(over)] * action[2] > BLOCK_TOP - 0.015:
            action[2] = max(action[2], BLOCK_TOP + 0.004 - tip)
    return action
