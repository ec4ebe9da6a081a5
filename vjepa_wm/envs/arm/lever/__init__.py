"""Turn a lever to an angle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vjepa_wm.envs.arm.arm_policies import arm_policies
from vjepa_wm.envs.arm.lever.geometry import LEVER_WORKSPACE, SUCCESS_ANGLE
from vjepa_wm.envs.arm.lever.policies import LeverExpert, LeverPlay
from vjepa_wm.envs.arm.workspace import plan_limits
from vjepa_wm.envs.task import Task

if TYPE_CHECKING:
    from vjepa_wm.envs.arm.lever.env import LeverEnv


def make_env(**options: Any) -> LeverEnv:
    """Make the environment; `options` are the fields of `LeverConfig`."""
    from vjepa_wm.envs.arm.lever.env import LeverConfig, LeverEnv  # here, since it imports mujoco

    return LeverEnv(LeverConfig(**options))


TASK = Task(
    name="lever",
    aim="turn a lever about its axis with a Franka-like arm",
    success_rule=f"lever within {SUCCESS_ANGLE:g} rad of the goal's",
    make_env=make_env,
    limits=plan_limits(LEVER_WORKSPACE),
    usual_steps=40,
    policies=arm_policies(LeverExpert, LeverPlay, LEVER_WORKSPACE),
)
