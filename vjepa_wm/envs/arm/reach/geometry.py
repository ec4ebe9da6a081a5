"""Where the tool may be in the task without objects. Needs no simulator.

P = 7 entries of a pose.
"""

from __future__ import annotations

import numpy as np

from vjepa_wm.envs.arm.workspace import Workspace

POSE_LOW = np.array([0.38, -0.25, 0.10, -0.1, -0.1, -0.6, 0.0])
"""Lower corner of the workspace above the table, (P,)."""
POSE_HIGH = np.array([0.64, 0.25, 0.42, 0.1, 0.1, 0.6, 1.0])
"""Upper corner of the workspace above the table, (P,). Every pose in between is within the joint limits and away from
singularities."""
REACH_WORKSPACE = Workspace(POSE_LOW, POSE_HIGH)
"""High above the table, where nothing can be touched."""
SUCCESS_RADIUS = 0.05
"""Largest distance of the tool centre point to the goal's that counts as success [m]."""
