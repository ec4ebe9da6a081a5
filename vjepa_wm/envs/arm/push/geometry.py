"""The block that is pushed and the fingers that push it: sizes, and where they touch. Needs no simulator.

A block pose is x, y, z of the centre [m] and the heading [rad], the direction of its marked end, against the x axis.
P = 7 entries of a tool pose.
"""

from __future__ import annotations

from math import remainder, tau

import numpy as np

from vjepa_wm.envs.arm.hand import TIP_BELOW_TOOL, direction, finger_extent, seen_from
from vjepa_wm.envs.arm.workspace import Workspace

PUSH_WORKSPACE = Workspace(
    np.array([0.36, -0.29, 0.04, 0.0, 0.0, -0.6, 0.0]), np.array([0.71, 0.29, 0.22, 0.0, 0.0, 0.6, 1.0])
)
"""Down to where the fingers' tips are 3 cm above the table, and further to all sides, so that the tool gets around a
block. Always upright, because so low and near to the robot a tilted hand comes to a singularity of the wrist."""
SUCCESS_RADIUS, SUCCESS_ANGLE = 0.04, 0.25
"""Largest distance of the block's centre [m] and largest turn [rad] from the goal's that count as success."""
BLOCK_HALF = np.array([0.08, 0.06, 0.035])
"""Half the block's length, width and height [m]; the same as in scene.xml."""
BLOCK_TOP = 2 * BLOCK_HALF[2]
"""Height of its upper side above the table [m]."""
BLOCK_LOW = np.array([0.48, -0.16, -np.pi / 4])
"""Least x, y [m] and heading [rad] of sampled blocks."""
BLOCK_HIGH = np.array([0.59, 0.16, np.pi / 4])
"""Largest x, y [m] and heading [rad] of sampled blocks. The fingers get to all sides of a block in between."""
PUSH_HEIGHT = 0.04
"""Height of the tool centre point at which the fingers push [m]."""


def heading_error(heading: float, goal: float) -> float:
    """Return the smallest turn from the goal's heading to a heading, in [-pi, pi] [rad]."""
    return remainder(heading - goal, tau)


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
    return bool((np.abs(seen_from(pose[:2], block)) < reach_around(pose, block) - slack).all())


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
    path = seen_from(pose[:2] + shares[:, None] * action[:2], block)
    open_most = np.array(pose)
    open_most[6] = np.clip(min(pose[6], pose[6] + action[6]), 0.0, 1.0)
    over = (np.abs(path) < reach_around(open_most, block)).all(axis=1)
    if over.any():
        tip = pose[2] - TIP_BELOW_TOOL
        # Lower than this where it meets the block, the fingers touch a side rather than an edge.
        if tip + shares[np.argmax(over)] * action[2] > BLOCK_TOP - 0.015:
            action[2] = max(action[2], BLOCK_TOP + 0.004 - tip)
    return action
