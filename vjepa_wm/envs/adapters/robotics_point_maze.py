"""PointMaze tasks of gymnasium-robotics with goal pictures; needs the extra `robotics`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from vjepa_wm.envs.adapters.foreign_env import ForeignEnv, ForeignSpec, foreign_task
from vjepa_wm.envs.adapters.robotics import RoboticsEnv, make_robotics
from vjepa_wm.envs.goal_env import GoalEnvConfig
from vjepa_wm.envs.render.back_end import choose_renderer

if TYPE_CHECKING:
    import mujoco

SUCCESS_RADIUS = 0.45  # [m]
PointMazeName = Literal["PointMaze_UMaze-v3", "PointMaze_Medium-v3"]


def make_point_maze(name: PointMazeName, *, repeat: int = 10, **options: Any) -> ForeignEnv:
    """Make a maze, seen from above, with goal pictures.

    | entry  | meaning                                                    | range | unit          |
    | ------ | ---------------------------------------------------------- | ----- | ------------- |
    | action | force on the ball along x, y                               | ± 1   | 100 N         |
    | state  | 0-1: x, y of the ball; 2-3: its velocity                   |       | m; m/s        |

    Start: anywhere in the free cells, at rest. Goal: the same, 1 m or more away as the crow flies. Success: within
    0.45 m, which is the environment's own rule. Cells are 1 m wide.

    Args:
        name: the environment.
        repeat: how many of the environment's steps, of which it makes 100 a second, an action is for.
        options: fields of `GoalEnvConfig`; the camera is `top`.

    Returns:
        The environment.

    Raises:
        ModuleNotFoundError: if the extra is not installed.
        ValueError: if the name is unknown or an option is out of its range.
        RuntimeError: if this machine cannot render as asked.
    """
    if name not in get_args(PointMazeName):
        raise ValueError(f"name must be one of {', '.join(get_args(PointMazeName))}, got {name!r}")
    if repeat < 1 or 100 % repeat:
        raise ValueError(f"repeat must divide 100, the environment's steps per second, got {repeat}")
    chosen = {"cameras": ("top",)} | options
    config = GoalEnvConfig(**chosen | {"renderer": choose_renderer(options.get("renderer", "auto"))})
    # Imported here because importing mujoco fixes the library it renders with.
    from vjepa_wm.envs.adapters.mujoco_simulation import Memory, adapt_mujoco

    env = make_robotics(name)
    spec = ForeignSpec(
        control_hz=100 // repeat,
        repeat=repeat,
        state_names=("x", "y", "velocity_x", "velocity_y"),
        action_names=("x", "y"),
        read_state=_read_state,
        enter_goal=_enter_goal,
        distance=_distance,
        success_radius=SUCCESS_RADIUS,
        min_distance=1.0,
    )
    dress = partial(_dress, width=max(env.maze.map_length, env.maze.map_width))
    memory = Memory(_read_own_goal, _write_own_goal)
    return adapt_mujoco(env, spec, config, xml=env.point_env.fullpath, dress=dress, memory=memory)


def _dress(spec: mujoco.MjSpec, width: int) -> None:
    from vjepa_wm.envs.adapters.mujoco_simulation import add_camera

    # The ball is as large and green as the mark the environment draws it with; the floor has no pattern.
    ball, floor = spec.geom("particle_geom"), spec.geom("ground")
    ball.size[0], ball.rgba = 0.2, [0.3, 0.6, 0.3, 1.0]
    floor.material, floor.rgba = "", [0.15, 0.25, 0.35, 1.0]
    # The outer walls need not be seen in full. From far above, walls hide nothing.
    height, fovy = 20.0, 2 * np.degrees(np.arctan((width - 1) / 2 / 20.0))
    add_camera(spec, "top", position=(0.0, 0.0, height), target=(0.0, 0.0, 0.0), fovy=fovy)


def _read_state(env: RoboticsEnv) -> np.ndarray:
    return np.concatenate([env.data.qpos, env.data.qvel])


def _distance(now: Mapping[str, np.ndarray], goal: Mapping[str, np.ndarray]) -> float:
    return float(np.linalg.norm(now["state"][:2] - goal["state"][:2]))


def _enter_goal(env: RoboticsEnv, rng: np.random.Generator) -> None:
    cells, noise = env.maze.unique_goal_locations, env.position_noise_range
    env.point_env.set_state(rng.choice(cells) + rng.uniform(-noise, noise, 2), np.zeros(2))


def _read_own_goal(env: RoboticsEnv) -> np.ndarray:
    return env.goal


def _write_own_goal(env: RoboticsEnv, goal: np.ndarray) -> None:
    env.goal = goal
    env.update_target_site_pos()


_MAZES: tuple[tuple[str, PointMazeName, int], ...] = (
    ("point_umaze", "PointMaze_UMaze-v3", 60),
    ("point_medium", "PointMaze_Medium-v3", 120),
)
POINT_UMAZE, POINT_MEDIUM = (
    foreign_task(
        name,
        partial(make_point_maze, env),
        aim="push a ball through a maze to where it is in a goal picture",
        success_rule=f"ball within {SUCCESS_RADIUS:g} m of the goal",
        action_size=(1.0, 1.0),
        usual_steps=steps,
    )
    for name, env, steps in _MAZES
)
