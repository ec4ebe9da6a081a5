"""Strokes of the gripper against the sides of a block: how one is planned and carried out.

P = 7 entries of a pose.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vjepa_wm.envs.arm.arm_policies import displacement, straight
from vjepa_wm.envs.arm.hand import TIP_BELOW_TOOL, direction
from vjepa_wm.envs.arm.push.geometry import (
    BLOCK_HALF,
    BLOCK_TOP,
    PUSH_HEIGHT,
    PUSH_WORKSPACE,
    reach_around,
    reaches_into,
)

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
