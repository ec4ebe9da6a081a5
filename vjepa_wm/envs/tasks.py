"""The list of tasks, a line each, and how a task is found by its name. Naming one imports no simulator."""

from __future__ import annotations

from vjepa_wm.checks import did_you_mean
from vjepa_wm.envs.task import Task
from vjepa_wm.own_code import load_own

TASKS = {
    "reach": "vjepa_wm.envs.arm.reach",
    "push": "vjepa_wm.envs.arm.push",
    "grasp": "vjepa_wm.envs.arm.brick.grasp",
    "pick_place": "vjepa_wm.envs.arm.brick.pick_place",
    "drawer": "vjepa_wm.envs.arm.drawer",
    "lever": "vjepa_wm.envs.arm.lever",
    "point_maze": "vjepa_wm.envs.plane.point_maze",
    "two_room": "vjepa_wm.envs.plane.two_room",
}
"""The folder of each task, by its name; the folder has `TASK`."""


def find_task(name: str) -> Task:
    """Return the task of a name.

    Args:
        name: one of `TASKS`, or `module:name` for a `Task` of somebody's own, in a module that can be imported, here or
            from the working directory.

    Returns:
        The task.

    Raises:
        ValueError: if there is no such task or module, or what the module has under this name is no task.
    """
    if ":" in name:
        return _load_task(name)
    if name not in TASKS:
        raise ValueError(
            f"unknown task {name!r}{did_you_mean(name, TASKS)} known tasks: {', '.join(TASKS)}; "
            "one of your own is named as module:name"
        )
    return _load_task(f"{TASKS[name]}:TASK")


def _load_task(name: str) -> Task:
    task = load_own(name, "task", "my_tasks:LEVER")
    if not isinstance(task, Task):
        raise ValueError(f"task {name} must be a vjepa_wm.envs.Task, got {type(task).__name__}")
    return task
