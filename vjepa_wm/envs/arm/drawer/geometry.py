"""The cabinet with a drawer, and the fingers that slide it: sizes, and where they touch. Needs no simulator.

A drawer is x, y of its cabinet, below the middle of the closed drawer's front, and how far it is open [m], (3,). It
opens towards the robot's right, along -y. P = 7 entries of a tool pose, N poses.
"""

from __future__ import annotations

import numpy as np

from vjepa_wm.envs.arm.hand import ONE_FINGER_HALF, TIP_BELOW_TOOL, finger_middles
from vjepa_wm.envs.arm.workspace import Workspace

DRAWER_WORKSPACE = Workspace(
    np.array([0.36, -0.29, 0.08, 0.0, 0.0, -0.4, 0.0]), np.array([0.70, 0.29, 0.27, 0.0, 0.0, 0.4, 1.0])
)
"""Down to where the fingers hold the handle of the drawer; the hand stays above the cabinet."""
SUCCESS_DISTANCE = 0.02
"""Largest difference of the opening to the goal's that counts as success [m]."""
DRAWER_LOW = np.array([0.45, 0.08, 0.0])
"""Least x and y of sampled cabinets and opening of sampled drawers [m]."""
DRAWER_HIGH = np.array([0.61, 0.14, 0.16])
"""Largest x and y of sampled cabinets and opening of sampled drawers [m]."""
MAX_OPENING = 0.18
"""Opening at which the drawer is stopped [m]."""
CABINET_TOP = 0.12
"""Height of the cabinet above the table [m]."""
HANDLE_OUT = 0.075
"""How far the handle's bar is before the drawer's front [m]; open fingers fit in between."""
HANDLE_TOP = 0.097
"""Height of the handle's upper side above the table [m]."""
HANDLE_CLOSED = 0.75
"""What the gripper measures when it holds the handle."""
GRIP_HEIGHT = 0.08
"""Height of the tool centre point at which the fingers hold the handle [m]."""
# Boxes that hold the cabinet, what of the drawer is out of it with the front, the handle's bar and its two posts, seen
# from the cabinet when the drawer is closed: least and largest x and y, and height [m].
BOXES_LOW = np.array([[-0.12, 0.0], [-0.12, 0.0], [-0.08, -0.085], [-0.08, -0.065], [0.06, -0.065]])
BOXES_HIGH = np.array([[0.12, 0.225], [0.12, 0.0], [0.08, -0.065], [-0.06, 0.0], [0.08, 0.0]])
BOXES_TOP = np.array([CABINET_TOP, CABINET_TOP, HANDLE_TOP, HANDLE_TOP, HANDLE_TOP])
# How the sides at their least and at their largest y move as the drawer opens, and whether they stop the fingers along
# x and along y.
LOW_MOVES = np.array([0.0, 1.0, 1.0, 1.0, 1.0])
HIGH_MOVES = np.array([0.0, 0.0, 1.0, 1.0, 1.0])
IS_FIRM = np.array([[True, True], [True, False], [True, False], [True, False], [True, False]])
# Points at which a path is looked at.
NUM_POINTS = 11


def handle_place(drawer: np.ndarray) -> np.ndarray:
    """Return x and y of the middle of the handle's bar, (2,) [m]."""
    return np.array([drawer[0], drawer[1] - drawer[2] - HANDLE_OUT])


def pose_at_handle(drawer: np.ndarray) -> np.ndarray:
    """Return the tool pose after moving a drawer: open fingers on both sides of the handle.

    Args:
        drawer: place and opening, (3,).

    Returns:
        Tool pose, (P,) float64.
    """
    return np.array([*handle_place(drawer), GRIP_HEIGHT, 0.0, 0.0, 0.0, 0.0])


def reaches_into(pose: np.ndarray, drawer: np.ndarray, slack: float) -> bool:
    """Tell whether the fingers are within the cabinet, the drawer or its handle.

    Args:
        pose: tool pose, (P,).
        drawer: place and opening, (3,).
        slack: how deep they may be [m].
    """
    is_over = np.asarray(np.asarray((_depths(pose[None], drawer) > slack).all(axis=3)).any(axis=1))
    return bool((is_over[0] & (pose[2] - TIP_BELOW_TOOL < BOXES_TOP - slack)).any())


def stay_out(pose: np.ndarray, action: np.ndarray, drawer: np.ndarray) -> np.ndarray:
    """Keep a displacement from pressing the fingers onto or against what does not give way, as a guarded arm would.

    The path may lead along y against the handle or the front, which moves the drawer; it stays above the cabinet, the
    drawer and the handle when it comes from above, and beside them otherwise. The open drawer counts as filled.

    Args:
        pose: tool pose, (P,).
        action: displacement, (P,).
        drawer: place and opening, (3,).

    Returns:
        The displacement, with z raised and x or y shortened where they must be, (P,) float64.
    """
    action = np.array(action, dtype=np.float64)
    path = pose + np.linspace(0.0, 1.0, NUM_POINTS)[:, None] * action
    tips = path[:, 2] - TIP_BELOW_TOOL
    depths, shares = _depths(path, drawer), np.ones(7)
    for box, top in enumerate(BOXES_TOP):
        is_over = (depths[:, :, box] > 0.0).all(axis=2)
        if not is_over.any():
            continue
        first, finger = divmod(int(np.argmax(is_over)), 2)
        # Lower than this where it meets the box, the fingers touch a side rather than an edge.
        if tips[first] > top - 0.015:
            action[2] = max(action[2], top + 0.004 - tips[0])
            continue
        axis = int(np.argmin(depths[first, finger, box]))
        depth = depths[:, finger, box, axis]
        if IS_FIRM[box, axis] and depth[-1] > depth[0]:
            # Turning and opening, too, lead the fingers there.
            moving = [axis, 5, 6]
            shares[moving] = np.minimum(shares[moving], _share_to_contact(depth[: first + 1]))
    return action * shares


def _share_to_contact(depth: np.ndarray) -> float:
    """Return the share of the path at which the depth, positive only at the last of its points, is zero."""
    if len(depth) == 1:
        return 0.0
    before, after = depth[-2:]
    return float(len(depth) - 2 + before / (before - after)) / (NUM_POINTS - 1)


def _depths(poses: np.ndarray, drawer: np.ndarray) -> np.ndarray:
    """Return how far each finger is over, or in, each box along x and y, (N, 2, 5, 2) [m]; negative where it is not."""
    (along, across), cos, sin = ONE_FINGER_HALF, np.abs(np.cos(poses[:, 5])), np.abs(np.sin(poses[:, 5]))
    # Half the width of the upright rectangles that hold a turned finger.
    half = np.stack([along * cos + across * sin, along * sin + across * cos], axis=1)
    opened = np.array([0.0, drawer[2]])
    low = drawer[:2] + BOXES_LOW - LOW_MOVES[:, None] * opened
    high = drawer[:2] + BOXES_HIGH - HIGH_MOVES[:, None] * opened
    to_middle = np.abs(finger_middles(poses)[:, :, None] - (low + high) / 2)
    return half[:, None, None] + (high - low) / 2 - to_middle
