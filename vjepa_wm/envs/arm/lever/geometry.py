"""The lever and the fingers that turn it: sizes, and where they touch. Needs no simulator.

A lever is x, y of its axis [m] and its yaw [rad], the direction of its bright arm against the x axis, (3,). The arm is
called 1 where the bright one is meant and -1 for the other; a turn is 1 to the left, as seen from above, and -1 to the
right. P = 7 entries of a tool pose, N poses.
"""

from __future__ import annotations

from math import remainder, tau

import numpy as np

from vjepa_wm.envs.arm.hand import (
    ONE_FINGER_HALF,
    TIP_BELOW_TOOL,
    TO_CAMERA,
    direction,
    finger_extent,
    finger_middles,
)
from vjepa_wm.envs.arm.workspace import Workspace

LEVER_WORKSPACE = Workspace(
    np.array([0.36, -0.29, 0.04, 0.0, 0.0, -0.6, 0.0]), np.array([0.71, 0.29, 0.22, 0.0, 0.0, 0.6, 1.0])
)
"""Down to where the fingers' tips are 3 cm above the table, and to all sides of a lever; the hand stays above it."""
SUCCESS_ANGLE = 0.15
"""Largest turn between the lever and the goal's that counts as success [rad]."""
LEVER_LOW = np.array([0.50, -0.15, -np.pi])
"""Least x, y [m] and yaw [rad] of sampled levers."""
LEVER_HIGH = np.array([0.57, 0.15, np.pi])
"""Largest x, y [m] and yaw [rad] of sampled levers. The fingers get to both sides of both arms, whatever the yaw."""
LEVER_HALF = np.array([0.16, 0.018])
"""Half the lever's length and width [m]; its middle is above the axis."""
LEVER_TOP = 0.066
"""Height of the lever's upper side above the table [m]."""
HUB_RADIUS = 0.03
"""Radius of what stands below the lever, around its axis [m]."""
PUSH_HEIGHT = 0.04
"""Height of the tool centre point at which the fingers push [m]."""
PUSH_RADIUS = 0.11
"""How far from the axis, along the lever, the expert pushes [m]."""
GAP = 0.025
"""Distance between fingers and lever before and after a push [m]."""
# Lower than this below the upper side where they meet it, the fingers touch a side rather than an edge [m].
EDGE = 0.015
# Points at which a path is looked at.
NUM_POINTS = 11


def turn_between(yaw: float, goal: float) -> float:
    """Return the smallest turn from a yaw to the goal's, in [-pi, pi] [rad]."""
    return remainder(goal - yaw, tau)


def place_beside(
    lever: np.ndarray, turn: int, arm: int, *, gap: float = GAP, radius: float = PUSH_RADIUS
) -> np.ndarray:
    """Return where closed fingers are beside an arm of the lever, on the side from which they turn it.

    Args:
        lever: place and yaw, (3,).
        turn: the way it turns, 1 or -1.
        arm: which arm, 1 or -1.
        gap: distance between fingers and lever [m].
        radius: distance from the axis, along the lever [m].

    Returns:
        x and y of the tool centre point, (2,) [m].
    """
    left = lever[2] + tau / 4
    away = LEVER_HALF[1] + finger_extent(left) + gap
    return lever[:2] + arm * (radius * direction(lever[2]) - turn * away * direction(left))


def arm_to_push(lever: np.ndarray, turn: int) -> int:
    """Return which arm to push so that the hand is behind the lever, as the camera `front` sees it: 1 or -1.

    Args:
        lever: place and yaw, (3,).
        turn: the way it turns, 1 or -1.
    """
    return 1 if (place_beside(lever, turn, 1) - lever[:2]) @ TO_CAMERA < 0 else -1


def pose_beside(lever: np.ndarray, turn: int) -> np.ndarray:
    """Return the tool pose after turning a lever: closed, beside the arm that was pushed, behind it for the camera.

    Args:
        lever: place and yaw, (3,).
        turn: the way it was turned, 1 or -1.

    Returns:
        Tool pose, (P,) float64.
    """
    return np.array([*place_beside(lever, turn, arm_to_push(lever, turn)), PUSH_HEIGHT, 0.0, 0.0, 0.0, 1.0])


