"""Recording of a policy in a simulated task."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vjepa_wm.checks import check_at_least
from vjepa_wm.data.collection.collection_file import claim_collection
from vjepa_wm.data.collection.record import CollectReport, collect
from vjepa_wm.data.trajectories.writer import TrajectoryWriter
from vjepa_wm.envs import VariationConfig, choose_renderer, find_task, make
from vjepa_wm.envs.goal_env import GoalEnv
from vjepa_wm.envs.policy import Policy, PolicyName
from vjepa_wm.envs.render.back_end import RendererName
from vjepa_wm.stages.preview import write_preview


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """Record a policy in a simulated task as a LeRobot v3 dataset (parquet + mp4); a stopped collection goes on."""

    out: Path
    """Dataset folder; episodes found there count. With --preview the folder of the preview."""
    env: str = "reach"
    """Which task; `vjepa-wm envs` lists them. One of your own: module:name."""
    policy: PolicyName = "play"
    """play explores, touching what there is, random draws every action, expert solves the task, noisy_expert nearly."""
    episodes: int = 600
    """Episodes the dataset shall have in the end."""
    steps: int = 40
    """Actions per episode."""
    image_size: int = 128
    """Height and width of the pictures [px]."""
    cameras: tuple[str, ...] = ()
    """Cameras that look on, the main one first; none: the task's main camera alone."""
    renderer: RendererName = "auto"
    """gl, ray (slower, needs no graphics library), or auto, the first of them that this machine has."""
    variation: VariationConfig = field(default_factory=VariationConfig)
    """What changes between episodes in look and physics; of tasks in the plane the layout does unless it is set."""
    seed: int = 0
    """Episode k depends on the seed and k alone, not on who plays it."""
    workers: int | None = None
    """Processes that play; none: one per core, 0: this process plays. The files do not depend on it."""
    ray: str | None = None
    """Address of a Ray cluster whose machines play, or local, to start one of this machine; needs `vjepa_wm[ray]`."""
    preview: bool = False
    """Instead of a dataset, write a video and a contact sheet of a few episodes of each policy, side by side."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least(1, episodes=self.episodes, steps=self.steps)
        check_at_least(0, seed=self.seed, workers=self.workers)


def run_collect(config: CollectConfig) -> None:
    """Record episodes; errors as `vjepa_wm.envs.make` and `collect` beneath it."""
    task = find_task(config.env)
    variation = config.variation.over(task.usual_variation)
    make_env = partial(
        make,
        config.env,
        image_size=config.image_size,
        cameras=config.cameras or None,
        renderer=config.renderer,
        variation=variation,
    )
    if config.preview:
        for path in write_preview(config.out, task, make_env, steps=config.steps, seed=config.seed):
            print(path)
        return
    task.check_policy(config.policy)
    env = make_env()
    own = env.unwrapped
    env.close()
    with TrajectoryWriter(
        config.out,
        fps=own.control_hz,
        image_size=config.image_size,
        cameras=own.cameras,
        state_names=own.state_names,
        action_names=own.action_names,
        object_names=own.object_names,
        robot_type=own.robot_type,
    ) as writer:
        shows = f"{task.name}, {config.policy}"
        claim_collection(writer, collection_settings(config, variation), shows)
        if variation != config.variation:
            usual = ", ".join(f"{name} {value}" for name, value in task.usual_variation.items())
            print(
                f"varied as usual for {task.name}: {usual} (--variation.{next(iter(task.usual_variation))} says else)"
            )
        begin_s = time.perf_counter()
        report = collect(
            make_env,
            partial(make_policy, config.env, config.policy),
            writer,
            num_episodes=config.episodes,
            num_steps=config.steps,
            seed=config.seed,
            task=shows,
            workers=num_cores() if config.workers is None else config.workers,
            ray=config.ray,
        )
        print(describe_collection(writer, report, time.perf_counter() - begin_s))


def collection_settings(config: CollectConfig, variation: VariationConfig) -> dict[str, Any]:
    """Return what an episode depends on besides its number and what the data set says of itself.

    Args:
        config: the collection.
        variation: what varies, with what is usual for the task.
    """
    return {
        "env": config.env,
        "policy": config.policy,
        "steps": config.steps,
        "seed": config.seed,
        "renderer": choose_renderer(config.renderer),
        "variation": asdict(variation),
    }


def make_policy(task: str, name: PolicyName, env: GoalEnv, rng: np.random.Generator) -> Policy:
    """Make a policy of a task by both their names, which is what worker processes are sent.

    Args:
        task: name of the task, as for `find_task`.
        name: which policy.
        env: environment of the task.
        rng: generator to draw from.
    """
    return find_task(task).make_policy(name, env, rng)


def num_cores() -> int:
    """Return how many cores this process may use."""
    # macOS does not say which ones a process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_collection(writer: TrajectoryWriter, report: CollectReport, seconds: float) -> str:
    """Say in a few lines what a collection did.

    Args:
        writer: recorder of the data set.
        report: what was recorded.
        seconds: time it took [s].
    """
    size = sum(path.stat().st_size for path in writer.root.rglob("*") if path.is_file())
    lines = [
        f"{writer.root}: {writer.num_episodes} episodes, {report.num_added} of them new; {writer.num_frames} frames of "
        f"camera {', '.join(writer.cameras)} at {writer.fps} Hz; {size / 1e6:.1f} MB"
    ]
    if report.num_added:
        rate = report.num_frames * len(writer.cameras) / seconds
        share = report.num_success / report.num_added
        lines.append(f"{report.num_success} of {report.num_added} new episodes ({share:.0%}) ended in success")
        lines.append(f"{report.num_frames} new frames in {seconds:.1f} s: {rate:.0f} pictures a second")
    return "\n".join(lines)
