"""Open or close a drawer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vjepa_wm.envs.arm.arm_policies import arm_policies
from vjepa_wm.envs.arm.drawer.geometry import DRAWER_WORKSPACE, SUCCESS_DISTANCE
from vjepa_wm.envs.arm.drawer.policies import DrawerExpert, DrawerPlay
from vjepa_wm.envs.arm.workspace import plan_limits
from vjepa_wm.envs.task import Task

if TYPE_CHECKING:
    from vjepa_wm.envs.arm.drawer.env import DrawerEnv


def make_env(**options: Any) -> DrawerEnv:
    """Make the environment; `options` are the fields of `DrawerConfig`."""
    from vjepa_wm.envs.arm.drawer.env import DrawerConfig, DrawerEnv  # here, since it imports mujoco

    return DrawerEnv(DrawerConfig(**options))


TASK = Task(
    name="drawer",
    aim="open or close the drawer of a cabinet with a Franka-like arm",
    success_rule=f"opening within {100 * SUCCESS_DISTANCE:g} cm of the goal's",
    make_env=make_env,
    limits=plan_limits(DRAWER_WORKSPACE, grips=True),
    usual_steps=40,
    policies=arm_policies(DrawerExpert, DrawerPlay, DRAWER_WORKSPACE),
)
