"""The numbers tasks share: how far a step goes, what a plan may do. Apart, so that policies need no simulator.

P = 7 entries of a pose: x, y, z [m]; roll, pitch, yaw [rad]; gripper 0 open .. 1 closed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vjepa_wm.envs.task import ActionLimits

CONTROL_HZ = 5
"""Control steps per second."""
ACTION_HIGH = np.array([0.075, 0.075, 0.075, 0.2, 0.2, 0.2, 1.0], dtype=np.float32)
"""Largest displacement per control step, (P,); the smallest is its negative."""
FINGER_STROKE = 0.04
"""How far each finger moves to the side when the gripper opens [m]."""


class Workspace(NamedTuple):
    """Where the tool may be."""

    low: np.ndarray
    """Lower corner, (P,)."""
    high: np.ndarray
    """Upper corner, (P,)."""


def plan_limits(workspace: Workspace, *, turns: bool = False, grips: bool = False) -> ActionLimits:
    """Return what a plan may do with the arm: move the tool within the workspace, straight down.

    Args:
        workspace: where the tool may be.
        turns: whether it may turn about the vertical.
        grips: whether it may open and close the gripper, each as far as it goes.

    Returns:
        Limits of a DROID action, (P,).
    """
    reach = [float(size) for size in ACTION_HIGH]
    return ActionLimits(
        size=(*reach[:3], 0.0, 0.0, reach[5] if turns else 0.0, reach[6] if grips else 0.0),
        discrete=(6,) if grips else (),
        state_low=tuple(workspace.low[:3].tolist()),
        state_high=tuple(workspace.high[:3].tolist()),
        away=(-1.0, -1.0, 1.0),
    )
