"""Bring a point through a door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vjepa_wm.envs.plane.geometry import PLAN_LIMITS, SUCCESS_RADIUS
from vjepa_wm.envs.plane.point_policies import POINT_POLICIES
from vjepa_wm.envs.task import Task

if TYPE_CHECKING:
    from vjepa_wm.envs.plane.two_room.env import TwoRoomEnv


def make_env(**options: Any) -> TwoRoomEnv:
    """Make the environment; `options` are the fields of `TwoRoomConfig`."""
    from vjepa_wm.envs.plane.two_room.env import TwoRoomConfig, TwoRoomEnv  # here, since it imports mujoco

    return TwoRoomEnv(TwoRoomConfig(**options))


TASK = Task(
    name="two_room",
    aim="bring a point through a door to where it is, in the other room, in a goal picture",
    success_rule=f"point within {100 * SUCCESS_RADIUS:g} cm of the goal",
    make_env=make_env,
    limits=PLAN_LIMITS,
    usual_steps=40,
    policies=POINT_POLICIES,
    usual_variation={"layout": "drawn"},
)
