"""The numbers tasks share: how far a step goes, where the tool may be. Apart, so that policies need no simulator.

P = 7 entries of a pose: x, y, z [m]; roll, pitch, yaw [rad]; gripper 0 open .. 1 closed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CONTROL_HZ = 5
"""Control steps per second."""
ACTION_HIGH = np.array([0.075, 0.075, 0.075, 0.2, 0.2, 0.2, 1.0], dtype=np.float32)
"""Largest displacement per control step, (P,); the smallest is its negative."""
FINGER_STROKE = 0.04
"""How far each finger moves to the side when the gripper opens [m]."""
POSE_LOW = np.array([0.38, -0.25, 0.10, -0.1, -0.1, -0.6, 0.0])
"""Lower corner of the workspace above the table, (P,)."""
POSE_HIGH = np.array([0.64, 0.25, 0.42, 0.1, 0.1, 0.6, 1.0])
"""Upper corner of the workspace above the table, (P,). Every pose in between is within the joint limits and away from
singularities."""


class Workspace(NamedTuple):
    """Where the tool may be."""

    low: np.ndarray
    """Lower corner, (P,)."""
    high: np.ndarray
    """Upper corner, (P,)."""


REACH_WORKSPACE = Workspace(POSE_LOW, POSE_HIGH)
"""High above the table, where nothing can be touched."""
PUSH_WORKSPACE = Workspace(
    np.array([0.36, -0.29, 0.04, 0.0, 0.0, -0.6, 0.0]), np.array([0.71, 0.29, 0.22, 0.0, 0.0, 0.6, 1.0])
)
"""Down to where the fingers' tips are 3 cm above the table, and further to all sides, so that the tool gets around a
block. Always upright, because so low and near to the robot a tilted hand comes to a singularity of the wrist."""
BRICK_WORKSPACE = Workspace(
    np.array([0.38, -0.28, 0.021, 0.0, 0.0, -1.2, 0.0]), np.array([0.68, 0.28, 0.30, 0.0, 0.0, 1.2, 1.0])
)
"""Down to where the fingers' tips are 1 cm above the table, turning as far as the wrist does everywhere. Upright, as
above."""
DRAWER_WORKSPACE = Workspace(
    np.array([0.36, -0.29, 0.08, 0.0, 0.0, -0.4, 0.0]), np.array([0.70, 0.29, 0.27, 0.0, 0.0, 0.4, 1.0])
)
"""Down to where the fingers hold the handle of the drawer; the hand stays above the cabinet."""
