"""A task with something that only turns: bring a lever to the angle at which the goal picture shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from vjepa_wm.envs.arm.arm import Arm
from vjepa_wm.envs.arm.arm_env import ArmEnv, Placed, check_pose
from vjepa_wm.envs.arm.hand import hides
from vjepa_wm.envs.arm.lever.geometry import (
    LEVER_HALF,
    LEVER_HIGH,
    LEVER_LOW,
    LEVER_WORKSPACE,
    SUCCESS_ANGLE,
    pose_beside,
    reaches_into,
    stay_out,
    turn_between,
)
from vjepa_wm.envs.goal_env import Goal, GoalEnvConfig
from vjepa_wm.envs.reset_options import check_numbers, check_options, draw_until

# Given fingers may be this far within the lever or its hub [m].
SLACK = 0.005


@dataclass(frozen=True, kw_only=True)
class LeverConfig(GoalEnvConfig):
    """Options of `LeverEnv`."""

    success_angle: float = SUCCESS_ANGLE
    """Largest turn between the lever and the goal's that counts as success [rad]."""
    min_turn: float = 0.5
    """Smallest turn between the sampled levers at start and goal [rad]."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        if not 0 < self.success_angle < self.min_turn <= 2.5:
            raise ValueError(
                "success_angle and min_turn must satisfy 0 < success_angle < min_turn <= 2.5, "
                f"got {self.success_angle} and {self.min_turn}"
            )


class LeverArm(Arm):
    """The arm and a lever, whose place and yaw are the one object `lever`, (3,)."""

    def __init__(self, config: GoalEnvConfig) -> None:
        """Load the model.

        Args:
            config: what its pictures are like.
        """
        super().__init__(config, scene=Path(__file__).with_name("scene.xml"), workspace=LEVER_WORKSPACE)

    def lever(self) -> np.ndarray:
        """Return x and y of the axis [m] and the lever's yaw, in [-pi, pi] [rad], (3,) float64."""
        return np.append(self.data.mocap_pos[0, :2], turn_between(0.0, float(self.data.joint("lever").qpos[0])))

    def _set_at_rest(self, data: mujoco.MjData, joints: np.ndarray, objects: Mapping[str, np.ndarray]) -> None:
        super()._set_at_rest(data, joints, {})
        data.mocap_pos[0, :2] = objects["lever"][:2]
        data.joint("lever").qpos[:] = objects["lever"][2]
        self._refresh(data)


