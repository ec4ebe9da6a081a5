"""Policies that turn a lever by pushing one of its arms: to the goal, or at random.

A lever is x, y of its axis [m] and its yaw [rad], (3,); `geometry` says what arms and turns are. P = 7 entries of a
pose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vjepa_wm.envs.arm.arm_policies import PlayPolicy, displacement, straight, within
from vjepa_wm.envs.arm.hand import TIP_BELOW_TOOL
from vjepa_wm.envs.arm.lever.geometry import (
    GAP,
    LEVER_TOP,
    LEVER_WORKSPACE,
    PUSH_HEIGHT,
    PUSH_RADIUS,
    arm_to_push,
    place_beside,
    turn_between,
)
from vjepa_wm.envs.arm.workspace import ACTION_HIGH

# Height at which the closed gripper travels: the fingers clear of the lever [m].
TRAVEL_HEIGHT = LEVER_TOP + TIP_BELOW_TOOL + 0.025
# The gripper is put down from within this of the place, correcting on the way [m].
NEAR = 0.02
# Once down, this far from where the lever touches the fingers they have lost it [m].
LOST = 0.06
# A turn ends this near to its end [rad].
DONE = 0.02
# The expert turns the lever again when it is further from its goal than this [rad].
TOO_FAR = 0.1
# Resting, the expert is within this of its place [m].
AT_REST = 0.008


class Turn(NamedTuple):
    """One way of turning the lever."""

    yaw: float
    """Where it is to be [rad]."""
    way: int
    """1 to the left, -1 to the right."""
    arm: int
    """Which arm is pushed, 1 the bright one or -1."""
    radius: float = PUSH_RADIUS
    """How far from the axis [m]."""
    step: float = 0.06
    """Distance per control step while pushing [m]."""


class TurnRunner:
    """Carries a turn out: up, over, down, push, back off."""

    def __init__(self, turn: Turn) -> None:
        """Begin.

        Args:
            turn: what to do.
        """
        self._turn = turn
        self._is_down = self._is_backing_off = False

    def next_action(self, state: np.ndarray, lever: np.ndarray) -> np.ndarray | None:
        """Return the next action, or None when the turn has ended.

        Args:
            state: tool pose, (P,).
            lever: place and yaw, (3,).

        Returns:
            Displacement, (P,) float64.
        """
        yaw, way, *_ = self._turn
        target = self._beside(lever, GAP)
        away = np.linalg.norm(target[:2] - state[:2])
        low = state[2] < PUSH_HEIGHT + 0.015
        self._is_down = bool(low and away < (LOST if self._is_down else 2 * NEAR))
        if self._is_down:
            left = way * turn_between(lever[2], yaw)
            self._is_backing_off |= left < DONE
            if self._is_backing_off:
                return None if away < AT_REST else straight(displacement(state, target))
            ahead = min(left, self._turn.step / self._turn.radius)
            target = self._beside(np.array([*lever[:2], lever[2] + way * ahead]), 0.0)
        elif away > NEAR:
            target[2] = TRAVEL_HEIGHT
            if state[2] < TRAVEL_HEIGHT - 0.015:
                target[:2] = state[:2]
        return straight(displacement(state, target))

    def _beside(self, lever: np.ndarray, gap: float) -> np.ndarray:
        """Return the tool pose beside the arm that is pushed, (P,) float64."""
        place = place_beside(lever, self._turn.way, self._turn.arm, gap=gap, radius=self._turn.radius)
        return np.array([*np.clip(place, *(corner[:2] for corner in LEVER_WORKSPACE)), PUSH_HEIGHT, 0.0, 0.0, 0.0, 1.0])


class LeverExpert:
    """Turns the lever the shorter way to the goal that it reads from the info, backs off a little and stays there.

    It pushes the arm behind which the hand ends as in the goal picture.
    """

    def __init__(self) -> None:
        """Begin an episode."""
        self._runner: TurnRunner | None = None
        self._is_resting = False

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (7,) float32."""
        state, lever = obs["state"].astype(np.float64), info["object"].astype(np.float64)
        goal = info["goal"]["object"].astype(np.float64)
        left = turn_between(lever[2], goal[2])
        if self._runner is None or (self._is_resting and abs(left) > TOO_FAR):
            way = 1 if left > 0 else -1
            self._runner = TurnRunner(Turn(goal[2], way, arm_to_push(goal, way)))
        action = self._runner.next_action(state, lever)
        self._is_resting = action is None
        return (np.zeros(7) if action is None else action).astype(np.float32)


class LeverPlay:
    """Turns the lever by random amounts and wanders in between, for training data.

    It pushes either arm from either side, near the axis or far from it, at random speeds; now and then it leaves it
    before the turn is done.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        """Make the policy.

        Args:
            rng: generator to draw from.
        """
        self._rng = rng
        self._wander = PlayPolicy(rng, LEVER_WORKSPACE)
        self._runner: TurnRunner | None = None
        self._num_steps = 0

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (7,) float32."""
        state, lever = obs["state"].astype(np.float64), info["object"].astype(np.float64)
        if self._num_steps == 0:
            self._choose(lever)
        self._num_steps -= 1
        action = self._runner.next_action(state, lever) if self._runner else None
        if action is None and self._runner:
            self._choose(lever)
            action = self._runner.next_action(state, lever) if self._runner else None
        if action is None:
            return self._wander(obs, info)
        noise = self._rng.normal(0.0, [0.003, 0.003, 0.002, 0.0, 0.0, 0.02, 0.01])
        return within(state, action + noise, LEVER_WORKSPACE).astype(np.float32)

    def _choose(self, lever: np.ndarray) -> None:
        rng = self._rng
        self._runner = None
        if rng.random() < 0.25:
            self._num_steps = int(rng.integers(4, 12))
            return
        way, arm = (int(sign) for sign in rng.choice([-1, 1], 2))
        yaw = lever[2] + way * rng.uniform(0.2, 2.5)
        turn = Turn(yaw, way, arm, rng.uniform(0.065, 0.14), rng.uniform(0.02, ACTION_HIGH[0]))
        self._runner = TurnRunner(turn)
        # A turn that something holds up is given up after so many steps, some on purpose.
        self._num_steps = int(rng.integers(4, 12)) if rng.random() < 0.2 else 25
