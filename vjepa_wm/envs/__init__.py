"""Goal-picture tasks in MuJoCo as gymnasium environments.

Importing this package registers them with gymnasium, which knows no other way to find environments of other packages:
`gymnasium.make("vjepa_wm.envs:vjepa_wm/push-v0")` imports it first, then makes the task. No simulator is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vjepa_wm.envs.goal_env import GoalEnv
from vjepa_wm.envs.render.back_end import RendererName, choose_renderer
from vjepa_wm.envs.task import ActionLimits, Task
from vjepa_wm.envs.tasks import TASKS, find_task
from vjepa_wm.envs.variation.factors import VariationConfig

__all__ = ["TASKS", "ActionLimits", "Task", "VariationConfig", "choose_renderer", "find_task", "make", "register"]


def make(
    task: str | Task,
    *,
    image_size: int = 128,
    max_steps: int | None = None,
    cameras: Sequence[str] | None = None,
    renderer: RendererName = "auto",
    variation: VariationConfig | None = None,
    render_mode: str = "rgb_array",
) -> GoalEnv:
    """Make the environment of a task, after choosing what renders.

    Args:
        task: a task, or its name as for `find_task`.
        image_size: height and width of the pictures [px].
        max_steps: control steps after which an episode is truncated; None: never.
        cameras: names of the cameras that look on, the main one first; None: the task's main camera alone.
        renderer: gl, ray (slower, needs no graphics library), or auto, the first of them that this machine has.
        variation: what changes between episodes in look and physics; None: nothing.
        render_mode: `rgb_array`, the only one.

    Returns:
        The environment; for example `vjepa_wm.envs.arm.reach.env.ReachEnv`, whose docstring has its tables.

    Raises:
        ValueError: if the task is unknown, an option is out of its range, or the task lacks what is to vary.
        RuntimeError: if this machine cannot render as asked.
    """
    if render_mode != "rgb_array":
        raise ValueError(f"render_mode must be 'rgb_array', got {render_mode!r}")
    found = task if isinstance(task, Task) else find_task(task)
    options: dict[str, Any] = {"image_size": image_size, "max_steps": max_steps, "renderer": choose_renderer(renderer)}
    if cameras is not None:
        options["cameras"] = tuple(cameras)
    return found.make_env(**options, variation=variation or VariationConfig())


def register() -> None:
    """Register every task with gymnasium, so that for example `gymnasium.make("vjepa_wm/reach-v0")` makes it.

    Importing this package does it; it is needed again only after gymnasium's list was emptied. Episodes have no end of
    their own: `gymnasium.make(..., max_episode_steps=50)`, or `max_steps=50` for `make`, truncates them.
    """
    import gymnasium

    for task in TASKS:
        name = f"vjepa_wm/{task}-v0"
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point="vjepa_wm.envs:make", kwargs={"task": task})


register()