class LeverEnv(ArmEnv):
    """Turn a lever about its axis with a Franka-like arm.

    Frames and actions are those of `vjepa_wm.envs.arm.arm_env.ArmEnv`.

    The lever, a bar 32 cm long, lies across the top of a stand, 6 cm above the table, which is somewhere else in each
    episode. It turns about the vertical through its middle, without end, and stays where it is left. One arm is bright,
    the other of the mark's colour; its yaw is the direction of the bright one. Either can be pushed from both sides.

    The arm does not press against what does not give way: where an action would lead down onto the lever, the fingers
    stay above, and where it would lead against its ends or the hub below its middle, they stop beside. Fingers around
    it, or one on each arm, touch it and press no further.

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
    | stand          | x uniform in 0.50 .. 0.57 m, y in ± 0.15 m       | at the same place                          |
    | lever          | yaw uniform in ± pi                              | the same, `min_turn` or more away          |
    | gripper        | uniform in the workspace above z = 0.11 m where  | closed, beside the lever, as after turning |
    |                | it does not hide the lever, closed               | it from the start, behind it for `front`   |

    All are at rest, the gripper straight down. `options` of `reset` may give "start" and "goal", states (7,), and
    "start_object" and "goal_object", x and y of the axis and yaw of the lever (3,).

    The goal picture is that of the exact goal state. Info:

    | key           | meaning                                                                          | unit   |
    | ------------- | -------------------------------------------------------------------------------- | ------ |
    | object        | x, y of the axis, yaw of the lever now, in [-pi, pi]; float32 (3,)               | m, rad |
    | goal          | `image`, `state` and `object` of the goal                                        |        |
    | angle         | size of the turn between the lever and the goal's, 0 .. pi                       | rad    |
    | distance      | how far its ends are from where they are to be, along their circle               | m      |
    | is_success    | `angle` <= `success_angle` (0.15 rad, 2.4 cm at the ends)                        |        |

    The reward is minus the distance. `terminated` is always False, so that success can be judged at the last step of an
    episode as well as at any; `truncated` is True from step `max_steps`.

    Control rate: `control_hz` = 5.
    """

    config: LeverConfig
    object_names = ("x", "y", "yaw")
    start_heights = (0.11, 0.22)  # above any lever
    start_gripper = 1.0

    def __init__(self, config: LeverConfig | None = None) -> None:
        """Build the simulation.

        Args:
            config: options; None: the defaults.
        """
        config = config or LeverConfig()
        self._arm: LeverArm
        super().__init__(config, LeverArm(config))

    def sample_object(self, rng: np.random.Generator) -> np.ndarray:
        """Sample a place of the axis and a yaw of the lever.

        Args:
            rng: generator to draw from.

        Returns:
            x, y and yaw, (3,) float32.
        """
        return rng.uniform(LEVER_LOW, LEVER_HIGH).astype(np.float32)

    def _begin(self, options: dict[str, Any]) -> Goal:
        start, start_object, goal, goal_object = self._start_and_goal(options)
        self._arm.place(start, {"lever": start_object})
        return self._arm.render_pose(goal, {"lever": goal_object}) | {"object": goal_object.astype(np.float32)}

    def _start_and_goal(self, options: dict[str, Any]) -> Placed:
        check_options(options, ("start", "start_object", "goal", "goal_object"))
        given = {
            name: _check_lever(name, value) if name.endswith("object") else check_pose(name, value, LEVER_WORKSPACE)
            for name, value in options.items()
        }
        levers = [given[name] for name in ("start_object", "goal_object") if name in given]
        if len(levers) == 2 and np.abs(levers[0][:2] - levers[1][:2]).max() > 1e-6:
            places = " and ".join(str(lever[:2].round(3).tolist()) for lever in levers)
            raise ValueError(f"start_object and goal_object must have the axis at one place, got {places}")

        def draw() -> Placed:
            start = given.get("start", self.sample_pose(self.np_random))
            start_object = given.get("start_object", self.sample_object(self.np_random))
            goal_object = given.get("goal_object", self.sample_object(self.np_random))
            place = (levers or [start_object])[0][:2]
            start_object, goal_object = (np.append(place, lever[2]) for lever in (start_object, goal_object))
            turn = 1 if turn_between(start_object[2], goal_object[2]) > 0 else -1
            goal = given.get("goal", pose_beside(goal_object, turn).astype(np.float32))
            return start, start_object, goal, goal_object

        def is_right(drawn: Placed) -> bool:
            start, start_object, goal, goal_object = drawn
            is_apart = abs(turn_between(start_object[2], goal_object[2])) >= self.config.min_turn
            if not is_apart and len(levers) < 2:
                return False
            if "start" not in given and hides(start, start_object[:2], along=-0.05, across=0.2):
                return False
            return not reaches_into(start, start_object, SLACK) and not reaches_into(goal, goal_object, SLACK)

        return draw_until(
            draw,
            is_right,
            "the fingers reached into the lever or its hub, or start and goal of the lever were less than "
            f"{self.config.min_turn} rad apart",
        )

    def _move(self, action: np.ndarray) -> None:
        self._arm.move(stay_out(self._arm.pose(), action, self._arm.lever()))

    def _info(self) -> dict[str, Any]:
        lever = self._arm.lever().astype(np.float32)
        angle = abs(turn_between(float(lever[2]), float(self._goal["object"][2])))
        return {
            "goal": self._copy_of_goal(),
            "object": lever,
            "angle": angle,
            "distance": float(LEVER_HALF[0]) * angle,
            "is_success": angle <= self.config.success_angle,
        }

    def _reward(self, info: dict[str, Any]) -> float:
        return -info["distance"]


def _check_lever(name: str, value: np.ndarray) -> np.ndarray:
    lever = check_numbers(name, value, LeverEnv.object_names)
    if (lever[:2] < LEVER_LOW[:2] - SLACK).any() or (lever[:2] > LEVER_HIGH[:2] + SLACK).any():
        limits = f"{LEVER_LOW[:2].tolist()} .. {LEVER_HIGH[:2].tolist()}"
        raise ValueError(f"{name} must have its axis within {limits}, got {lever[:2].round(3).tolist()}")
    return lever
