"""Push a block to a place and heading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vjepa_wm.envs.arm.arm_policies import arm_policies
from vjepa_wm.envs.arm.push.geometry import PUSH_WORKSPACE, SUCCESS_ANGLE, SUCCESS_RADIUS
from vjepa_wm.envs.arm.push.policies import PushExpert, PushPlay
from vjepa_wm.envs.arm.workspace import plan_limits
from vjepa_wm.envs.task import Task

if TYPE_CHECKING:
    from vjepa_wm.envs.arm.push.env import PushEnv


def make_env(**options: Any) -> PushEnv:
    """Make the environment; `options` are the fields of `PushConfig`."""
    from vjepa_wm.envs.arm.push.env import PushConfig, PushEnv  # here, since it imports mujoco

    return PushEnv(PushConfig(**options))


TASK = Task(
    name="push",
    aim="push a block, which a Franka-like arm cannot grasp, to where it is in a goal picture",
    success_rule=f"block within {100 * SUCCESS_RADIUS:g} cm and {SUCCESS_ANGLE:g} rad of its place in the goal",
    make_env=make_env,
    limits=plan_limits(PUSH_WORKSPACE),
    usual_steps=60,
    policies=arm_policies(PushExpert, PushPlay, PUSH_WORKSPACE),
)
