"""Policies that push a block: strokes of the gripper against its sides, chosen at random or towards the goal.

P = 7 entries of a pose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vjepa_wm.envs.arm.arm_policies import PlayPolicy, displacement, straight, within
from vjepa_wm.envs.arm.hand import TIP_BELOW_TOOL, direction
from vjepa_wm.envs.arm.push.geometry import (
    BLOCK_HALF,
    BLOCK_TOP,
    PUSH_HEIGHT,
    PUSH_WORKSPACE,
    reach_around,
    reaches_into,
)
from vjepa_wm.envs.arm.workspace import ACTION_HIGH

# Height at which the closed gripper travels: the fingers clear of the block [m].
TRAVEL_HEIGHT = BLOCK_TOP + TIP_BELOW_TOOL + 0.025
# The gripper is put down from within this of the place, correcting on the way [m].
NEAR = 0.02
# A stroke ends this far before its end, at the latest [m].
DONE = 0.002
# Strokes leave the block's centre this far within the workspace [m].
MARGIN = np.array([0.06, 0.06])
# Fingers are put down this far from the block's side [m].
APPROACH_GAP = 0.02
# The same where the workspace ends there [m].
LEAST_GAP = 0.003
SIDES = np.array([0.0, 0.5, 1.0, 1.5]) * np.pi
"""Directions of the block's four sides, seen from its heading [rad]."""


class Stroke(NamedTuple):
    """One push: put the gripper down at a place, move it straight to another."""

    begin: np.ndarray
    """x, y of the tool centre point, (2,) [m]."""
    end: np.ndarray
    """x, y of the tool centre point, (2,) [m]."""
    step: float
    """Distance per control step while pushing [m]."""


class StrokeRunner:
    """Carries a stroke out: up, over, down, push.

    Attributes:
        end: where the stroke ends, (2,) [m]; may be changed on the way.
        is_down: whether the gripper has been put down, so that the push has begun.
    """

    def __init__(self, stroke: Stroke) -> None:
        """Begin.

        Args:
            stroke: what to do.
        """
        self._begin, self.end, self._step = stroke
        self.is_down = False

    def next_action(self, state: np.ndarray) -> np.ndarray | None:
        """Return the next action, or None when the stroke has ended.

        Args:
            state: tool pose, (P,).

        Returns:
            Displacement, (P,) float64.
        """
        if not self.is_down:
            away = np.linalg.norm(self._begin - state[:2])
            self.is_down = bool(away < 2 * NEAR and state[2] < PUSH_HEIGHT + 0.015)
        target = np.array([*self._begin, PUSH_HEIGHT, 0.0, 0.0, 0.0, 1.0])
        if self.is_down:
            way = self.end - state[:2]
            left = float(np.linalg.norm(way))
            if left < DONE or way @ (self.end - self._begin) <= 0.0:
                return None
            target[:2] = state[:2] + way * min(1.0, self._step / left)
        elif away > NEAR:
            target[2] = TRAVEL_HEIGHT
            if state[2] < TRAVEL_HEIGHT - 0.015:
                target[:2] = state[:2]
        return straight(displacement(state, target))


def stroke_against(
    block: np.ndarray, side: float, offset: float, length: float, *, slant: float = 0.0, step: float = 0.05
) -> Stroke | None:
    """Plan a stroke against a side of the block.

    Args:
        block: block pose, (4,).
        side: direction of that side seen from the heading, one of `SIDES` [rad].
        offset: where along the side, -1 .. 1 of half its width, to the left as seen from the block's centre.
        length: how far to go once the side is touched [m].
        slant: direction of the stroke against the straight one into the side [rad].
        step: distance per control step [m].

    Returns:
        The stroke, shortened where it would push the block out of reach; None if the gripper cannot be put down there.
    """
    axis = round(side / (np.pi / 2)) % 2
    outward, along = direction(block[3] + side), direction(block[3] + side + np.pi / 2)
    pose = np.array([*block[:2], PUSH_HEIGHT, 0.0, 0.0, 0.0, 1.0])
    contact = block[:2] + reach_around(pose, block)[axis] * outward + offset * BLOCK_HALF[1 - axis] * along
    way = direction(block[3] + side + np.pi + slant)
    low, high = PUSH_WORKSPACE.low[:2], PUSH_WORKSPACE.high[:2]
    begin = np.clip(contact - APPROACH_GAP / np.cos(slant) * way, low, high)
    if reaches_into(np.array([*begin, *pose[2:]]), block, -LEAST_GAP):
        return None
    shift = np.clip(block[:2] + length * way, low + MARGIN, high - MARGIN) - block[:2]
    return Stroke(begin, np.clip(contact + shift, low, high), step)


class PushPlay:
    """Pushes the block about and wanders in between, for training data.

    Strokes go against random sides at random places, slanted, at random speeds; sides whose strokes lead back to the
    middle come more often, so that the block stays within reach.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        """Make the policy.

        Args:
            rng: generator to draw from.
        """
        self._rng = rng
        self._wander = PlayPolicy(rng, PUSH_WORKSPACE)
        self._runner: StrokeRunner | None = None
        self._num_steps = 0

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (7,) float32."""
        state = obs["state"].astype(np.float64)
        if self._num_steps == 0:
            self._choose(info["object"].astype(np.float64))
        self._num_steps -= 1
        action = self._runner.next_action(state) if self._runner else None
        if action is None and self._runner:
            self._choose(info["object"].astype(np.float64))
            action = self._runner.next_action(state) if self._runner else None
        if action is None:
            return self._wander(obs, info)
        noise = self._rng.normal(0.0, [0.003, 0.003, 0.002, 0.0, 0.0, 0.02, 0.01])
        return within(state, action + noise, PUSH_WORKSPACE).astype(np.float32)

    def _choose(self, block: np.ndarray) -> None:
        rng = self._rng
        stroke = None if rng.random() < 0.2 else self._random_stroke(block)
        self._runner = None if stroke is None else StrokeRunner(stroke)
        # A stroke that something holds up is given up after so many steps.
        self._num_steps = int(rng.integers(4, 12)) if stroke is None else 30

    def _random_stroke(self, block: np.ndarray) -> Stroke | None:
        rng = self._rng
        middle = (PUSH_WORKSPACE.low[:2] + PUSH_WORKSPACE.high[:2]) / 2
        inward = np.array([direction(block[3] + side + np.pi) @ (middle - block[:2]) for side in SIDES])
        weights = np.exp(inward / 0.06)
        side = float(rng.choice(SIDES, p=weights / weights.sum()))
        return stroke_against(
            block,
            side,
            rng.uniform(-0.9, 0.9),
            rng.uniform(0.03, 0.2),
            slant=rng.uniform(-0.4, 0.4),
            step=float(rng.uniform(0.02, ACTION_HIGH[0])),
        )
