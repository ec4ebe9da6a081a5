"""How policies grasp the brick, carry it and put it down: each a function of where gripper and brick are now.

P = 7 entries of a pose.
"""

from __future__ import annotations

import numpy as np

from vjepa_wm.envs.arm.arm_policies import displacement, straight
from vjepa_wm.envs.arm.brick.geometry import (
    BRICK_HALF,
    BRICK_WORKSPACE,
    GRASP_ABOVE,
    LYING,
    PRESSING,
    fitting_yaw,
    pose_around,
)
from vjepa_wm.envs.arm.hand import TIP_BELOW_TOOL, seen_from

CLEAR_ABOVE = LYING + TIP_BELOW_TOOL + 0.02
"""How high above the brick's centre the tool centre point travels: the fingers clear of it [m]."""
OVER = np.array([0.02, 0.008, 0.1])
"""The fingers go down from no further than this beside the brick's middle: along it, across it [m], turned [rad]."""
BESIDE = np.array([0.04, 0.013, 0.25])
"""The same for fingers that are down: from there they take the brick in between."""
LOW_ENOUGH = 0.012
"""Fingers no higher than this above where they grasp may close [m]."""
IS_OPEN = 0.1
"""A gripper that is closed no further takes the brick in between."""


def grasp(state: np.ndarray, brick: np.ndarray, above: float = GRASP_ABOVE) -> np.ndarray:
    """Return the next action towards holding the brick: open, over, down, close.

    Args:
        state: tool pose, (P,).
        brick: brick pose, (4,); not held.
        above: how far above the brick's centre to grasp it [m].

    Returns:
        Displacement, (P,) float64.
    """
    target = pose_around(brick, gripper=0.0)
    target[2] = brick[2] + above
    target[5] = np.clip(target[5], BRICK_WORKSPACE.low[5], BRICK_WORKSPACE.high[5])
    away = np.abs([*seen_from(state[:2], brick), state[5] - target[5]])
    is_down = state[2] < target[2] + LOW_ENOUGH
    is_near = (away < (BESIDE if is_down else OVER)).all() and state[6] < IS_OPEN
    if is_near and is_down:
        target[:6], target[6] = state[:6], PRESSING
    elif not is_near:
        target[2] = brick[2] + CLEAR_ABOVE
        # Up first, lest the fingers push the brick.
        if state[2] < target[2] - 0.01 and (away[:2] < BRICK_HALF[:2] + 0.08).all():
            target[:2], target[5] = state[:2], state[5]
    return straight(displacement(state, target))


def carry(state: np.ndarray, brick: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return the next action of a straight way for the held brick.

    Args:
        state: tool pose, (P,).
        brick: brick pose, (4,).
        goal: brick pose to arrive at, (4,).

    Returns:
        Displacement, (P,) float64; it leaves the gripper alone.
    """
    target = np.array(state)
    target[:3] += goal[:3] - brick[:3]
    # The marked end may point the other way, where the gripper would have to turn by more than a quarter.
    target[5] = np.clip(state[5] + fitting_yaw(goal[3] - brick[3]), BRICK_WORKSPACE.low[5], BRICK_WORKSPACE.high[5])
    return straight(displacement(state, target))


def let_go(state: np.ndarray) -> np.ndarray:
    """Return the action that opens the gripper where it is, (P,) float64."""
    return np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -state[6]])
