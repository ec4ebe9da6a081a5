"""The list of tasks, in words and in pictures."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from vjepa_wm.checks import check_at_least
from vjepa_wm.envs import TASKS, Task, find_task, make
from vjepa_wm.envs.goal_env import GoalEnv
from vjepa_wm.envs.render.back_end import RendererName
from vjepa_wm.envs.variation.value_types import Values
from vjepa_wm.evaluation.drawing import Tile, draw_row
from vjepa_wm.safe_files import write_bytes

PER_ROW = 8
"""Pictures in a row."""


@dataclass(frozen=True, kw_only=True)
class EnvsConfig:
    """List the simulated tasks and draw a start, the sub-goals and the goal of each."""

    out: Path = Path("runs/envs")
    """Folder for `envs.png`."""
    tasks: tuple[str, ...] = tuple(TASKS)
    """Which tasks; one of your own: module:name."""
    image_size: int = 128
    """Height and width of the pictures [px]."""
    renderer: RendererName = "auto"
    """gl, ray (slower, needs no graphics library), or auto, the first of them that this machine has."""
    seed: int = 0
    """Decides start and goal."""

    def __post_init__(self) -> None:
        check_at_least(0, seed=self.seed)
        if not self.tasks:
            raise ValueError("tasks must name at least one task, got none")
        for task in self.tasks:
            find_task(task)


def run_envs(config: EnvsConfig) -> None:
    """Print what the tasks are and write their pictures; errors as `vjepa_wm.envs.make`."""
    tiles: list[Tile] = []
    factors: dict[str, Mapping[str, Values]] = {}
    for task in map(find_task, config.tasks):
        with closing(make(task, image_size=config.image_size, renderer=config.renderer)) as env:
            print(describe_task(task, env))
            factors[task.name] = env.factors
            tiles += draw_task(task, env, config.seed)
    rows = [draw_row(tiles[k : k + PER_ROW], config.image_size) for k in range(0, len(tiles), PER_ROW)]
    # The last row may be shorter; it ends in the background's colour.
    missing = [rows[0].shape[1] - row.shape[1] for row in rows]
    rows = [np.pad(row, ((0, 0), (0, width), (0, 0)), mode="edge") for row, width in zip(rows, missing, strict=True)]
    print(describe_values(factors))
    path = config.out / "envs.png"
    write_bytes(path, iio.imwrite("<bytes>", np.concatenate(rows), extension=".png"))
    print(f"pictures of a start and its goal: {path}")


def describe_task(task: Task, env: GoalEnv) -> str:
    """Say in a few lines what a task is.

    Args:
        task: its record.
        env: its environment.
    """
    objects = f"; object {', '.join(env.object_names)}" if env.object_names else ""
    lines = (
        f"success: {task.success_rule}; {task.usual_steps} steps at {env.control_hz} Hz are enough for an expert",
        f"state {', '.join(env.state_names)}{objects}; {len(env.action_names)} numbers of an action",
        f"policies: {', '.join(task.policy_names)}; cameras: {', '.join(env.known_cameras)}",
        f"varies: {', '.join(env.factors)}",
    )
    return "\n  ".join((f"{task.name}: {task.aim}", *lines))


def describe_values(factors: Mapping[str, Mapping[str, Values]]) -> str:
    """Name the values of all factors that vary, once for the tasks that have the same.

    Args:
        factors: of each task, by its name, the values of its factors.
    """
    tasks: dict[str, list[str]] = {}
    for task, values_of in factors.items():
        for factor, values in values_of.items():
            held_out = f"; held out: {', '.join(values.held_out)}" if values.held_out else ""
            drawn = "" if values.drawn is None else f"; drawn: {values.drawn.span()}"
            tasks.setdefault(f"--variation.{factor}: {', '.join(values.training)}{held_out}{drawn}", []).append(task)
    lines = (line if len(names) > 1 or len(factors) == 1 else f"{line} ({names[0]})" for line, names in tasks.items())
    return "\n  ".join(("values of what varies, or default, sampled, held_out, drawn:", *lines))


def draw_task(task: Task, env: GoalEnv, seed: int) -> list[Tile]:
    """Return pictures of a start, the sub-goals if there are any, and the goal.

    Args:
        task: its record.
        env: its environment.
        seed: decides start and goal.
    """
    obs, info = env.reset(seed=seed)
    parts = info["goal"]["subgoals"][:-1] if task.ordered_goals else []  # the last is the goal
    subgoals = [Tile(f"{task.name}: {part['name']}", part["image"]) for part in parts]
    return [Tile(f"{task.name}: start", obs["image"]), *subgoals, Tile(f"{task.name}: goal", info["goal"]["image"])]
