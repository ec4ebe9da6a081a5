"""The first task with an object: push a block to the place and heading where the goal picture shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vjepa_wm.envs.arm.arm import Arm
from vjepa_wm.envs.arm.arm_env import ArmEnv, Placed, check_pose
from vjepa_wm.envs.arm.hand import hides
from vjepa_wm.envs.arm.push.geometry import (
    BLOCK_HALF,
    BLOCK_HIGH,
    BLOCK_LOW,
    PUSH_WORKSPACE,
    SUCCESS_ANGLE,
    SUCCESS_RADIUS,
    heading_error,
    pose_behind,
    reaches_into,
    stay_above,
)
from vjepa_wm.envs.goal_env import Goal, GoalEnvConfig
from vjepa_wm.envs.reset_options import check_distances, check_numbers, check_options, draw_until

# A given block may lie this far above or below the table, and given fingers this far within it [m].
SLACK = 0.005


@dataclass(frozen=True, kw_only=True)
class PushConfig(GoalEnvConfig):
    """Options of `PushEnv`."""

    success_radius: float = SUCCESS_RADIUS
    """Largest distance of the block's centre to the goal's that counts as success [m]."""
    success_angle: float = SUCCESS_ANGLE
    """Largest difference of the block's heading to the goal's that counts as success [rad]."""
    min_distance: float = 0.10
    """Smallest distance between the sampled places of the block at start and goal [m]."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        check_distances("success_radius", self.success_radius, self.min_distance, 0.2)
        if not 0 < self.success_angle < np.pi:
            raise ValueError(f"success_angle must be between 0 and pi, got {self.success_angle}")


