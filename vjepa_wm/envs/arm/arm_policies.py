"""How policies move the arm, and the ones that need only it: noise, and play in free space.

P = 7 entries of a pose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from vjepa_wm.envs.arm.rotation import compose, difference
from vjepa_wm.envs.arm.workspace import ACTION_HIGH, Workspace
from vjepa_wm.envs.policy import Policy, PolicyName
from vjepa_wm.envs.task import PolicyMaker

# Deviations of NoisyPolicy per step [m, rad, gripper].
NOISE = np.array([0.01, 0.01, 0.01, 0.01, 0.01, 0.02, 0.02])
# PlayPolicy turns to its next waypoint when no axis is further from this one [m].
ARRIVED = 0.03


class NoisyPolicy:
    """Adds noise to the actions of another policy, so that data also show what is off its way."""

    def __init__(self, policy: Policy, rng: np.random.Generator, workspace: Workspace) -> None:
        """Make the policy.

        Args:
            policy: whose actions to disturb.
            rng: generator to draw from.
            workspace: where the tool may be.
        """
        self._policy = policy
        self._rng = rng
        self._workspace = workspace

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (7,) float32."""
        action = self._policy(obs, info) + self._rng.normal(0.0, NOISE)
        return within(obs["state"].astype(np.float64), action, self._workspace).astype(np.float32)


class PlayPolicy:
    """Wanders through the whole workspace at varying speed, for training data.

    It heads for one random waypoint after the other. Each waypoint brings a speed per axis and sometimes a new gripper
    opening; noise that is correlated in time makes the path crooked; now and then the arm rests.
    """

    def __init__(self, rng: np.random.Generator, workspace: Workspace) -> None:
        """Make the policy.

        Args:
            rng: generator to draw from.
            workspace: where the tool may be.
        """
        self._rng = rng
        self._workspace = workspace
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
        action = np.clip(displacement(state, self._waypoint), -self._speed, self._speed)
        if self._speed.any():
            action = _clip(action + self._noise)
        return within(state, action, self._workspace).astype(np.float32)

    def _choose_waypoint(self) -> None:
        rng = self._rng
        # Waypoints beyond the walls, moved onto them, make the borders as well visited as the middle.
        low, high = self._workspace
        waypoint = rng.uniform(low - 0.15 * (high - low), high + 0.15 * (high - low))
        waypoint[5] *= 0.6
        if rng.random() < 0.3:
            self._gripper = rng.uniform(0.0, 1.0) if rng.random() < 0.5 else float(rng.integers(2))
        waypoint[6] = self._gripper
        self._waypoint = np.clip(waypoint, low, high)
        resting = rng.random() < 0.08
        speed = ACTION_HIGH * rng.uniform([0.1] * 7, [1.1, 1.1, 1.1, 0.3, 0.3, 0.5, 0.5])
        self._speed = np.zeros(7) if resting else speed
        self._num_steps = int(rng.integers(1, 4) if resting else rng.integers(3, 12))


def arm_policies(
    expert: Callable[[], Policy], play: PolicyMaker, workspace: Workspace
) -> dict[PolicyName, PolicyMaker]:
    """Return what makes the policies of a task of the arm; random ones are drawn from its actions.

    Args:
        expert: makes one that solves the task.
        play: makes one that wanders between contacts, from a generator.
        workspace: where the tool may be.
    """
    return {
        "expert": partial(_make_expert, expert),
        "noisy_expert": partial(_make_noisy, expert, workspace),
        "play": play,
    }


def displacement(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return the action, of any size, from one state to another, (7,) float64."""
    action = np.asarray(goal, dtype=np.float64) - np.asarray(state, dtype=np.float64)
    action[3:6] = difference(goal[3:6], state[3:6])
    return action


def straight(action: np.ndarray) -> np.ndarray:
    """Shorten an action to the action box as a whole, since shortening single entries would bend the line."""
    return action / max(1.0, np.abs(action / ACTION_HIGH).max())


def within(state: np.ndarray, action: np.ndarray, workspace: Workspace) -> np.ndarray:
    """Leave out of an action what the workspace would clip, so that the action is the motion that really follows."""
    target = state + action
    target[3:6] = compose(action[3:6], state[3:6])
    return _clip(displacement(state, np.clip(target, *workspace)))


def _clip(action: np.ndarray) -> np.ndarray:
    return np.clip(action, -ACTION_HIGH, ACTION_HIGH)


def _make_expert(expert: Callable[[], Policy], rng: np.random.Generator) -> Policy:
    return expert()


def _make_noisy(expert: Callable[[], Policy], workspace: Workspace, rng: np.random.Generator) -> Policy:
    return NoisyPolicy(expert(), rng, workspace)
