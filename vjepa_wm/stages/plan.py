"""One episode towards a goal picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import imageio.v3 as iio

from vjepa_wm.data.media.pictures import read_picture
from vjepa_wm.data.media.video import write_video
from vjepa_wm.evaluation.evaluate import play_episode
from vjepa_wm.evaluation.protocol import make_protocol
from vjepa_wm.evaluation.report import draw_episode
from vjepa_wm.models.precision import Precision
from vjepa_wm.stages.agents import PlannerOptions, make_agent, make_planned


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """Bring the robot to one goal picture and write a video of it."""

    out: Path
    """Folder for `plan.mp4`, `plan.gif` and `goal.png`."""
    env: str = "reach"
    """Which environment; `vjepa-wm envs` lists them."""
    goal_image: Path | None = None
    """Picture to reach (png or jpg, as the environment's camera sees it); none: one is rendered from an exact state."""
    checkpoint: Path | None = None
    """World model: a folder, a file of V-JEPA 2-AC weights, or their name; none: the released one of the task."""
    planner: PlannerOptions = field(default_factory=PlannerOptions)
    """How to plan."""
    steps: int = 12
    """Actions to take."""
    seed: int = 0
    """Decides start, goal and candidates."""
    precision: Precision = "auto"
    """auto takes bf16 where the processor has it."""


def run_plan(config: PlanConfig) -> None:
    """Play one episode towards a goal picture, printing every step, and write its video.

    Raises:
        FileNotFoundError: the goal picture does not exist.
    """
    env = make_planned(config.env)
    agent = make_agent("world_model", env, config)
    episode = make_protocol(env, task=config.env, num_episodes=1, steps=config.steps, seed=config.seed).episodes[0]
    goal_image = None if config.goal_image is None else read_picture(config.goal_image)
    result = play_episode(agent, env, episode, config.steps, goal_image=goal_image)
    for step, (energy, distance) in enumerate(zip(result.energies, result.distances, strict=True)):
        known = "" if goal_image is not None else f"   distance {100 * distance:5.1f} cm"
        print(f"step {step:2d}   energy {energy:.4f}{known}")
    print(f"{result.seconds_per_action:.2f} s per action; the video is {config.out / 'plan.mp4'}")
    config.out.mkdir(parents=True, exist_ok=True)
    pictures = draw_episode(result)
    write_video(config.out / "plan.mp4", pictures, env.unwrapped.control_hz)
    iio.imwrite(config.out / "plan.gif", pictures, duration=1000 // env.unwrapped.control_hz, loop=0)
    iio.imwrite(config.out / "goal.png", result.goal_image)
    env.close()
