"""The simplest goal-picture task: bring the gripper to a place."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from vjepa_wm.envs.arm.arm_policies import PlayPolicy, arm_policies
from vjepa_wm.envs.arm.reach.geometry import REACH_WORKSPACE, SUCCESS_RADIUS
from vjepa_wm.envs.arm.reach.policies import ReachExpert
from vjepa_wm.envs.arm.workspace import plan_limits
from vjepa_wm.envs.task import Task

if TYPE_CHECKING:
    from vjepa_wm.envs.arm.reach.env import ReachEnv


def make_env(**options: Any) -> ReachEnv:
    """Make the environment; `options` are the fields of `ReachConfig`."""
    from vjepa_wm.envs.arm.reach.env import ReachConfig, ReachEnv  # here, since it imports mujoco

    return ReachEnv(ReachConfig(**options))


TASK = Task(
    name="reach",
    aim="bring the tool centre point of a Franka-like arm to where it is in a goal picture",
    success_rule=f"tool within {100 * SUCCESS_RADIUS:g} cm of the goal",
    make_env=make_env,
    limits=plan_limits(REACH_WORKSPACE),
    usual_steps=20,
    policies=arm_policies(ReachExpert, partial(PlayPolicy, workspace=REACH_WORKSPACE), REACH_WORKSPACE),
)
