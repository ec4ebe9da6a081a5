"""The first task that needs a grip: grasp a brick and lift it to where the goal picture shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vjepa_wm.envs.arm.brick.brick_env import BrickEnv, check_given
from vjepa_wm.envs.arm.brick.geometry import LIFT, SUCCESS_RADIUS, holds, pose_around
from vjepa_wm.envs.goal_env import Goal, GoalEnvConfig


@dataclass(frozen=True, kw_only=True)
class GraspConfig(GoalEnvConfig):
    """Options of `GraspEnv`."""

    success_radius: float = SUCCESS_RADIUS
    """Largest distance of the brick's centre to the goal's that counts as success [m]."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        if not 0 < self.success_radius < LIFT:
            raise ValueError(
                f"success_radius must be above 0 and below {LIFT}, the height of the goal, got {self.success_radius}"
            )


class GraspEnv(BrickEnv):
    """Grasp a brick with a Franka-like arm and lift it to where it is in a goal picture, 10 cm above where it lies.

    Frames and actions are those of `vjepa_wm.envs.arm.arm_env.ArmEnv`.

    The brick, 16 x 5.6 x 5.6 cm and 0.1 kg, moves freely; the gripper opens to 8 cm. One end is marked; its heading is
    the direction of that end.

    Two guards: where an action would press the fingers onto the brick's upper side, or a held brick onto the table, the
    arm stays above. And a grip stays: fingers that press on the brick go on pressing until an action opens the gripper
    by more than 0.1.

    Observation:

    | key   | entry | meaning                                      | workspace                                  | unit |
    | ----- | ----- | -------------------------------------------- | ------------------------------------------ | ---- |
    | image |       | fixed camera, uint8 (S, S, 3), RGB           |                                            |      |
    | state | 0-2   | x, y, z of the tool centre point, float32    | 0.38 .. 0.68, -0.28 .. 0.28, 0.021 .. 0.30 | m    |
    | state | 3-5   | roll, pitch, yaw                             | 0, 0, ± 1.2                                | rad  |
    | state | 6     | gripper, 0 open .. 1 closed, 0.3 on a brick  | 0 .. 1                                     |      |

    Distributions, all uniform; each may be given as an option of `reset` instead:

    | what               | option         | entries, range                                                           |
    | ------------------ | -------------- | ------------------------------------------------------------------------ |
    | brick at the start  | `start_object` | x 0.45 .. 0.61, y ± 0.18 [m], on the table, heading ± pi/4 [rad]         |
    | start              | `start`        | x, y in the workspace, z 0.12 .. 0.24 [m], not turned, open, not between |
    |                    |                | brick and camera                                                          |
    | brick at the goal   | `goal_object`  | 10 cm above the brick at the start, same heading                          |
    | gripper, at the    | `goal`         | closed around the brick                                                   |
    | goal               |                |                                                                          |

    The goal picture is that of the exact state with the gripper closed around the lifted brick. A given `start_object`
    may also be in the air, held by a given `start`.

    Info:

    | key        | meaning                                                    | unit   |
    | ---------- | ---------------------------------------------------------- | ------ |
    | object     | x, y, z of the brick's centre and its heading, float32 (4,) | m, rad |
    | goal       | `image`, `state` and `object` of the goal                  |        |
    | distance   | distance of the brick's centre to the goal's                | m      |
    | is_success | `distance` <= `success_radius` (4 cm)                      |        |

    The reward is minus the distance. `terminated` is always False, so that success can be judged at the last step of an
    episode as well as at any; `truncated` is True from step `max_steps`.

    Control rate: `control_hz` = 5.
    """

    config: GraspConfig

    def __init__(self, config: GraspConfig | None = None) -> None:
        """Build the simulation.

        Args:
            config: options; None: the defaults.
        """
        super().__init__(config or GraspConfig())

    def _begin(self, options: dict[str, Any]) -> Goal:
        given = check_given(options)
        start, start_object = self._start(given)
        goal_object = given.get("goal_object", start_object + np.array([0.0, 0.0, LIFT, 0.0])).astype(np.float32)
        goal = given.get("goal", pose_around(goal_object)).astype(np.float32)
        if not holds(goal, goal_object):
            raise ValueError(
                f"goal must be a gripper closed around the brick at {np.round(goal_object, 3).tolist()}, for example "
                f"{np.round(pose_around(goal_object), 3).tolist()}, got {np.round(goal, 3).tolist()}"
            )
        self._place(start, start_object)
        return self._arm.render_pose(goal, {"brick": goal_object}) | {"object": goal_object}

    def _info(self) -> dict[str, Any]:
        brick = self._arm.object_pose("brick").astype(np.float32)
        distance = float(np.linalg.norm(brick[:3] - self._goal["object"][:3]))
        success = distance <= self.config.success_radius
        return {"goal": self._copy_of_goal(), "object": brick, "distance": distance, "is_success": success}

    def _reward(self, info: dict[str, Any]) -> float:
        return -info["distance"]
