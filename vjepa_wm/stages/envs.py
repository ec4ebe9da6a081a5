"""The list of tasks, in words and in pictures."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np

from vjepa_wm.envs import TASKS, make
from vjepa_wm.envs.render.back_end import RendererName
from vjepa_wm.envs.tasks import check_task
from vjepa_wm.stages.drawing import Tile, draw_row

if TYPE_CHECKING:  # it imports mujoco, which is too early here
    from vjepa_wm.envs.goal_env import GoalEnv

PER_ROW = 8
"""Pictures in a row."""


@dataclass(frozen=True, kw_only=True)
class EnvsConfig:
    """List the simulated tasks and draw a start, the sub-goals and the goal of each."""

    out: Path = Path("runs/envs")
    """Folder for `envs.png`."""
    tasks: tuple[str, ...] = TASKS
    """Which tasks."""
    image_size: int = 128
    """Height and width of the pictures [px]."""
    renderer: RendererName = "auto"
    """gl, ray (slower, needs no graphics library), or auto, the first of them that this machine has."""
    seed: int = 0
    """Decides start and goal."""

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("tasks must name at least one task, got none")
        for task in self.tasks:
            check_task(task)


def run_envs(config: EnvsConfig) -> None:
    """Print what the tasks are and write their pictures; errors as `vjepa_wm.envs.make`."""
    tiles: list[Tile] = []
    for task in config.tasks:
        with closing(make(task, image_size=config.image_size, renderer=config.renderer)) as env:
            print(describe(task, env))
            tiles += draw_task(task, env, config.seed)
    rows = [draw_row(tiles[k : k + PER_ROW], config.image_size) for k in range(0, len(tiles), PER_ROW)]
    # The last row may be shorter; it ends in the background's colour.
    missing = [rows[0].shape[1] - row.shape[1] for row in rows]
    rows = [np.pad(row, ((0, 0), (0, width), (0, 0)), mode="edge") for row, width in zip(rows, missing, strict=True)]
    config.out.mkdir(parents=True, exist_ok=True)
    path = config.out / "envs.png"
    iio.imwrite(path, np.concatenate(rows))
    print(f"pictures of a start and its goal: {path}")


def describe(task: str, env: GoalEnv) -> str:
    """Say in a few lines what a task is.

    Args:
        task: its name.
        env: its environment.
    """
    aim = type(env).__doc__.splitlines()[0]
    objects = f"; object {', '.join(env.object_names)}" if env.object_names else ""
    lines = (
        f"success: {env.success_rule}; {env.usual_steps} steps at {env.control_hz} Hz are enough for an expert",
        f"state {', '.join(env.state_names)}{objects}; {len(env.action_names)} numbers of an action",
        f"varies: {', '.join(env.factors)}; cameras: {', '.join(env.known_cameras)}",
    )
    return "\n  ".join((f"{task}: {aim[0].lower()}{aim[1:]}", *lines))


def draw_task(task: str, env: GoalEnv, seed: int) -> list[Tile]:
    """Return pictures of a start, the sub-goals if there are any, and the goal.

    Args:
        task: name of the task.
        env: its environment.
        seed: decides start and goal.
    """
    obs, info = env.reset(seed=seed)
    parts = info["goal"].get("subgoals", [])[:-1]  # the last is the goal
    subgoals = [Tile(f"{task}: {part['name']}", part["image"]) for part in parts]
    return [Tile(f"{task}: start", obs["image"]), *subgoals, Tile(f"{task}: goal", info["goal"]["image"])]
