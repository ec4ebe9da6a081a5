"""The brick that is grasped and the fingers around it: sizes, and who holds or touches whom. Needs no simulator.

A brick pose is x, y, z of the centre [m] and the heading [rad], the direction of its marked end, against the x axis.
Letters: P = 7 entries of a tool pose, N poses.
"""

from __future__ import annotations

from math import cos, remainder, sin, tau

import numpy as np

from vjepa_wm.envs.arm.hand import ONE_FINGER_HALF, TIP_BELOW_TOOL, seen_from
from vjepa_wm.envs.arm.workspace import FINGER_STROKE, Workspace

BRICK_WORKSPACE = Workspace(
    np.array([0.38, -0.28, 0.021, 0.0, 0.0, -1.2, 0.0]), np.array([0.68, 0.28, 0.30, 0.0, 0.0, 1.2, 1.0])
)
"""Down to where the fingers' tips are 1 cm above the table, turning as far as the wrist does everywhere. Upright, as
above."""
SUCCESS_RADIUS = 0.04
"""Largest distance of the brick's centre to the goal's that counts as success [m]."""
BRICK_HALF = np.array([0.08, 0.028, 0.028])
"""Half the brick's length, width and height [m]; the same as in scene.xml."""
LYING = float(BRICK_HALF[2])
"""Height of the centre of a brick that lies on the table [m]."""
BRICK_LOW = np.array([0.45, -0.18, -np.pi / 4])
"""Least x, y [m] and heading [rad] of sampled bricks."""
BRICK_HIGH = np.array([0.61, 0.18, np.pi / 4])
"""Largest x, y [m] and heading [rad] of sampled bricks."""
LIFT = 0.10
"""How high a grasped brick is lifted above where it lies [m]."""
GRASP_ABOVE = 0.010
"""How far above the brick's centre the tool centre point grasps it [m]."""
HOLDING = 1.0 - float(BRICK_HALF[1]) / FINGER_STROKE
"""The gripper when its fingers touch both long sides of the brick."""
PRESSING = 1.0
"""What a gripper that holds the brick is told to close to; each finger presses with 70 N then."""
TOUCH = 0.004
"""Fingers no further than this from both sides of the brick, taken together, hold it [m]."""
EDGE = 0.008
"""A finger whose tip is not lower than this below the brick's upper side does not touch a side but an edge [m]."""


def fitting_yaw(heading: float) -> float:
    """Return the turn of the gripper nearest to none at which its fingers are along the brick's long sides [rad]."""
    return remainder(heading, tau / 2)


def pose_around(brick: np.ndarray, gripper: float = HOLDING) -> np.ndarray:
    """Return the tool pose with the fingers on the long sides of a brick, at its middle.

    Args:
        brick: brick pose, (4,).
        gripper: 0 open .. 1 closed.

    Returns:
        Tool pose, (P,) float64.
    """
    x, y, z, heading = (float(value) for value in brick)
    return np.array([x, y, z + GRASP_ABOVE, 0.0, 0.0, fitting_yaw(heading), gripper])


def holds(pose: np.ndarray, brick: np.ndarray) -> bool:
    """Tell whether the brick is between fingers that are closed upon it.

    Args:
        pose: tool pose, (P,).
        brick: brick pose, (4,).
    """
    along, across = seen_from(pose[:2], brick)
    turn, above = fitting_yaw(brick[3] - pose[5]), pose[2] - TIP_BELOW_TOOL - brick[2]
    width = 2 * (BRICK_HALF[1] + ONE_FINGER_HALF[0] * abs(sin(turn))) / cos(turn)
    room = 2 * FINGER_STROKE * (1.0 - pose[6]) - width
    is_between = abs(along) < BRICK_HALF[0] - TOUCH and abs(across) < ONE_FINGER_HALF[1] and abs(above) < LYING - TOUCH
    return bool(is_between and abs(room) <= TOUCH)


