"""The simplest goal-picture task: bring the gripper to where the goal picture shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vjepa_wm.envs.arm.arm import Arm
from vjepa_wm.envs.arm.arm_env import ArmEnv, check_pose
from vjepa_wm.envs.arm.reach.geometry import POSE_HIGH, POSE_LOW, REACH_WORKSPACE, SUCCESS_RADIUS
from vjepa_wm.envs.goal_env import Goal, GoalEnvConfig
from vjepa_wm.envs.reset_options import check_distances, check_options, draw_until


@dataclass(frozen=True, kw_only=True)
class ReachConfig(GoalEnvConfig):
    """Options of `ReachEnv`."""

    success_radius: float = SUCCESS_RADIUS
    """Largest distance of the tool centre point to the goal's that counts as success [m]."""
    min_distance: float = 0.15
    """Smallest distance between a sampled start and a sampled goal [m]."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        check_distances("success_radius", self.success_radius, self.min_distance, 0.25)


class ReachEnv(ArmEnv):
    """Bring the tool centre point of a Franka-like arm to where it is in a goal picture.

    Frames and actions are those of `vjepa_wm.envs.arm.arm_env.ArmEnv`.

    Observation:

    | key   | entry | meaning                                       | workspace                                 | unit |
    | ----- | ----- | --------------------------------------------- | ----------------------------------------- | ---- |
    | image |       | fixed camera, uint8 (S, S, 3), RGB            |                                           |      |
    | state | 0-2   | x, y, z of the tool centre point, float32     | 0.38 .. 0.64, -0.25 .. 0.25, 0.10 .. 0.42 | m    |
    | state | 3-5   | roll, pitch, yaw                              | ± 0.1, ± 0.1, ± 0.6                       | rad  |
    | state | 6     | gripper, 0 open .. 1 closed                   | 0 .. 1                                    |      |

    Start and goal: at rest, gripper straight down and open, tool centre point uniform in the workspace, at least
    `min_distance` apart; or given as `options={"start": state, "goal": state}` of `reset`. The goal picture is that of
    the exact goal state; since the joints are a function of the pose, the arm that arrives there looks the same.

    Info: `goal` (`image`, `state`), `distance` of the tool centre point to the goal's [m], and `is_success`: that
    distance is at most `success_radius`. The reward is minus the distance. `terminated` is always False, so that
    success can be judged at the last step of an episode as well as at any; `truncated` is True from step `max_steps`.

    Control rate: `control_hz` = 5.
    """

    config: ReachConfig
    start_heights = (float(POSE_LOW[2]), float(POSE_HIGH[2]))

    def __init__(self, config: ReachConfig | None = None) -> None:
        """Build the simulation.

        Args:
            config: options; None: the defaults.
        """
        config = config or ReachConfig()
        super().__init__(config, Arm(config, workspace=REACH_WORKSPACE))

    def _begin(self, options: dict[str, Any]) -> Goal:
        start, goal = self._start_and_goal(options)
        self._arm.place(start)
        return self._arm.render_pose(goal)

    def _start_and_goal(self, options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        check_options(options, ("start", "goal"))
        given = {name: check_pose(name, value, REACH_WORKSPACE) for name, value in options.items()}

        def draw() -> tuple[np.ndarray, np.ndarray]:
            start = given.get("start", self.sample_pose(self.np_random))
            return start, given.get("goal", self.sample_pose(self.np_random))

        def is_right(drawn: tuple[np.ndarray, np.ndarray]) -> bool:
            start, goal = drawn
            return len(given) == 2 or bool(np.linalg.norm(start[:3] - goal[:3]) >= self.config.min_distance)

        return draw_until(draw, is_right, f"start and goal were less than {self.config.min_distance} m apart")

    def _info(self) -> dict[str, Any]:
        distance = float(np.linalg.norm(self._state()[:3] - self._goal["state"][:3]))
        success = distance <= self.config.success_radius
        return {"goal": self._copy_of_goal(), "distance": distance, "is_success": success}

    def _reward(self, info: dict[str, Any]) -> float:
        return -info["distance"]
