"""Policies that move a point in the plane: the shortest way to the goal, the same with noise, and play.

They know the walls from the info and need no simulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vjepa_wm.envs.plane.geometry import HALF_WIDTH, POINT_ACTION_HIGH, are_free
from vjepa_wm.envs.plane.roadmap import Roadmap
from vjepa_wm.envs.policy import Policy, PolicyName
from vjepa_wm.envs.task import PolicyMaker

# Deviation of NoisyPointPolicy per step [m].
NOISE = 0.015
# PointPlay has arrived when it is this near [m].
ARRIVED = 0.03
# Among so many places PointPlay finds some that are free: a tenth is, at the least.
NUM_PLACES = 256
# Where it goes is near a place drawn from a square this much wider than the plane.
OUTSIDE = 1.2


class PointExpert:
    """Takes the shortest way around the walls to the goal, both of which it reads from the info."""

    def __init__(self) -> None:
        """Begin an episode."""
        self._roadmap: Roadmap | None = None

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (2,) float32; zero where no way leads to the goal."""
        if self._roadmap is None:
            self._roadmap = Roadmap(info["walls"])
        place = self._roadmap.next_place(obs["state"], info["goal"]["state"])
        return shorten(np.zeros(2) if place is None else place - obs["state"]).astype(np.float32)


class NoisyPointPolicy:
    """Adds noise to the actions of another policy, so that data also show what is off its way."""

    def __init__(self, policy: Policy, rng: np.random.Generator) -> None:
        """Make the policy.

        Args:
            policy: whose actions to disturb.
            rng: generator to draw from.
        """
        self._policy = policy
        self._rng = rng

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (2,) float32."""
        action = self._policy(obs, info) + self._rng.normal(0.0, NOISE, 2)
        return np.clip(action, -POINT_ACTION_HIGH, POINT_ACTION_HIGH).astype(np.float32)


class PointPlay:
    """Wanders through all of the layout, for training data.

    It goes to one random place after the other at varying speed, or runs straight ahead, whatever is there, so that it
    meets walls and slides along them, or rests. Noise that is correlated in time makes its path crooked.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        """Make the policy.

        Args:
            rng: generator to draw from.
        """
        self._rng = rng
        self._roadmap: Roadmap | None = None
        self._noise = np.zeros(2)
        self._num_steps = 0
        self._speed = 0.0
        self._place: np.ndarray | None = None
        self._ahead = np.zeros(2)

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (2,) float32."""
        state = obs["state"].astype(np.float64)
        if self._roadmap is None:
            self._roadmap = Roadmap(info["walls"])
        if self._num_steps == 0 or (self._place is not None and np.linalg.norm(self._place - state) < ARRIVED):
            self._choose(info["walls"])
        self._num_steps -= 1
        self._noise = 0.6 * self._noise + self._rng.normal(0.0, 0.012, 2)
        if self._speed == 0.0:
            return np.zeros(2, np.float32)
        way = self._speed * self._ahead
        if self._place is not None:
            heading = self._roadmap.next_place(state, self._place)
            way = np.zeros(2) if heading is None else heading - state
            way *= min(1.0, self._speed / max(float(np.linalg.norm(way)), 1e-9))
        return np.clip(way + self._noise, -POINT_ACTION_HIGH, POINT_ACTION_HIGH).astype(np.float32)

    def _choose(self, walls: np.ndarray) -> None:
        rng = self._rng
        kind = rng.choice(["travel", "run", "rest"], p=[0.62, 0.26, 0.12])
        self._speed = 0.0 if kind == "rest" else rng.uniform(0.02, POINT_ACTION_HIGH[0])
        self._place = self._random_place(walls) if kind == "travel" else None
        angle = rng.uniform(-np.pi, np.pi)
        self._ahead = np.array([np.cos(angle), np.sin(angle)])
        self._num_steps = {"travel": 40, "run": int(rng.integers(3, 9)), "rest": int(rng.integers(1, 4))}[kind]

    def _random_place(self, walls: np.ndarray) -> np.ndarray:
        # The free place next to any place: else narrow passages would be visited less than wide ones, and, since it
        # may be outside, the borders less than the middle.
        somewhere = self._rng.uniform(-OUTSIDE * HALF_WIDTH, OUTSIDE * HALF_WIDTH, 2)
        places = self._rng.uniform(-HALF_WIDTH, HALF_WIDTH, (NUM_PLACES, 2))
        free = places[are_free(places, walls)]
        return free[np.linalg.norm(free - somewhere, axis=1).argmin()]


def shorten(action: np.ndarray) -> np.ndarray:
    """Shorten a displacement, (2,), to the action box as a whole, since shortening one axis would bend the line."""
    action = np.asarray(action, dtype=np.float64)
    return action / max(1.0, float(np.abs(action / POINT_ACTION_HIGH).max()))


def _make_expert(rng: np.random.Generator) -> Policy:
    return PointExpert()


def _make_noisy(rng: np.random.Generator) -> Policy:
    return NoisyPointPolicy(PointExpert(), rng)


POINT_POLICIES: dict[PolicyName, PolicyMaker] = {
    "expert": _make_expert,
    "noisy_expert": _make_noisy,
    "play": PointPlay,
}
"""What makes the policies of every task of the plane; random ones are drawn from its actions."""
