"""Policies that need no learning: one to compare with, one that solves the task, one that explores for data.

Each is called as `policy(obs, info) -> action` and draws from the generator it was made with. P = 7 entries of a pose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vjepa_wm.envs.rotation import compose, difference
from vjepa_wm.envs.workspace import ACTION_HIGH, POSE_HIGH, POSE_LOW

# PlayPolicy turns to its next waypoint when no axis is further from this one [m].
ARRIVED = 0.03


class RandomPolicy:
    """Draws every action uniformly from the action box."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Make the policy.

        Args:
            rng: generator to draw from.
        """
        self._rng = rng

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (7,) float32."""
        return self._rng.uniform(-ACTION_HIGH, ACTION_HIGH).astype(np.float32)


class ReachExpert:
    """Goes in a straight line to the goal's pose, which it reads from the info."""

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (7,) float32."""
        action = _displacement(obs["state"], info["goal"]["state"])
        # Shortened as a whole, since shortening single entries would bend the line.
        return (action / max(1.0, np.abs(action / ACTION_HIGH).max())).astype(np.float32)


class PlayPolicy:
    """Wanders through the whole workspace at varying speed, for training data.

    It heads for one random waypoint after the other. Each waypoint brings a speed per axis and sometimes a new gripper
    opening; noise that is correlated in time makes the path crooked; now and then the arm rests.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        """Make the policy.

        Args:
            rng: generator to draw from.
        """
        self._rng = rng
        self._noise = np.zeros(7)
        self._num_steps = 0
        self._waypoint = self._speed = np.zeros(7)
        self._gripper = 0.0

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (7,) float32."""
        state = obs["state"].astype(np.float64)
        arrived = self._speed.any() and np.abs(state[:3] - self._waypoint[:3]).max() < ARRIVED
        if self._num_steps == 0 or arrived:
            self._choose_waypoint()
        self._num_steps -= 1
        self._noise = 0.6 * self._noise + self._rng.normal(0.0, [0.012, 0.012, 0.012, 0.01, 0.01, 0.02, 0.01])
        action = np.clip(_displacement(state, self._waypoint), -self._speed, self._speed)
        if self._speed.any():
            action = _clip(action + self._noise)
        # What the workspace would clip is left out, so that the action is the motion that really follows.
        target = state + action
        target[3:6] = compose(action[3:6], state[3:6])
        return _clip(_displacement(state, np.clip(target, POSE_LOW, POSE_HIGH))).astype(np.float32)

    def _choose_waypoint(self) -> None:
        rng = self._rng
        # Waypoints beyond the walls, moved onto them, make the borders as well visited as the middle.
        waypoint = rng.uniform(POSE_LOW - 0.15 * (POSE_HIGH - POSE_LOW), POSE_HIGH + 0.15 * (POSE_HIGH - POSE_LOW))
        waypoint[5] *= 0.6
        if rng.random() < 0.3:
            self._gripper = rng.uniform(0.0, 1.0) if rng.random() < 0.5 else float(rng.integers(2))
        waypoint[6] = self._gripper
        self._waypoint = np.clip(waypoint, POSE_LOW, POSE_HIGH)
        resting = rng.random() < 0.08
        speed = ACTION_HIGH * rng.uniform([0.1] * 7, [1.1, 1.1, 1.1, 0.3, 0.3, 0.5, 0.5])
        self._speed = np.zeros(7) if resting else speed
        self._num_steps = int(rng.integers(1, 4) if resting else rng.integers(3, 12))


def _displacement(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    action = np.asarray(goal, dtype=np.float64) - np.asarray(state, dtype=np.float64)
    action[3:6] = difference(goal[3:6], state[3:6])
    return action


def _clip(action: np.ndarray) -> np.ndarray:
    return np.clip(action, -ACTION_HIGH, ACTION_HIGH)