def fingers_over(poses: np.ndarray, brick: np.ndarray, slack: float = 0.002) -> np.ndarray:
    """Tell at which poses a finger is above the brick or in it, as seen from above.

    Args:
        poses: tool poses, straight down, (N, P).
        brick: brick pose, (4,).
        slack: how far in a finger may be [m].

    Returns:
        Whether it is, (N,) bool.
    """
    yaw, turn = poses[:, 5], brick[3] - poses[:, 5]
    dx, dy = brick[0] - poses[:, 0], brick[1] - poses[:, 1]
    x, y = np.cos(yaw) * dx + np.sin(yaw) * dy, np.cos(yaw) * dy - np.sin(yaw) * dx
    c, s = np.cos(turn), np.sin(turn)
    finger, brick_half = ONE_FINGER_HALF - slack, BRICK_HALF[:2]
    mixing = np.abs(np.stack([np.stack([c, s]), np.stack([s, c])]))  # of the axes of two rectangles, (2, 2, N)
    from_tool = finger[:, None] + np.einsum("ijn,j->in", mixing, brick_half)
    from_brick = brick_half[:, None] + np.einsum("ijn,j->in", mixing, finger)
    spread = ONE_FINGER_HALF[1] + FINGER_STROKE * (1.0 - poses[:, 6])
    over = np.zeros(len(poses), dtype=bool)
    for away in (y - spread, y + spread):  # from the middle of each finger to that of the brick
        seen_from_tool, seen_from_brick = np.stack([x, away]), np.stack([c * x + s * away, c * away - s * x])
        # Two rectangles overlap where they do along all four of their axes.
        over |= (np.abs(seen_from_tool) < from_tool).all(axis=0) & (np.abs(seen_from_brick) < from_brick).all(axis=0)
    return over


def reaches_into(pose: np.ndarray, brick: np.ndarray, slack: float) -> bool:
    """Tell whether a finger is within the brick.

    Args:
        pose: tool pose, straight down, (P,).
        brick: brick pose, (4,).
        slack: how deep it may be [m].
    """
    low_enough = pose[2] - TIP_BELOW_TOOL < brick[2] + LYING - slack
    return bool(low_enough and fingers_over(np.asarray(pose, dtype=np.float64)[None], brick, slack)[0])


def guard(pose: np.ndarray, action: np.ndarray, brick: np.ndarray) -> np.ndarray:
    """Keep a displacement from pressing the fingers onto the brick, or a held brick onto the table.

    The path may lead into the brick's sides, which pushes or grasps it, but not down onto it.

    Args:
        pose: tool pose, (P,).
        action: displacement, (P,).
        brick: brick pose, (4,).

    Returns:
        The displacement, with z raised where it must be, (P,) float64.
    """
    action = np.array(action, dtype=np.float64)
    if holds(pose, brick):
        action[2] = max(action[2], LYING - brick[2])
        return action
    shares = np.linspace(0.0, 1.0, 11)
    path = pose + shares[:, None] * action
    path[:, 6] = np.clip(path[:, 6], 0.0, 1.0)
    over = fingers_over(path, brick)
    tip, top = pose[2] - TIP_BELOW_TOOL, brick[2] + LYING
    # Lower than this where it meets the brick, a finger touches a side.
    if over.any() and tip + shares[np.argmax(over)] * action[2] > top - EDGE:
        action[2] = max(action[2], top + 0.004 - tip)
    return action


def keep_grip(gripper: float, change: float, told: float) -> float:
    """Return the change of the gripper that keeps what is held until the gripper is told to open.

    The gripper heads for what is measured plus a change, as all of the arm does. Fingers that something between them
    holds up are not where they were told to go; a change of nothing would take the force out of them. So they keep
    pressing as before, as grippers of robots do, unless told to open by more than a tenth.

    Args:
        gripper: as measured, 0 open .. 1 closed.
        change: what the action says.
        told: where the gripper was told to go before.
    """
    is_pressing = told - gripper > 0.05
    return max(change, told - gripper) if is_pressing and change > -0.1 else change
