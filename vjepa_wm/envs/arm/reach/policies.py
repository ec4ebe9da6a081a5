"""The scripted expert that brings the gripper to the goal's pose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vjepa_wm.envs.arm.arm_policies import displacement, straight


class ReachExpert:
    """Goes in a straight line to the goal's pose, which it reads from the info."""

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (7,) float32."""
        return straight(displacement(obs["state"], info["goal"]["state"])).astype(np.float32)
