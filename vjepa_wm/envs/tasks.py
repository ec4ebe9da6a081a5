"""The list of tasks. Apart, so that naming one imports no simulator."""

from __future__ import annotations

from difflib import get_close_matches

MODULES = {
    "reach": "vjepa_wm.envs.arm.reach.env",
    "push": "vjepa_wm.envs.arm.push.env",
    "grasp": "vjepa_wm.envs.arm.brick.grasp.env",
    "pick_place": "vjepa_wm.envs.arm.brick.pick_place.env",
    "drawer": "vjepa_wm.envs.arm.drawer.env",
    "point_maze": "vjepa_wm.envs.plane.point_maze.env",
    "two_room": "vjepa_wm.envs.plane.two_room.env",
}
"""Where each task is; the first module has `ReachEnv` and `ReachConfig`, and so on."""
TASKS = tuple(MODULES)
"""Names of all tasks."""


def check_task(task: str) -> None:
    """Raise a ValueError that names the tasks unless this is one of them."""
    if task not in TASKS:
        close = get_close_matches(task, TASKS, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ";"
        raise ValueError(f"unknown task {task!r}{hint} known tasks: {', '.join(TASKS)}")


def class_prefix(task: str) -> str:
    """Return what the names of a task's classes begin with, for example `PickPlace` for `pick_place`."""
    return "".join(word.capitalize() for word in task.split("_"))
