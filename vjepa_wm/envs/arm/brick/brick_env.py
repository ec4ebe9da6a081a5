"""What the tasks with the brick have in common: the scene, where it starts, and an arm that keeps what it holds.

P = 7 entries of a pose.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vjepa_wm.envs.arm.arm import Arm
from vjepa_wm.envs.arm.arm_env import ArmEnv, check_pose
from vjepa_wm.envs.arm.brick.geometry import (
    BRICK_HIGH,
    BRICK_LOW,
    BRICK_WORKSPACE,
    LYING,
    PRESSING,
    fitting_yaw,
    guard,
    holds,
    keep_grip,
    reaches_into,
)
from vjepa_wm.envs.arm.hand import hides
from vjepa_wm.envs.goal_env import GoalEnvConfig
from vjepa_wm.envs.reset_options import check_numbers, check_options, draw_until

OPTIONS = ("start", "start_object", "goal", "goal_object")
"""What `reset` takes."""
# A given brick may lie this far above or below the table, and given fingers this far within it [m].
SLACK = 0.005


class BrickEnv(ArmEnv):
    """A task in which a brick is grasped."""

    start_heights = (0.12, 0.24)  # above any brick
    object_names = ("x", "y", "z", "yaw")

    def __init__(self, config: GoalEnvConfig) -> None:
        """Build the simulation.

        Args:
            config: options.
        """
        super().__init__(config, Arm(config, scene=Path(__file__).with_name("scene.xml"), workspace=BRICK_WORKSPACE))

    def sample_object(self, rng: np.random.Generator) -> np.ndarray:
        """Sample a place and heading of the brick on the table.

        Args:
            rng: generator to draw from.

        Returns:
            Brick pose, (4,) float32.
        """
        x, y, heading = rng.uniform(BRICK_LOW, BRICK_HIGH)
        return np.array([x, y, LYING, heading], dtype=np.float32)

    def _start(self, given: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return gripper and brick at the start, as given or sampled so that the brick is in sight and not touched."""

        def draw() -> tuple[np.ndarray, np.ndarray]:
            start_object = given.get("start_object", self.sample_object(self.np_random))
            return given.get("start", self.sample_pose(self.np_random)), start_object

        def is_right(drawn: tuple[np.ndarray, np.ndarray]) -> bool:
            start, start_object = drawn
            is_free = "start_object" in given or not reaches_into(start, start_object, SLACK)
            return is_free and ("start" in given or not hides(start, start_object[:2]))

        start, start_object = draw_until(draw, is_right, "the gripper was in the brick or before it")
        check_not_inside("start", start, start_object)
        if not lies(start_object) and not holds(start, start_object):
            raise ValueError(
                f"start_object must lie on the table, with its centre at z = {LYING}, or between the closed "
                f"fingers of start, got z = {start_object[2]:.3f} and start {np.round(start, 3).tolist()}"
            )
        return start, start_object

    def _place(self, start: np.ndarray, start_object: np.ndarray) -> None:
        pressing = PRESSING if holds(start, start_object) else None
        self._arm.place(start, {"brick": start_object}, gripper_target=pressing)

    def _move(self, action: np.ndarray) -> None:
        pose = self._arm.pose()
        action = guard(pose, action, self._arm.object_pose("brick"))
        action[6] = keep_grip(pose[6], action[6], self._arm.gripper_target())
        self._arm.move(action)


def check_given(options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the options of `reset` as float64.

    Args:
        options: tool poses (7,) and brick poses (4,) by their names.

    Raises:
        ValueError: if one is unknown or cannot be.
    """
    check_options(options, OPTIONS)
    return {
        name: _check_brick(name, value) if name.endswith("object") else check_pose(name, value, BRICK_WORKSPACE)
        for name, value in options.items()
    }


def check_not_inside(name: str, pose: np.ndarray, brick: np.ndarray) -> None:
    """Raise a ValueError if a finger is in the brick."""
    if not holds(pose, brick) and reaches_into(pose, brick, SLACK):
        raise ValueError(
            f"{name} must leave the fingers outside the brick at {np.round(brick, 3).tolist()}, "
            f"got {np.round(pose, 3).tolist()}"
        )


def lies(brick: np.ndarray) -> bool:
    """Tell whether a brick lies on the table."""
    return bool(abs(brick[2] - LYING) <= SLACK)


def _check_brick(name: str, value: np.ndarray) -> np.ndarray:
    brick = check_numbers(name, value, BrickEnv.object_names)
    low, high = BRICK_WORKSPACE.low[:3].copy(), BRICK_WORKSPACE.high[:3]
    low[2] = LYING - SLACK
    if (brick[:3] < low).any() or (brick[:3] > high).any():
        raise ValueError(
            f"{name} must lie in the workspace {low.tolist()} .. {high.tolist()}, got {brick[:3].round(3).tolist()}"
        )
    if abs(fitting_yaw(brick[3])) > BRICK_WORKSPACE.high[5]:
        raise ValueError(
            f"{name} must be turned by at most {BRICK_WORKSPACE.high[5]} from along the x axis, as far as the gripper "
            f"turns, got yaw = {brick[3]:.3f}"
        )
    return brick
