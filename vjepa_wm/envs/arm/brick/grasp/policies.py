"""The scripted expert that grasps the brick and lifts it to the goal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vjepa_wm.envs.arm.brick.geometry import holds
from vjepa_wm.envs.arm.brick.moves import carry, grasp


class GraspExpert:
    """Grasps the brick and takes it to its place at the goal, which it reads from the info, and stays there."""

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (7,) float32."""
        state, brick = obs["state"].astype(np.float64), info["object"].astype(np.float64)
        if holds(state, brick):
            action = carry(state, brick, info["goal"]["object"].astype(np.float64))
        else:
            action = grasp(state, brick)
        return action.astype(np.float32)
