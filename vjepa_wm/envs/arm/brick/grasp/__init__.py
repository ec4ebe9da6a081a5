"""Grasp a brick and lift it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vjepa_wm.envs.arm.arm_policies import arm_policies
from vjepa_wm.envs.arm.brick.brick_play import BrickPlay
from vjepa_wm.envs.arm.brick.geometry import BRICK_WORKSPACE, SUCCESS_RADIUS
from vjepa_wm.envs.arm.brick.grasp.policies import GraspExpert
from vjepa_wm.envs.arm.workspace import plan_limits
from vjepa_wm.envs.task import Task

if TYPE_CHECKING:
    from vjepa_wm.envs.arm.brick.grasp.env import GraspEnv


def make_env(**options: Any) -> GraspEnv:
    """Make the environment; `options` are the fields of `GraspConfig`."""
    from vjepa_wm.envs.arm.brick.grasp.env import GraspConfig, GraspEnv  # here, since it imports mujoco

    return GraspEnv(GraspConfig(**options))


TASK = Task(
    name="grasp",
    aim="grasp a brick with a Franka-like arm and lift it to where it is in a goal picture",
    success_rule=f"brick within {100 * SUCCESS_RADIUS:g} cm of its place in the goal, in the air",
    make_env=make_env,
    limits=plan_limits(BRICK_WORKSPACE, turns=True, grips=True),
    usual_steps=30,
    policies=arm_policies(GraspExpert, BrickPlay, BRICK_WORKSPACE),
)
