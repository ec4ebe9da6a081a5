"""Policies that push the block: an expert, which foresees strokes with a simple model and takes the best, and play.

Letters: K strokes, F points along them. Blocks on the table are x, y [m] and heading [rad].
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from vjepa_wm.envs.arm.arm_policies import PlayPolicy, within
from vjepa_wm.envs.arm.hand import FINGER_HALF, direction
from vjepa_wm.envs.arm.push.geometry import BLOCK_HALF, BLOCK_HIGH, BLOCK_LOW, PUSH_WORKSPACE, pose_behind
from vjepa_wm.envs.arm.push.strokes import SIDES, Stroke, StrokeRunner, stroke_against
from vjepa_wm.envs.arm.workspace import ACTION_HIGH

OFFSETS = np.linspace(-0.85, 0.85, 9)
"""Where along a side strokes go, as a share of half its width."""
MAX_LENGTH = 0.25
"""Longest stroke that is foreseen [m]."""
POINT_DISTANCE = 0.004
"""Distance of the points at which a stroke is foreseen [m]."""
TURNING = 0.005
"""How hard the block turns against how hard it shifts: the square of friction's torque over its force [m²]."""
METRES_PER_RADIAN = 0.15
"""What an error of the heading counts against one of the place."""
EFFORT = 0.05
"""What a metre of pushing costs against a metre of error: of two strokes as good, the shorter one."""
STRAYING = 3.0
"""What a metre beyond where the fingers get to all sides of the block costs against a metre of error."""
CLOSE_ENOUGH = 0.012
"""Error at which the expert comes to rest; it pushes again only at twice as much [m]."""
REST_GAP = 0.008
"""Distance of the resting fingers from the block [m]."""
TOO_FAR = 0.03
"""Error above which the block is pushed even if nothing better is foreseen, to get out of where it is stuck [m]."""
MAX_STEPS = 30
"""Steps after which a stroke that something holds up is given up."""


def foresee(block: np.ndarray, tools: np.ndarray, ways: np.ndarray, num_points: int) -> np.ndarray:
    """Predict where the block goes when the closed fingers move along straight lines.

    The force is across the side that touches, and the block answers as one that slides slowly: with a shift along the
    force and a turn by its moment.

    Args:
        block: where the block is, (3,).
        tools: x, y of the tool centre point at the beginning of each stroke, (K, 2) [m].
        ways: direction of each stroke, (K, 2).
        num_points: number F of points, `POINT_DISTANCE` apart.

    Returns:
        The block at each point, (F, K, 3).

    Source: Lynch, Maekawa and Tanie 1992, "Manipulation and active sensing by pushing using tactile feedback".
    """
    blocks = np.repeat(block[None], len(tools), axis=0)
    seen = np.empty((num_points, len(tools), 3))
    for point in range(num_points):
        depth, normal, place = _touch(blocks, tools + point * POINT_DISTANCE * ways)
        moment = place[:, 0] * normal[:, 1] - place[:, 1] * normal[:, 0]
        shift = np.maximum(depth, 0.0) / (1.0 + moment**2 / TURNING)
        blocks[:, :2] += shift[:, None] * normal
        blocks[:, 2] += shift * moment / TURNING
        seen[point] = blocks
    return seen