class PushEnv(ArmEnv):
    """Push a block, which a Franka-like arm cannot grasp, to where it is in a goal picture.

    Frames and actions are those of `vjepa_wm.envs.arm.arm_env.ArmEnv`.

    The block, 16 x 12 x 7 cm and 0.5 kg, is too wide for the gripper. It moves freely on a table that brakes it, so it
    goes where it is pushed and does not slide on. One end is marked; its heading is the direction of that end.

    The arm does not press onto the block: where an action would lead down onto its upper side, the fingers stay above
    it.

    Observation:

    | key   | entry | meaning                                    | workspace                                  | unit |
    | ----- | ----- | ------------------------------------------ | ------------------------------------------ | ---- |
    | image |       | fixed camera, uint8 (S, S, 3), RGB         |                                            |      |
    | state | 0-2   | x, y, z of the tool centre point, float32  | 0.36 .. 0.71, -0.29 .. 0.29, 0.04 .. 0.22  | m    |
    | state | 3-5   | roll, pitch, yaw                           | 0, 0, ± 0.6                                | rad  |
    | state | 6     | gripper, 0 open .. 1 closed                | 0 .. 1                                     |      |

    Start and goal:

    | what           | at the start                                     | in the goal picture                        |
    | -------------- | ------------------------------------------------ | ------------------------------------------ |
    | block, x and y | uniform in 0.48 .. 0.59 m, -0.16 .. 0.16 m       | the same, `min_distance` or more away      |
    | block, heading | uniform in ± 45 degrees                          | the same                                   |
    | gripper        | uniform in the workspace above z = 0.11 m where  | behind the block, as after pushing it here |
    |                | it does not hide the block, closed               | along its heading, closed                  |

    All are at rest, the gripper straight down. `options` of `reset` may give "start" and "goal", states (7,), and
    "start_object" and "goal_object", block poses (4,) on the table. The goal picture is that of the exact goal state.

    Info:

    | key           | meaning                                                                          | unit   |
    | ------------- | -------------------------------------------------------------------------------- | ------ |
    | object        | block pose now: x, y, z of its centre, heading; float32 (4,)                     | m, rad |
    | goal          | `image`, `state` and `object` of the goal                                        |        |
    | distance      | horizontal distance of the block's centre to the goal's                          | m      |
    | heading_error | size of the turn between the block's heading and the goal's, 0 .. pi             | rad    |
    | is_success    | `distance` <= `success_radius` (4 cm), `heading_error` <= `success_angle` (0.25) |        |

    The reward is minus the distance and a tenth of a metre per radian of the heading error. `terminated` is always
    False, so that success can be judged at the last step of an episode as well as at any; `truncated` is True from step
    `max_steps`.

    Control rate: `control_hz` = 5.
    """

    config: PushConfig
    object_names = ("x", "y", "z", "yaw")
    start_heights = (0.11, 0.22)  # above any block
    start_gripper = 1.0

    def __init__(self, config: PushConfig | None = None) -> None:
        """Build the simulation.

        Args:
            config: options; None: the defaults.
        """
        config = config or PushConfig()
        super().__init__(config, Arm(config, scene=Path(__file__).with_name("scene.xml"), workspace=PUSH_WORKSPACE))

    def sample_object(self, rng: np.random.Generator) -> np.ndarray:
        """Sample a place and heading of the block.

        Args:
            rng: generator to draw from.

        Returns:
            Block pose, (4,) float32.
        """
        x, y, heading = rng.uniform(BLOCK_LOW, BLOCK_HIGH)
        return np.array([x, y, BLOCK_HALF[2], heading], dtype=np.float32)

    def _begin(self, options: dict[str, Any]) -> Goal:
        start, start_object, goal, goal_object = self._start_and_goal(options)
        self._arm.place(start, {"block": start_object})
        return self._arm.render_pose(goal, {"block": goal_object}) | {"object": goal_object.astype(np.float32)}

    def _start_and_goal(self, options: dict[str, Any]) -> Placed:
        check_options(options, ("start", "start_object", "goal", "goal_object"))
        given = {
            name: _check_block(name, value) if name.endswith("object") else check_pose(name, value, PUSH_WORKSPACE)
            for name, value in options.items()
        }

        def draw() -> Placed:
            start = given.get("start", self.sample_pose(self.np_random))
            start_object = given.get("start_object", self.sample_object(self.np_random))
            goal_object = given.get("goal_object", self.sample_object(self.np_random))
            return start, start_object, given.get("goal", pose_behind(goal_object).astype(np.float32)), goal_object

        def is_right(drawn: Placed) -> bool:
            start, start_object, goal, goal_object = drawn
            is_apart = np.linalg.norm(start_object[:2] - goal_object[:2]) >= self.config.min_distance
            if not is_apart and not {"start_object", "goal_object"} <= set(given):
                return False
            if "start" not in given and hides(start, start_object[:2]):
                return False
            return not reaches_into(start, start_object, SLACK) and not reaches_into(goal, goal_object, SLACK)

        return draw_until(
            draw,
            is_right,
            "the fingers reached into the block, or start and goal of the block were less than "
            f"{self.config.min_distance} m apart",
        )

    def _move(self, action: np.ndarray) -> None:
        self._arm.move(stay_above(self._arm.pose(), action, self._arm.object_pose("block")))

    def _info(self) -> dict[str, Any]:
        block, goal = self._arm.object_pose("block").astype(np.float32), self._goal["object"]
        distance = float(np.linalg.norm(block[:2] - goal[:2]))
        turn = abs(heading_error(float(block[3]), float(goal[3])))
        success = distance <= self.config.success_radius and turn <= self.config.success_angle
        return {
            "goal": self._copy_of_goal(),
            "object": block,
            "distance": distance,
            "heading_error": turn,
            "is_success": success,
        }

    def _reward(self, info: dict[str, Any]) -> float:
        return -info["distance"] - 0.1 * info["heading_error"]


def _check_block(name: str, value: np.ndarray) -> np.ndarray:
    block = check_numbers(name, value, PushEnv.object_names)
    if abs(block[2] - BLOCK_HALF[2]) > SLACK:
        raise ValueError(f"{name} must lie on the table, with its centre at z = {BLOCK_HALF[2]}, got {block[2]:.3f}")
    low, high = PUSH_WORKSPACE.low[:2], PUSH_WORKSPACE.high[:2]
    if (block[:2] < low).any() or (block[:2] > high).any():
        raise ValueError(
            f"{name} must lie in the workspace {low.tolist()} .. {high.tolist()}, got {block[:2].round(3).tolist()}"
        )
    return block
