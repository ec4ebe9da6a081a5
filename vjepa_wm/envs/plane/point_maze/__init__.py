"""Bring a point through a maze."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vjepa_wm.envs.plane.geometry import PLAN_LIMITS, SUCCESS_RADIUS
from vjepa_wm.envs.plane.point_policies import POINT_POLICIES
from vjepa_wm.envs.task import Task

if TYPE_CHECKING:
    from vjepa_wm.envs.plane.point_maze.env import PointMazeEnv


def make_env(**options: Any) -> PointMazeEnv:
    """Make the environment; `options` are the fields of `PointMazeConfig`."""
    from vjepa_wm.envs.plane.point_maze.env import PointMazeConfig, PointMazeEnv  # here, since it imports mujoco

    return PointMazeEnv(PointMazeConfig(**options))


TASK = Task(
    name="point_maze",
    aim="bring a point through a maze to where it is in a goal picture",
    success_rule=f"point within {100 * SUCCESS_RADIUS:g} cm of the goal",
    make_env=make_env,
    limits=PLAN_LIMITS,
    usual_steps=40,
    policies=POINT_POLICIES,
    usual_variation={"layout": "drawn"},
)
