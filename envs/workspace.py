"""The numbers all tasks share: how far a step goes, where the tool may be. Apart, so that policies need no simulator.

P = 7 entries of a pose: x, y, z [m]; roll, pitch, yaw [rad]; gripper 0 open .. 1 closed.
"""

from __future__ import annotations

import numpy as np

CONTROL_HZ = 5
"""Control steps per second."""
ACTION_HIGH = np.array([0.075, 0.075, 0.075, 0.2, 0.2, 0.2, 1.0], dtype=np.float32)
"""Largest displacement per control step, (P,); the smallest is its negative."""
POSE_LOW = np.array([0.38, -0.25, 0.10, -0.1, -0.1, -0.6, 0.0])
"""Lower corner of the workspace, (P,)."""
POSE_HIGH = np.array([0.64, 0.25, 0.42, 0.1, 0.1, 0.6, 1.0])
"""Upper corner of the workspace, (P,). Every pose in between is within the joint limits and away from singularities."""
