"""Policies that open and close a drawer by its handle: to the goal, or at random.

A drawer is x, y of its cabinet and how far it is open [m], (3,). P = 7 entries of a pose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from vjepa_wm.envs.arm.arm_policies import PlayPolicy, displacement, straight, within
from vjepa_wm.envs.arm.drawer.geometry import (
    CABINET_TOP,
    DRAWER_HIGH,
    DRAWER_WORKSPACE,
    GRIP_HEIGHT,
    HANDLE_CLOSED,
    pose_at_handle,
)
from vjepa_wm.envs.arm.hand import TIP_BELOW_TOOL
from vjepa_wm.envs.arm.workspace import ACTION_HIGH

# Height at which the gripper travels: the fingers clear of the cabinet [m].
TRAVEL_HEIGHT = CABINET_TOP + TIP_BELOW_TOOL + 0.025
# The gripper is put down from within this of the place, correcting on the way [m].
NEAR = 0.015
# Once down, this far from the handle it has lost it [m].
LOST = 0.05
# A move ends this near to its end [m].
DONE = 0.005
# The expert moves the drawer again when it is further from its goal than this [m].
TOO_FAR = 0.016
# Resting, the expert is within this of the handle [m].
AT_REST = 0.008
# Where the closed fingers are put down for a push, seen from the middle of the handle's bar [m].
BEFORE_HANDLE = -0.055
# Playing reaches no deeper than this between contacts: mostly above the handle [m].
WANDER_HEIGHT = 0.1


Manner = Literal["grip", "hook", "push"]
MANNERS: tuple[Manner, ...] = get_args(Manner)


class Handling(NamedTuple):
    """One way of moving the drawer."""

    opening: float
    """Where it is to be [m]."""
    manner: Manner = "grip"
    """grip closes the fingers around the handle, hook leaves them open, push closes them before it (only to close)."""
    beside: float = 0.0
    """How far from the middle of the handle along x, up to 3 cm [m]."""
    step: float = 0.06
    """Distance per control step while moving [m]."""


class HandlingRunner:
    """Carries a handling out: up, over, down, grip, move, let go."""

    def __init__(self, handling: Handling) -> None:
        """Begin.

        Args:
            handling: what to do.
        """
        self._handling = handling
        self._is_down = self._is_letting_go = False

    def next_action(self, state: np.ndarray, drawer: np.ndarray) -> np.ndarray | None:
        """Return the next action, or None when the handling has ended.

        Args:
            state: tool pose, (P,).
            drawer: place and opening, (3,).

        Returns:
            Displacement, (P,) float64.
        """
        opening, manner, beside, _ = self._handling
        target = pose_at_handle(drawer)
        target[:2] += beside, BEFORE_HANDLE if manner == "push" else 0.0
        target[6] = float(manner == "push")
        away = np.linalg.norm(target[:2] - state[:2])
        low = state[2] < GRIP_HEIGHT + 0.015
        self._is_down = bool(low and away < (LOST if self._is_down else 2 * NEAR))
        if self._is_down:
            return self._next_action_below(state, opening - drawer[2], target)
        if away > NEAR:
            target[2] = TRAVEL_HEIGHT
            if state[2] < TRAVEL_HEIGHT - 0.015:
                target[:2] = state[:2]
        return straight(displacement(state, target))

    def _next_action_below(self, state: np.ndarray, left: float, target: np.ndarray) -> np.ndarray | None:
        """Return the next action once the gripper is down, with so far to go."""
        self._is_letting_go |= abs(left) < DONE
        if self._is_letting_go:
            if self._handling.manner == "push" or state[6] < 0.1:
                return None
            target[:2] = state[:2]
        elif self._handling.manner == "grip" and state[6] < HANDLE_CLOSED - 0.1:
            target[6] = 1.0
        else:
            target[:2] = state[:2]
            target[1] -= np.clip(left, -self._handling.step, self._handling.step)
            target[6] = float(self._handling.manner != "hook")
        return straight(displacement(state, target))


class DrawerExpert:
    """Moves the drawer by its handle to the goal that it reads from the info, lets go and stays there."""

    def __init__(self) -> None:
        """Begin an episode."""
        self._runner: HandlingRunner | None = None
        self._is_resting = False

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (7,) float32."""
        state, drawer = obs["state"].astype(np.float64), info["object"].astype(np.float64)
        goal = float(info["goal"]["object"][2])
        if self._is_resting and abs(goal - drawer[2]) < TOO_FAR:
            back = displacement(state, pose_at_handle(drawer))
            # At rest, unless something moves the gripper.
            return straight(back * (np.linalg.norm(back[:3]) > AT_REST)).astype(np.float32)
        if self._runner is None or self._is_resting:
            self._runner = HandlingRunner(Handling(goal))
        action = self._runner.next_action(state, drawer)
        self._is_resting = action is None
        return (np.zeros(7) if action is None else action).astype(np.float32)


class DrawerPlay:
    """Opens and closes the drawer by random amounts and wanders in between, for training data.

    It grips the handle, hooks it or pushes it, at random speeds; now and then it lets go before it is done.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        """Make the policy.

        Args:
            rng: generator to draw from.
        """
        self._rng = rng
        low = DRAWER_WORKSPACE.low.copy()
        low[2] = WANDER_HEIGHT
        self._wander = PlayPolicy(rng, DRAWER_WORKSPACE._replace(low=low))
        self._runner: HandlingRunner | None = None
        self._num_steps = 0

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (7,) float32."""
        state, drawer = obs["state"].astype(np.float64), info["object"].astype(np.float64)
        if self._num_steps == 0:
            self._choose(drawer)
        self._num_steps -= 1
        action = self._runner.next_action(state, drawer) if self._runner else None
        if action is None and self._runner:
            self._choose(drawer)
            action = self._runner.next_action(state, drawer) if self._runner else None
        if action is None:
            return self._wander(obs, info)
        noise = self._rng.normal(0.0, [0.003, 0.003, 0.002, 0.0, 0.0, 0.02, 0.01])
        return within(state, action + noise, DRAWER_WORKSPACE).astype(np.float32)

    def _choose(self, drawer: np.ndarray) -> None:
        rng = self._rng
        self._runner = None
        if rng.random() < 0.3:
            self._num_steps = int(rng.integers(4, 12))
            return
        manner = MANNERS[int(rng.choice(3, p=[0.6, 0.2, 0.2]))]
        opening = rng.uniform(0.0, max(drawer[2], 0.0) if manner == "push" else DRAWER_HIGH[2])
        step = rng.uniform(0.015, ACTION_HIGH[1])
        self._runner = HandlingRunner(Handling(float(opening), manner, rng.uniform(-0.03, 0.03), float(step)))
        # A handling that something holds up is given up after so many steps, some on purpose.
        self._num_steps = int(rng.integers(4, 12)) if rng.random() < 0.2 else 25
