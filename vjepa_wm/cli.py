"""The command line: `vjepa-wm <stage>`, each stage's options being the fields of its configuration.

The stages, in the order in which they feed each other: collect, pretrain, train-ac, plan, evaluate. This file also
holds the configurations of the stages that need a simulator, because it is the place where environments, planners and
models meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vjepa_wm.data.collect import collect
from vjepa_wm.data.trajectory_writer import TrajectoryWriter
from vjepa_wm.envs import make


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """Record a policy in a simulated task as a LeRobot v3 dataset (parquet + mp4); a stopped collection goes on."""

    out: Path
    """Dataset folder; episodes found there count."""
    task: str = "reach"
    """Which environment."""
    policy: Literal["play", "random", "expert"] = "play"
    """play wanders through the workspace, random draws every action, expert solves the task."""
    episodes: int = 400
    """Episodes the dataset shall have in the end."""
    steps: int = 40
    """Actions per episode."""
    image_size: int = 128
    """Height and width of the pictures [px]."""
    seed: int = 0
    """Episode k depends on the seed and k alone."""


def run_collect(config: CollectConfig) -> None:
    """Record episodes; errors as `vjepa_wm.envs.make` and `vjepa_wm.data.collect.collect`."""
    env = make(config.task, image_size=config.image_size)
    # Imported late, because they import mujoco, which make() prepares.
    from vjepa_wm.envs.policies import PlayPolicy, RandomPolicy, ReachExpert

    def make_policy(rng: np.random.Generator) -> PlayPolicy | RandomPolicy | ReachExpert:
        if config.policy == "expert":
            return ReachExpert()
        return PlayPolicy(rng) if config.policy == "play" else RandomPolicy(rng)

    with TrajectoryWriter(config.out, fps=env.control_hz, image_size=config.image_size) as writer:
        report = collect(
            env,
            make_policy,
            writer,
            num_episodes=config.episodes,
            num_steps=config.steps,
            seed=config.seed,
            task=f"{config.task}: {config.policy}",
        )
    env.close()
    print(f"{report.num_added} episodes ({report.num_frames} frames) added to the {report.num_found} in {config.out}")


def main() -> None:
    """Run the stage that the command line names."""
    import tyro

    tyro.extras.subcommand_cli_from_dict({"collect": run_collect})
