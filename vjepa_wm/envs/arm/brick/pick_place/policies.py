"""The scripted expert that grasps the brick, carries it to the goal, puts it down and lets go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vjepa_wm.envs.arm.arm_policies import displacement, straight
from vjepa_wm.envs.arm.brick.geometry import LIFT, LYING, holds
from vjepa_wm.envs.arm.brick.moves import carry, grasp, let_go

CLOSE_ENOUGH = 0.012
"""Largest horizontal distance from the goal at which the brick is put down [m]."""
LEFT_ALONE = 0.025
"""Largest horizontal distance from the goal at which a brick that lies is left there [m]."""
DOWN = 0.006
"""A brick no higher than this above the table is let go [m]."""


class PickPlaceExpert:
    """Goes through the parts of the task by where the brick is, and comes to rest in the goal's pose.

    A brick that is lost or put down in the wrong place is grasped again.
    """

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (7,) float32."""
        state, brick = obs["state"].astype(np.float64), info["object"].astype(np.float64)
        goal = info["goal"]["object"].astype(np.float64)
        away = float(np.linalg.norm(goal[:2] - brick[:2]))
        if holds(state, brick):
            action = _bring(state, brick, goal, away)
        elif away < LEFT_ALONE:
            action = _withdraw(state, info["goal"]["state"].astype(np.float64))
        else:
            action = grasp(state, brick)
        return action.astype(np.float32)


def _bring(state: np.ndarray, brick: np.ndarray, goal: np.ndarray, away: float) -> np.ndarray:
    """Return the next action with the brick in hand: up, over, down, let go."""
    if away < LEFT_ALONE and brick[2] < LYING + DOWN:
        return let_go(state)
    if away < CLOSE_ENOUGH or (away < LEFT_ALONE and brick[2] < LYING + LIFT / 2):
        return carry(state, brick, goal)
    over = goal + np.array([0.0, 0.0, LIFT, 0.0])
    if brick[2] < LYING + LIFT / 2:
        over[:2] = brick[:2]
    return carry(state, brick, over)


def _withdraw(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return the next action after letting go: open, then up to the goal's pose."""
    return let_go(state) if state[6] > 0.1 and state[2] < goal[2] - 0.02 else straight(displacement(state, goal))