def _touch(blocks: np.ndarray, tools: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find how deep the box of the fingers is in the block, along the axis on which it is least deep.

    Returns:
        Depth (K,) [m], negative where they are apart; direction that frees the block (K, 2); and the place that
        touches, seen from the block's centre (K, 2) [m].
    """
    rows = np.arange(len(blocks))
    cos, sin = np.cos(blocks[:, 2]), np.sin(blocks[:, 2])
    ahead, left = np.stack([cos, sin], axis=1), np.stack([-sin, cos], axis=1)
    own = np.broadcast_to(np.eye(2), (len(blocks), 2, 2))
    axes = np.concatenate([np.stack([ahead, left], axis=1), own], axis=1)
    offset = tools - blocks[:, :2]
    along = (axes @ offset[:, :, None])[:, :, 0]
    block_reach = np.abs(axes @ np.stack([ahead, left], axis=2)) @ BLOCK_HALF[:2]
    overlap = block_reach + np.abs(axes) @ FINGER_HALF - np.abs(along)
    least = overlap.argmin(axis=1)
    normal = axes[rows, least] * -np.where(along[rows, least] < 0, -1.0, 1.0)[:, None]
    finger_corner = offset + np.sign(normal) * FINGER_HALF
    far = -np.sign((normal * ahead).sum(1)) * BLOCK_HALF[0], -np.sign((normal * left).sum(1)) * BLOCK_HALF[1]
    block_corner = far[0][:, None] * ahead + far[1][:, None] * left
    return overlap[rows, least], normal, np.where((least < 2)[:, None], finger_corner, block_corner)


def goal_error(blocks: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return how far blocks are from their goal, with the heading counted in.

    Args:
        blocks: where they are, (..., 3).
        goal: where the goal is, (3,).

    Returns:
        Error, (...) [m].
    """
    turn = np.abs((blocks[..., 2] - goal[2] + np.pi) % (2 * np.pi) - np.pi)
    return np.linalg.norm(blocks[..., :2] - goal[:2], axis=-1) + METRES_PER_RADIAN * turn


class PushExpert:
    """Pushes the block, stroke by stroke, to the goal that it reads from the info, and comes to rest behind it.

    Each stroke is the one after which the block is foreseen nearest to its goal; how long it goes on is foreseen again
    at every step, from what has come of it.
    """

    def __init__(self) -> None:
        """Begin an episode."""
        self._runner: StrokeRunner | None = None
        self._num_steps = 0
        self._is_resting = False

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (7,) float32."""
        state, block = obs["state"].astype(np.float64), info["object"].astype(np.float64)
        goal = info["goal"]["object"].astype(np.float64)[[0, 1, 3]]
        if self._runner is not None and self._runner.is_down:
            self._runner.end = _best_end(block[[0, 1, 3]], state[:2], self._runner.end, goal)
        action = self._runner.next_action(state) if self._runner else None
        if action is None or self._num_steps == 0:
            stroke = _best_stroke(block, goal, CLOSE_ENOUGH * (1 + self._is_resting))
            self._is_resting = stroke is None
            self._runner, self._num_steps = StrokeRunner(stroke or _rest_behind(block)), MAX_STEPS
            action = self._runner.next_action(state)
        self._num_steps -= 1
        return (np.zeros(7) if action is None else action).astype(np.float32)


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


def _rest_behind(block: np.ndarray) -> Stroke:
    """Return a stroke that only puts the gripper down behind the block."""
    low, high = PUSH_WORKSPACE.low[:2], PUSH_WORKSPACE.high[:2]
    place = np.clip(pose_behind(block, REST_GAP)[:2], low, high)
    return Stroke(place, place, POINT_DISTANCE)


def _best_stroke(block: np.ndarray, goal: np.ndarray, close_enough: float) -> Stroke | None:
    """Choose the stroke after which the block is foreseen nearest to its goal; None if it is best left alone."""
    planned = [stroke_against(block, side, offset, MAX_LENGTH) for side, offset in product(SIDES, OFFSETS)]
    strokes = [stroke for stroke in planned if stroke is not None and (stroke.end != stroke.begin).any()]
    here = block[[0, 1, 3]]
    error = float(goal_error(here, goal))
    if strokes and error > close_enough:
        begins = np.stack([stroke.begin for stroke in strokes])
        offsets = np.stack([stroke.end for stroke in strokes]) - begins
        lengths = np.linalg.norm(offsets, axis=1)
        scores = _scores(here, begins, offsets / lengths[:, None], lengths, goal)
        if error > TOO_FAR:
            scores[: int(0.05 / POINT_DISTANCE)] = np.inf
        point, best = np.unravel_index(scores.argmin(), scores.shape)
        if point > 0:
            way = offsets[best] / lengths[best]
            return strokes[best]._replace(end=begins[best] + point * POINT_DISTANCE * way)
    return None


def _best_end(block: np.ndarray, tool: np.ndarray, end: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Choose again where a stroke that has begun shall end, up to its end till now and a little more."""
    length = float(np.linalg.norm(end - tool))
    if length == 0.0:
        return end
    way = (end - tool) / length
    scores = _scores(block, tool[None], way[None], np.array([length + 0.02]), goal)
    return tool + scores[:, 0].argmin() * POINT_DISTANCE * way


def _scores(
    block: np.ndarray, begins: np.ndarray, ways: np.ndarray, lengths: np.ndarray, goal: np.ndarray
) -> np.ndarray:
    """Return the foreseen error and cost at each point of each stroke, (F, K) [m]."""
    seen = foresee(block, begins, ways, int(lengths.max() / POINT_DISTANCE) + 1)
    gone = np.arange(len(seen))[:, None] * POINT_DISTANCE
    beyond = np.maximum(seen[..., :2] - BLOCK_HIGH[:2], BLOCK_LOW[:2] - seen[..., :2])
    costs = EFFORT * gone + STRAYING * np.maximum(beyond, 0.0).sum(axis=-1)
    return np.where(gone <= lengths, goal_error(seen, goal) + costs, np.inf)
