"""The stages that need a simulator: collect, plan and evaluate.

This is where environments, planners and models meet: each is made here and passed on, and none knows the others.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import gymnasium
import imageio.v3 as iio
import numpy as np
import torch

from vjepa_wm.data.collect import collect
from vjepa_wm.data.pictures import read_picture
from vjepa_wm.data.trajectory_writer import TrajectoryWriter
from vjepa_wm.data.video import write_video
from vjepa_wm.envs import make
from vjepa_wm.envs.arm.workspace import Workspace
from vjepa_wm.envs.policies import PolicyName as CollectPolicyName
from vjepa_wm.envs.policies import policy_maker
from vjepa_wm.evaluation.agents import (
    Agent,
    PlanningAgent,
    PlanningConfig,
    RandomAgent,
    TrueDynamicsAgent,
    ZeroAgent,
)
from vjepa_wm.evaluation.evaluate import PolicyResult, evaluate, play_episode
from vjepa_wm.evaluation.protocol import Protocol, load_protocol, make_protocol, save_protocol
from vjepa_wm.evaluation.report import draw_episode, write_report
from vjepa_wm.models.energy import EnergyName
from vjepa_wm.models.load import load_world_model
from vjepa_wm.models.precision import Precision, pick_device, pick_dtype
from vjepa_wm.models.world_model import WorldModel
from vjepa_wm.planners import CEM, ActionBox, CEMConfig, vjepa2_box
from vjepa_wm.planners.cem import cpu, vjepa2

PolicyName = Literal["world_model", "random", "zero", "true_dynamics"]
WEIGHTS = Path(__file__).with_name("weights")


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """Record a policy in a simulated task as a LeRobot v3 dataset (parquet + mp4); a stopped collection goes on."""

    out: Path
    """Dataset folder; episodes found there count."""
    task: str = "reach"
    """Which environment."""
    policy: CollectPolicyName = "play"
    """play explores, touching what there is, random draws every action, expert solves the task, noisy_expert nearly."""
    episodes: int = 600
    """Episodes the dataset shall have in the end."""
    steps: int = 40
    """Actions per episode."""
    image_size: int = 128
    """Height and width of the pictures [px]."""
    seed: int = 0
    """Episode k depends on the seed and k alone."""


@dataclass(frozen=True, kw_only=True)
class PlannerOptions:
    """How to plan: a preset, and what to change of it."""

    preset: Literal["cpu", "vjepa2"] = "cpu"
    """cpu: small CEM, L2 energy, gripper fixed. vjepa2: 800 samples, 10 iterations, L1 energy, gripper planned."""
    num_samples: int | None = None
    """Candidates per iteration, if not the preset's."""
    iterations: int | None = None
    """Rounds of sampling, if not the preset's."""
    horizon: int = 1
    """Actions per plan; the first is executed, then a new plan is made."""
    energy: EnergyName | None = None
    """Distance of latents, l1 or l2, if not the preset's."""
    max_displacement: float = 0.075
    """Largest displacement along x, y and z per action [m]; the training data must hold such actions."""

    def cem(self) -> CEMConfig:
        """Return the planner's settings."""
        config = cpu() if self.preset == "cpu" else vjepa2()
        changes = {"num_samples": self.num_samples, "iterations": self.iterations}
        return dataclasses.replace(config, **{name: value for name, value in changes.items() if value is not None})

    def box(self) -> ActionBox:
        """Return the actions that are searched."""
        return vjepa2_box(self.max_displacement, 0.0 if self.preset == "cpu" else 0.75)

    def planning(self, workspace: Workspace) -> PlanningConfig:
        """Return what the cost is made of, and how far plans may go."""
        limits = (tuple(workspace.low[:3].tolist()), tuple(workspace.high[:3].tolist()))
        energy, cost_steps = ("l2", "sum") if self.preset == "cpu" else ("l1", "last")
        energy = self.energy or energy
        return PlanningConfig(horizon=self.horizon, energy=energy, cost_steps=cost_steps, workspace=limits)


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """Bring the robot to one goal picture and write a video of it."""

    out: Path
    """Folder for `plan.mp4`, `plan.gif` and `goal.png`."""
    task: str = "reach"
    """Which environment."""
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


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Measure goal reaching on held-out episodes: table, results.json, videos and a figure."""

    out: Path
    """Folder for the results."""
    task: str = "reach"
    """Which environment."""
    episodes: int = 20
    """Starts and goals, drawn from seeds that no collection uses."""
    policies: tuple[PolicyName, ...] = ("world_model", "random", "zero", "true_dynamics")
    """Rows of the table; true_dynamics is the same planner and energy, with the simulator as the model."""
    checkpoint: Path | None = None
    """World model: a folder, a file of V-JEPA 2-AC weights, or their name; none: the released one of the task."""
    protocol: Path | None = None
    """Saved list of starts and goals; none: made from the seed and saved as `protocol.json` in `out`."""
    planner: PlannerOptions = field(default_factory=PlannerOptions)
    """How to plan."""
    steps: int = 12
    """Actions per episode."""
    seed: int = 0
    """Decides starts, goals and candidates."""
    precision: Precision = "auto"
    """auto takes bf16 where the processor has it."""

    def __post_init__(self) -> None:
        if not self.policies or len(set(self.policies)) < len(self.policies):
            raise ValueError(f"policies must be different and at least one, got {self.policies}")


def make_planned(task: str) -> gymnasium.Env:
    """Make the environment of a task whose goals can be planned for.

    Raises:
        ValueError: there is no such task, or its starts and goals are more than poses of the gripper.
    """
    env = make(task)
    if env.unwrapped.object_names:
        env.close()
        raise ValueError(f"task must be one without objects to plan in it, which is 'reach' so far, got {task!r}")
    return env


def run_collect(config: CollectConfig) -> None:
    """Record episodes; errors as `vjepa_wm.envs.make` and `vjepa_wm.data.collect.collect`."""
    env = make(config.task, image_size=config.image_size)
    with TrajectoryWriter(
        config.out,
        fps=env.unwrapped.control_hz,
        image_size=config.image_size,
        object_names=env.unwrapped.object_names,
    ) as writer:
        report = collect(
            env,
            policy_maker(config.task, config.policy),
            writer,
            num_episodes=config.episodes,
            num_steps=config.steps,
            seed=config.seed,
            task=f"{config.task}, {config.policy}",
        )
    env.close()
    print(f"{config.out}: {report.num_added} episodes ({report.num_frames} frames) added to {report.num_found}")


def load_for_planning(checkpoint: Path | None, task: str, precision: Precision) -> WorldModel:
    """Load a world model, its predictor in the number format it plans in.

    Raises:
        CheckpointError: the folder holds no world model that can be read.
    """
    device = pick_device()
    model = load_world_model(checkpoint or WEIGHTS / task).to(device)
    model.predictor.to(pick_dtype(precision, device))
    return model


def make_agent(name: PolicyName, env: gymnasium.Env, config: EvaluateConfig | PlanConfig) -> Agent:
    """Build one of the policies that are compared."""
    options = config.planner
    if name == "zero":
        return ZeroAgent()
    if name == "random":
        high = np.concatenate([np.full(3, options.max_displacement), np.zeros(4)]).astype(np.float32)
        return RandomAgent(-high, high, np.random.default_rng(config.seed))
    model = load_for_planning(config.checkpoint, config.task, config.precision)
    generator = torch.Generator().manual_seed(config.seed)
    parts = (model, CEM(options.cem()), options.box(), options.planning(env.unwrapped.workspace), generator)
    if name == "world_model":
        return PlanningAgent(*parts)
    simulator = make(config.task)
    simulator.reset(seed=0)
    return TrueDynamicsAgent(*parts, env=env, simulator=simulator)


def held_out_protocol(env: gymnasium.Env, config: EvaluateConfig) -> Protocol:
    """Read the asked list of starts and goals, or make one and save it.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: the list is damaged or of another task.
    """
    if config.protocol is None:
        protocol = make_protocol(
            env, task=config.task, num_episodes=config.episodes, steps=config.steps, seed=config.seed
        )
        save_protocol(protocol, config.out / "protocol.json")
        return protocol
    protocol = load_protocol(config.protocol)
    if protocol.task != config.task:
        raise ValueError(f"{config.protocol} is a protocol of task {protocol.task!r}, not of {config.task!r}")
    return protocol


def run_evaluate(config: EvaluateConfig) -> list[PolicyResult]:
    """Play the held-out episodes with every policy, print the table and write the report."""
    env = make_planned(config.task)
    agents = {name: make_agent(name, env, config) for name in config.policies}
    config.out.mkdir(parents=True, exist_ok=True)
    protocol = held_out_protocol(env, config)
    results = [evaluate(agent, env, protocol, policy=name) for name, agent in agents.items()]
    print(f"\n{write_report(config.out, protocol, results)}\n")
    print(f"success: within {100 * protocol.success_radius:g} cm of the goal after the last of {protocol.steps} steps")
    print(f"videos, figure and results.json are in {config.out}")
    env.close()
    return results


def run_plan(config: PlanConfig) -> None:
    """Play one episode towards a goal picture, printing every step, and write its video.

    Raises:
        FileNotFoundError: the goal picture does not exist.
    """
    env = make_planned(config.task)
    agent = make_agent("world_model", env, config)
    episode = make_protocol(env, task=config.task, num_episodes=1, steps=config.steps, seed=config.seed).episodes[0]
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
