"""Play with the brick, for training data: a model of how somebody plays who is told to move things about.

P = 7 entries of a pose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from vjepa_wm.envs.arm.arm_policies import PlayPolicy, displacement, straight, within
from vjepa_wm.envs.arm.brick.geometry import (
    BRICK_HIGH,
    BRICK_LOW,
    BRICK_WORKSPACE,
    LYING,
    fingers_over,
    fitting_yaw,
    holds,
)
from vjepa_wm.envs.arm.brick.moves import CLEAR_ABOVE, carry, grasp, let_go
from vjepa_wm.envs.arm.hand import direction
from vjepa_wm.envs.arm.push.strokes import Stroke, StrokeRunner
from vjepa_wm.envs.arm.workspace import ACTION_HIGH, Workspace

Activity = Literal["wander", "grasp", "push", "carry", "put_down", "leave"]

# Wandering stays above the brick; what is lower is done on purpose [m].
WANDER_WORKSPACE = Workspace(np.array([*BRICK_WORKSPACE.low[:2], 0.09, *BRICK_WORKSPACE.low[3:]]), BRICK_WORKSPACE.high)
# A brick that is nearer than this to where it is carried has arrived [m].
ARRIVED = 0.03
# Bricks are carried as high as this above the table, and let go as high as that [m].
CARRY_HEIGHTS, MAX_DROP = (0.03, 0.17), 0.03
# A brick turned further than this is pushed, not grasped: the gripper would hardly fit [rad].
MAX_TURN = 1.1
# Deviations of what is added to every action [m, rad, gripper].
NOISE = np.array([0.004, 0.004, 0.003, 0.0, 0.0, 0.02, 0.01])
# An activity that something holds up is given up after so many steps.
MAX_STEPS: Mapping[Activity, int] = {"grasp": 25, "push": 25, "carry": 15, "put_down": 15, "leave": 4}


class BrickPlay:
    """Grasps the brick, carries it about, puts it down or drops it from low, pushes it, wanders in between.

    Where it grasps, how fast it moves, how high it carries and from how high it lets go are random. Bricks near the
    border are brought back, so that they stay within reach.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        """Make the policy.

        Args:
            rng: generator to draw from.
        """
        self._rng = rng
        self._wander = PlayPolicy(rng, WANDER_WORKSPACE)
        self._activity: Activity = "wander"
        self._num_steps = 0
        self._speed = ACTION_HIGH.astype(np.float64)
        self._grip = np.zeros(2)  # where along the brick and how far above its centre it is grasped [m]
        self._target = np.zeros(4)  # brick pose to carry it to
        self._drop = 0.0  # how high above the table it is let go [m]
        self._runner: StrokeRunner | None = None

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (7,) float32."""
        state, brick = obs["state"].astype(np.float64), info["object"].astype(np.float64)
        action = self._next_action(state, brick) if self._num_steps > 0 else None
        if action is None and (self._activity != "wander" or self._num_steps == 0):
            self._choose(state, brick)
            action = self._next_action(state, brick)
        self._num_steps -= 1
        if action is None:
            return self._wander(obs, info)
        action = np.clip(action, -self._speed, self._speed) + self._rng.normal(0.0, NOISE)
        return within(state, action, BRICK_WORKSPACE).astype(np.float32)

    def _next_action(self, state: np.ndarray, brick: np.ndarray) -> np.ndarray | None:
        """Return what the activity does next, (P,); None where it is done, or to wander."""
        is_held = holds(state, brick)
        match self._activity:
            case "grasp" if not is_held:
                along, above = self._grip
                middle = brick + np.array([*(along * direction(brick[3])), 0.0, 0.0])
                return grasp(state, middle, above)
            case "push" if self._runner is not None:
                return self._runner.next_action(state)
            case "carry" if is_held and np.abs(self._target - brick)[:3].max() > ARRIVED:
                return carry(state, brick, self._target)
            case "put_down" if is_held:
                lower = np.array([*brick[:2], LYING + self._drop, brick[3]])
                return let_go(state) if brick[2] < lower[2] + 0.006 else carry(state, brick, lower)
            case "leave" if not is_held and state[2] < brick[2] + CLEAR_ABOVE - 0.01:
                up = np.array([*state[:2], brick[2] + CLEAR_ABOVE, *state[3:]])
                return straight(displacement(state, up))
        return None

    def _choose(self, state: np.ndarray, brick: np.ndarray) -> None:
        rng = self._rng
        self._activity = self._next_activity(state, brick)
        self._speed = ACTION_HIGH * np.array([*rng.uniform(0.3, 1.0, 3), 1.0, 1.0, rng.uniform(0.3, 1.0), 1.0])
        self._num_steps = MAX_STEPS.get(self._activity) or int(rng.integers(3, 12))
        match self._activity:
            case "grasp":
                self._grip = rng.uniform([-0.04, 0.0], [0.04, 0.018])
            case "carry":
                x, y, yaw = rng.uniform(BRICK_LOW, BRICK_HIGH)
                heading = brick[3] + yaw - state[5]
                self._target = np.array([x, y, LYING + rng.uniform(*CARRY_HEIGHTS), heading])
            case "put_down":
                self._drop = max(0.0, rng.uniform(-MAX_DROP, MAX_DROP))  # every other time on the table itself
            case "push":
                self._runner = self._random_stroke(brick)

    def _next_activity(self, state: np.ndarray, brick: np.ndarray) -> Activity:
        draw = self._rng.random()
        if holds(state, brick):
            return "carry" if draw < 0.6 else "put_down"
        if self._activity == "put_down":
            return "leave"
        if abs(fitting_yaw(brick[3])) > MAX_TURN:
            return "push" if draw < 0.7 else "wander"
        if (brick[:2] < BRICK_LOW[:2]).any() or (brick[:2] > BRICK_HIGH[:2]).any():
            return "grasp" if draw < 0.8 else "wander"
        return "grasp" if draw < 0.45 else "push" if draw < 0.65 else "wander"

    def _random_stroke(self, brick: np.ndarray) -> StrokeRunner:
        """Begin a push of the closed fingers against the brick from a random side, roughly towards the middle."""
        rng = self._rng
        ahead = (BRICK_LOW + BRICK_HIGH)[:2] / 2 - brick[:2] + rng.normal(0.0, 0.08, 2)
        way = ahead / max(float(np.linalg.norm(ahead)), 1e-6)
        aside = rng.uniform(-0.05, 0.05) * np.array([-way[1], way[0]])
        distances = np.arange(0.05, 0.2, 0.01)
        tools = np.zeros((len(distances), 7))
        tools[:, :2] = brick[:2] + aside - distances[:, None] * way
        tools[:, 6] = 1.0
        near = int(np.argmin(fingers_over(tools, brick, -0.015)))
        low, high = BRICK_WORKSPACE.low[:2], BRICK_WORKSPACE.high[:2]
        begin = np.clip(tools[near, :2], low, high)
        end = np.clip(begin + rng.uniform(0.03, 0.15) * way, low, high)
        return StrokeRunner(Stroke(begin, end, float(rng.uniform(0.02, 0.06))))
