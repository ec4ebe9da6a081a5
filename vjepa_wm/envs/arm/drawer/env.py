"""A task with something that moves in one way only: open or close a drawer as far as the goal picture shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from vjepa_wm.envs.arm.arm import Arm
from vjepa_wm.envs.arm.arm_env import ArmEnv, Placed, check_pose
from vjepa_wm.envs.arm.drawer.geometry import (
    DRAWER_HIGH,
    DRAWER_LOW,
    DRAWER_WORKSPACE,
    MAX_OPENING,
    SUCCESS_DISTANCE,
    handle_place,
    pose_at_handle,
    reaches_into,
    stay_out,
)
from vjepa_wm.envs.arm.hand import hides
from vjepa_wm.envs.goal_env import Goal, GoalEnvConfig
from vjepa_wm.envs.reset_options import check_distances, check_numbers, check_options, draw_until

# Given fingers may be this far within the cabinet, and a given drawer this far beyond its stops [m].
SLACK = 0.005


@dataclass(frozen=True, kw_only=True)
class DrawerConfig(GoalEnvConfig):
    """Options of `DrawerEnv`."""

    success_distance: float = SUCCESS_DISTANCE
    """Largest difference of the opening to the goal's that counts as success [m]."""
    min_distance: float = 0.06
    """Smallest difference between the sampled openings at start and goal [m]."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        check_distances("success_distance", self.success_distance, self.min_distance, 0.12)


class DrawerArm(Arm):
    """The arm before a cabinet, whose place and opening are the one object `drawer`, (3,)."""

    def __init__(self, config: GoalEnvConfig) -> None:
        """Load the model.

        Args:
            config: what its pictures are like.
        """
        super().__init__(config, scene=Path(__file__).with_name("scene.xml"), workspace=DRAWER_WORKSPACE)

    def drawer(self) -> np.ndarray:
        """Return x and y of the cabinet and how far the drawer is open, (3,) float64 [m]."""
        return np.append(self.data.mocap_pos[0, :2], self.data.joint("drawer").qpos)

    def _set_at_rest(self, data: mujoco.MjData, joints: np.ndarray, objects: Mapping[str, np.ndarray]) -> None:
        super()._set_at_rest(data, joints, {})
        data.mocap_pos[0, :2] = objects["drawer"][:2]
        data.joint("drawer").qpos[:] = objects["drawer"][2]
        self._refresh(data)


class DrawerEnv(ArmEnv):
    """Open or close the drawer of a cabinet with a Franka-like arm.

    Frames and actions are those of `vjepa_wm.envs.arm.arm_env.ArmEnv`.

    The cabinet, 24 cm wide, 21 cm deep and 12 cm high, stands somewhere else on the table in each episode. The drawer
    slides to the right, 0 .. 18 cm, and stays where it is left. Its handle, a bar 7.5 cm before its front, is for
    gripping, but pushing against it and against the front works too.

    The arm does not press against what does not give way: where an action would lead down onto cabinet, drawer or
    handle, the fingers stay above, and where it would lead into their sides, beside them.

    Observation:

    | key   | entry | meaning                                    | workspace                                  | unit |
    | ----- | ----- | ------------------------------------------ | ------------------------------------------ | ---- |
    | image |       | fixed camera, uint8 (S, S, 3), RGB         |                                            |      |
    | state | 0-2   | x, y, z of the tool centre point, float32  | 0.36 .. 0.70, -0.29 .. 0.29, 0.08 .. 0.27  | m    |
    | state | 3-5   | roll, pitch, yaw                           | 0, 0, ± 0.4                                | rad  |
    | state | 6     | gripper, 0 open .. 1 closed                | 0 .. 1                                     |      |

    Start and goal:

    | what           | at the start                                     | in the goal picture                        |
    | -------------- | ------------------------------------------------ | ------------------------------------------ |
    | cabinet        | x uniform in 0.45 .. 0.61 m, y in 0.08 .. 0.14 m | at the same place                          |
    | drawer         | open by 0 .. 0.16 m, uniform                     | the same, `min_distance` or more different |
    | gripper        | uniform in the workspace above z = 0.16 m where  | open, the handle between the fingers, as   |
    |                | it does not hide the drawer, open                | after letting go of it                     |

    All are at rest, the gripper straight down. `options` of `reset` may give "start" and "goal", states (7,), and
    "start_object" and "goal_object", x and y of the cabinet and opening of the drawer (3,).

    The goal picture is that of the exact goal state. Info:

    | key           | meaning                                                                          | unit   |
    | ------------- | -------------------------------------------------------------------------------- | ------ |
    | object        | x, y of the cabinet, below the middle of the closed drawer's front, and opening  | m      |
    |               | of the drawer now; float32 (3,)                                                  |        |
    | goal          | `image`, `state` and `object` of the goal                                        |        |
    | distance      | difference between the drawer's opening and the goal's                           | m      |
    | is_success    | `distance` <= `success_distance` (2 cm)                                          |        |

    The reward is minus the distance. `terminated` is always False, so that success can be judged at the last step of an
    episode as well as at any; `truncated` is True from step `max_steps`.

    Control rate: `control_hz` = 5.
    """

    config: DrawerConfig
    object_names = ("x", "y", "opening")
    start_heights = (0.16, 0.25)  # above the cabinet

    def __init__(self, config: DrawerConfig | None = None) -> None:
        """Build the simulation.

        Args:
            config: options; None: the defaults.
        """
        config = config or DrawerConfig()
        self._arm: DrawerArm
        super().__init__(config, DrawerArm(config))

    def sample_object(self, rng: np.random.Generator) -> np.ndarray:
        """Sample a place of the cabinet and an opening of its drawer.

        Args:
            rng: generator to draw from.

        Returns:
            x, y and opening, (3,) float32.
        """
        return rng.uniform(DRAWER_LOW, DRAWER_HIGH).astype(np.float32)

    def _begin(self, options: dict[str, Any]) -> Goal:
        start, start_object, goal, goal_object = self._start_and_goal(options)
        self._arm.place(start, {"drawer": start_object})
        return self._arm.render_pose(goal, {"drawer": goal_object}) | {"object": goal_object.astype(np.float32)}

    def _start_and_goal(self, options: dict[str, Any]) -> Placed:
        check_options(options, ("start", "start_object", "goal", "goal_object"))
        given = {
            name: _check_drawer(name, value) if name.endswith("object") else check_pose(name, value, DRAWER_WORKSPACE)
            for name, value in options.items()
        }
        drawers = [given[name] for name in ("start_object", "goal_object") if name in given]
        if len(drawers) == 2 and np.abs(drawers[0][:2] - drawers[1][:2]).max() > 1e-6:
            places = " and ".join(str(drawer[:2].round(3).tolist()) for drawer in drawers)
            raise ValueError(f"start_object and goal_object must have the cabinet at one place, got {places}")

        def draw() -> Placed:
            start = given.get("start", self.sample_pose(self.np_random))
            start_object = given.get("start_object", self.sample_object(self.np_random))
            goal_object = given.get("goal_object", self.sample_object(self.np_random))
            place = (drawers or [start_object])[0][:2]
            start_object, goal_object = (np.append(place, drawer[2]) for drawer in (start_object, goal_object))
            goal = given.get("goal", pose_at_handle(goal_object).astype(np.float32))
            return start, start_object, goal, goal_object

        def is_right(drawn: Placed) -> bool:
            start, start_object, goal, goal_object = drawn
            if abs(start_object[2] - goal_object[2]) < self.config.min_distance and len(drawers) < 2:
                return False
            middle = (handle_place(start_object) + start_object[:2]) / 2
            if "start" not in given and hides(start, middle, along=0.0, across=0.17):
                return False
            return not reaches_into(start, start_object, SLACK) and not reaches_into(goal, goal_object, SLACK)

        return draw_until(
            draw,
            is_right,
            "the fingers reached into the cabinet or the handle, or the openings of the drawer were less than "
            f"{self.config.min_distance} m apart",
        )

    def _move(self, action: np.ndarray) -> None:
        self._arm.move(stay_out(self._arm.pose(), action, self._arm.drawer()))

    def _info(self) -> dict[str, Any]:
        drawer = self._arm.drawer().astype(np.float32)
        distance = float(abs(drawer[2] - self._goal["object"][2]))
        success = distance <= self.config.success_distance
        return {"goal": self._copy_of_goal(), "object": drawer, "distance": distance, "is_success": success}

    def _reward(self, info: dict[str, Any]) -> float:
        return -info["distance"]


def _check_drawer(name: str, value: np.ndarray) -> np.ndarray:
    drawer = check_numbers(name, value, DrawerEnv.object_names)
    low, high = DRAWER_LOW - SLACK, np.append(DRAWER_HIGH[:2], MAX_OPENING) + SLACK
    if (drawer < low).any() or (drawer > high).any():
        limits = f"{DRAWER_LOW.tolist()} .. {[*DRAWER_HIGH[:2].tolist(), MAX_OPENING]}"
        raise ValueError(f"{name} must lie within {limits}, got {drawer.round(3).tolist()}")
    return drawer
