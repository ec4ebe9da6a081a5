"""Grasp a brick, carry it, put it down and let go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vjepa_wm.envs.arm.arm_policies import arm_policies
from vjepa_wm.envs.arm.brick.brick_play import BrickPlay
from vjepa_wm.envs.arm.brick.geometry import BRICK_WORKSPACE, SUCCESS_RADIUS
from vjepa_wm.envs.arm.brick.pick_place.policies import PickPlaceExpert
from vjepa_wm.envs.arm.workspace import plan_limits
from vjepa_wm.envs.task import Task

if TYPE_CHECKING:
    from vjepa_wm.envs.arm.brick.pick_place.env import PickPlaceEnv


def make_env(**options: Any) -> PickPlaceEnv:
    """Make the environment; `options` are the fields of `PickPlaceConfig`."""
    from vjepa_wm.envs.arm.brick.pick_place.env import PickPlaceConfig, PickPlaceEnv  # here, since it imports mujoco

    return PickPlaceEnv(PickPlaceConfig(**options))


TASK = Task(
    name="pick_place",
    aim="grasp a brick with a Franka-like arm, carry it to where it is in a goal picture, put it down and let go",
    success_rule=f"brick let go within {100 * SUCCESS_RADIUS:g} cm of its place in the goal",
    make_env=make_env,
    limits=plan_limits(BRICK_WORKSPACE, turns=True, grips=True),
    usual_steps=60,
    policies=arm_policies(PickPlaceExpert, BrickPlay, BRICK_WORKSPACE),
    ordered_goals=True,
)
