"""Goal-picture tasks in MuJoCo as gymnasium environments."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from vjepa_wm.envs.rendering import choose_render_backend

if TYPE_CHECKING:
    import gymnasium

__all__ = ["TASKS", "choose_render_backend", "make", "register"]

TASKS = ("reach", "push")


def make(
    task: str, *, image_size: int = 128, max_steps: int | None = None, render_mode: str = "rgb_array"
) -> gymnasium.Env:
    """Make the environment of a task, after choosing a library to render with.

    Args:
        task: one of `TASKS`.
        image_size: height and width of the pictures [px].
        max_steps: control steps after which an episode is truncated; None: never.
        render_mode: `rgb_array`, the only one.

    Returns:
        The environment; see `vjepa_wm.envs.reach.ReachEnv` and `vjepa_wm.envs.push.PushEnv`.

    Raises:
        ValueError: if the task is unknown or an option is out of its range.
        RuntimeError: if this machine has no library to render with.
    """
    if task not in TASKS:
        close = get_close_matches(task, TASKS, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ";"
        raise ValueError(f"unknown task {task!r}{hint} known tasks: {', '.join(TASKS)}")
    if render_mode != "rgb_array":
        raise ValueError(f"render_mode must be 'rgb_array', got {render_mode!r}")
    choose_render_backend()
    # Imported here because importing mujoco fixes the library it renders with.
    from vjepa_wm.envs.push import PushConfig, PushEnv
    from vjepa_wm.envs.reach import ReachConfig, ReachEnv

    if task == "push":
        return PushEnv(PushConfig(image_size=image_size, max_steps=max_steps))
    return ReachEnv(ReachConfig(image_size=image_size, max_steps=max_steps))


def register() -> None:
    """Register every task with gymnasium, so that for example `gymnasium.make("vjepa_wm/Reach-v0")` makes it."""
    import gymnasium

    for task in TASKS:
        name = f"vjepa_wm/{task.capitalize()}-v0"
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point="vjepa_wm.envs:make", kwargs={"task": task})
