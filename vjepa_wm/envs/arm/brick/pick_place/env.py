"""A task in parts: grasp a brick, carry it, put it down where the goal picture shows it, let go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vjepa_wm.envs.arm.arm_env import Placed
from vjepa_wm.envs.arm.brick.brick_env import BrickEnv, check_given, check_not_inside, lies
from vjepa_wm.envs.arm.brick.geometry import LIFT, LYING, SUCCESS_RADIUS, holds, pose_around
from vjepa_wm.envs.goal_env import Goal, GoalEnvConfig
from vjepa_wm.envs.reset_options import check_distances, draw_until

SUBGOALS = ("grasped", "carried", "placed")
"""Names of the parts in order."""
GONE_ABOVE = 0.08
"""How high above the brick's centre the open gripper is when it has let go [m]: its fingers are clear of the brick."""
HEIGHT_ERROR = 0.01
"""A brick whose height differs less from the goal's is put down [m]."""
CARRIED_HEIGHT = 0.05
"""A brick is carried at least this high above where it is to lie [m]."""


@dataclass(frozen=True, kw_only=True)
class PickPlaceConfig(GoalEnvConfig):
    """Options of `PickPlaceEnv`."""

    success_radius: float = SUCCESS_RADIUS
    """Largest horizontal distance of the brick's centre to the goal's that counts as success [m]."""
    min_distance: float = 0.12
    """Smallest distance between the sampled places of the brick at start and goal [m]."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        check_distances("success_radius", self.success_radius, self.min_distance, 0.2)


class PickPlaceEnv(BrickEnv):
    """Grasp a brick with a Franka-like arm, carry it to where it is in a goal picture, put it down and let go.

    Scene, guards and observation are those of `vjepa_wm.envs.arm.brick.grasp.env.GraspEnv`.

    Distributions, all uniform; each may be given as an option of `reset` instead:

    | what               | option         | entries, range                                                           |
    | ------------------ | -------------- | ------------------------------------------------------------------------ |
    | brick at the start  | `start_object` | x 0.45 .. 0.61, y ± 0.18 [m], on the table, heading ± pi/4 [rad]         |
    | start              | `start`        | x, y in the workspace, z 0.12 .. 0.24 [m], not turned, open, not between |
    |                    |                | brick and camera                                                          |
    | brick at the goal   | `goal_object`  | as at the start, at least `min_distance` from there                      |
    | gripper, at the    | `goal`         | open, 8 cm above the brick's centre, turned as it was when it let go      |
    | goal               |                |                                                                          |

    A given `start_object` may also be in the air, held by a given `start`.

    Sub-goals, in `info["goal"]["subgoals"]`: for each its `name`, and `image`, `state` and `object` of the exact state.

    | name    | picture                                            | holds now if                                      |
    | ------- | -------------------------------------------------- | ------------------------------------------------- |
    | grasped | gripper closed around the brick where it lies at   | the brick is between the fingers, and these leave |
    |         | the start                                          | it at most 4 mm of room                           |
    | carried | the same 10 cm above the goal, turned as the brick | grasped; horizontal distance to the goal at most  |
    |         | is there                                           | `success_radius`; at least 5 cm above the goal    |
    | placed  | brick at the goal, gripper open above it: the goal | `is_success`                                      |

    Info:

    | key                  | meaning                                                                       | unit   |
    | -------------------- | ----------------------------------------------------------------------------- | ------ |
    | object               | x, y, z of the brick's centre and its heading, float32 (4,)                    | m, rad |
    | goal                 | `image`, `state`, `object` of the goal, and `subgoals`                        |        |
    | distance             | distance of the brick's centre to the goal's                                   | m      |
    | num_subgoals_reached | number in its list of the last sub-goal that holds now, 1 .. 3; 0: none does  |        |
    | is_success           | horizontal distance <= `success_radius` (4 cm), height within 1 cm of the     |        |
    |                      | goal's, the brick not grasped                                                  |        |

    All are functions of the state as it is; that the brick was carried before is not asked for. The heading does not
    count, but the one in the picture can be had: both are within a quarter turn of the gripper. The reward is minus the
    distance. `terminated` is always False, so that success can be judged at the last step of an episode as well as at
    any; `truncated` is True from step `max_steps`.

    Control rate: `control_hz` = 5.
    """

    config: PickPlaceConfig

    def __init__(self, config: PickPlaceConfig | None = None) -> None:
        """Build the simulation.

        Args:
            config: options; None: the defaults.
        """
        super().__init__(config or PickPlaceConfig())

    def _begin(self, options: dict[str, Any]) -> Goal:
        start, start_object, goal, goal_object = self._start_and_goal(options)
        carried = goal_object + np.array([0.0, 0.0, LIFT, 0.0], dtype=np.float32)
        parts = (
            (pose_around(start_object), start_object),
            (pose_around(carried), carried),
            (goal, goal_object),
        )
        self._place(start, start_object)
        subgoals = [
            self._arm.render_pose(pose, {"brick": brick}) | {"object": brick.astype(np.float32), "name": name}
            for name, (pose, brick) in zip(SUBGOALS, parts, strict=True)
        ]
        return {name: subgoals[-1][name] for name in subgoals[-1] if name != "name"} | {"subgoals": subgoals}

    def _start_and_goal(self, options: dict[str, Any]) -> Placed:
        given = check_given(options)
        start, start_object = self._start(given)
        goal_object = given.get("goal_object")
        if goal_object is None:
            goal_object = draw_until(
                lambda: self.sample_object(self.np_random),
                lambda brick: bool(np.linalg.norm(brick[:2] - start_object[:2]) >= self.config.min_distance),
                f"start and goal of the brick were less than {self.config.min_distance} m apart",
            )
        goal = given.get("goal", pose_above(goal_object).astype(np.float32))
        if not lies(goal_object):
            raise ValueError(
                f"goal_object must lie on the table, with its centre at z = {LYING}, got z = {goal_object[2]:.3f}"
            )
        check_not_inside("goal", goal, goal_object)
        if holds(goal, goal_object):
            raise ValueError(
                "goal must be a gripper that has let go of goal_object, for example "
                f"{np.round(pose_above(goal_object), 3).tolist()}, got {np.round(goal, 3).tolist()}"
            )
        return start, start_object, goal, goal_object

    def _info(self) -> dict[str, Any]:
        pose, brick = self._arm.pose(), self._arm.object_pose("brick").astype(np.float32)
        goal = self._goal["object"]
        is_near = np.linalg.norm(brick[:2] - goal[:2]) <= self.config.success_radius
        above, is_grasped = float(brick[2] - goal[2]), holds(pose, brick)
        success = bool(is_near and abs(above) <= HEIGHT_ERROR and not is_grasped)
        is_carried = is_grasped and is_near and above >= CARRIED_HEIGHT
        return {
            "goal": self._copy_of_goal(),
            "object": brick,
            "distance": float(np.linalg.norm(brick[:3] - goal[:3])),
            "num_subgoals_reached": 3 if success else 2 if is_carried else int(is_grasped),
            "is_success": success,
        }

    def _reward(self, info: dict[str, Any]) -> float:
        return -info["distance"]


def pose_above(brick: np.ndarray) -> np.ndarray:
    """Return the tool pose after letting go of a brick: open, straight above it, (P,) float64."""
    pose = pose_around(brick, gripper=0.0)
    pose[2] = brick[2] + GONE_ABOVE
    return pose