def reaches_into(pose: np.ndarray, lever: np.ndarray, slack: float) -> bool:
    """Tell whether the fingers are within the lever or its hub.

    Args:
        pose: tool pose, (P,).
        lever: place and yaw, (3,).
        slack: how deep they may be [m].
    """
    in_lever, in_hub, _ = _depths(pose[None], lever)
    is_over = ((in_lever > slack).all(axis=2) | (in_hub > slack)).any()
    return bool(is_over and pose[2] - TIP_BELOW_TOOL < LEVER_TOP - slack)


def stay_out(pose: np.ndarray, action: np.ndarray, lever: np.ndarray) -> np.ndarray:
    """Keep a displacement from pressing the fingers onto or against what does not give way, as a guarded arm would.

    The path may lead into the sides of the lever, which turns it, but not down onto it nor against its ends or hub, and
    two fingers on it do not turn it either way at once.

    Args:
        pose: tool pose, (P,).
        action: displacement, (P,).
        lever: place and yaw, (3,).

    Returns:
        The displacement, with z raised, or all but z and tilt shortened, where they must be, (P,) float64.
    """
    action = np.array(action, dtype=np.float64)
    path = pose + np.linspace(0.0, 1.0, NUM_POINTS)[:, None] * action
    tips = path[:, 2] - TIP_BELOW_TOOL
    in_lever, in_hub, turns = _depths(path, lever)
    meets_lever = np.asarray((in_lever > 0.0).all(axis=2))
    is_over = (meets_lever | (in_hub > 0.0)).any(axis=1)
    if not is_over.any():
        return action
    first, aside = int(np.argmax(is_over)), [0, 1, 5, 6]
    if tips[first] > LEVER_TOP - EDGE:
        action[2] = max(action[2], LEVER_TOP + 0.004 - tips[0])
        if tips[0] < LEVER_TOP:  # first up, then over it
            action[aside] *= max(first - 1, 0) / (NUM_POINTS - 1)
        return action
    share = 1.0
    for finger in (0, 1):
        share = min(share, _share_to_contact(in_hub[:, finger]))
        first = int(np.argmax(meets_lever[:, finger]))
        if meets_lever[first, finger] and np.argmin(in_lever[first, finger]) == 0:
            share = min(share, _share_to_contact(in_lever[:, finger, 0]))
    # Fingers that touch it both and would turn it either way hold it, and each other.
    jam = np.where(turns[:, 0] != turns[:, 1], in_lever.min(axis=(1, 2)), -0.1)
    action[aside] *= min(share, _share_to_contact(jam))
    return action


def _share_to_contact(depth: np.ndarray) -> float:
    """Return the share of a path until the depth, one for each point, is positive and grows."""
    growing = (depth[1:] > 0.0) & (depth[1:] > depth[:-1])
    if not growing.any():
        return 1.0
    first = int(np.argmax(growing))
    before, after = depth[first], depth[first + 1]
    return (first + max(0.0, -before / (after - before))) / (NUM_POINTS - 1)


def _depths(poses: np.ndarray, lever: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how far each finger is over, or in, the lever along and across it, (N, 2, 2), and the hub, (N, 2) [m].

    Negative where it is not. Last, which way each would turn the lever, 1 or -1, (N, 2), on the side where it
    is at the first pose, since it cannot get to the other one through the lever.
    """
    offset = finger_middles(poses) - lever[:2]
    turn = poses[:, 5] - lever[2]
    (along, across), cos, sin = ONE_FINGER_HALF, np.abs(np.cos(turn)), np.abs(np.sin(turn))
    # Half the size, along the lever and across it, of the rectangles that hold a turned finger.
    half = np.stack([along * cos + across * sin, along * sin + across * cos], axis=1)
    axes = np.stack([direction(lever[2]), direction(lever[2] + tau / 4)], axis=1)
    places = offset @ axes
    ahead = np.stack([np.cos(poses[:, 5]), np.sin(poses[:, 5])], axis=1)[:, None]
    seen = np.stack([(offset * ahead).sum(2), offset[..., 1] * ahead[..., 0] - offset[..., 0] * ahead[..., 1]], axis=2)
    gap = np.linalg.norm(np.maximum(np.abs(seen) - ONE_FINGER_HALF, 0.0), axis=2)
    turns = -np.sign(places[..., 0] * places[0, :, 1])
    return half[:, None] + LEVER_HALF - np.abs(places), HUB_RADIUS - gap, turns
