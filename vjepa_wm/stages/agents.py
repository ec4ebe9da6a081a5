"""The policies that plan and evaluate play: how a planner, a model and an environment are put together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from vjepa_wm.envs import make
from vjepa_wm.evaluation.agents import (
    Agent,
    PlanningAgent,
    PlanningConfig,
    RandomAgent,
    TrueDynamicsAgent,
    ZeroAgent,
)
from vjepa_wm.models.energy import EnergyName
from vjepa_wm.models.load import load_world_model
from vjepa_wm.models.pose import POSE_DIM
from vjepa_wm.models.precision import Precision, pick_device, pick_dtype
from vjepa_wm.models.world_model import WorldModel
from vjepa_wm.planners import CEM, ActionBox, CEMConfig, vjepa2_box
from vjepa_wm.planners.cem import cpu, vjepa2

if TYPE_CHECKING:
    import gymnasium

    from vjepa_wm.envs.arm.workspace import Workspace
    from vjepa_wm.stages.evaluate import EvaluateConfig
    from vjepa_wm.stages.plan import PlanConfig

PolicyName = Literal["world_model", "random", "zero", "true_dynamics"]
WEIGHTS = Path(__file__).parents[1] / "weights"


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


def make_planned(task: str) -> gymnasium.Env:
    """Make the environment of a task whose goals can be planned for.

    Raises:
        ValueError: there is no such task, or its starts and goals are not just poses of the gripper.
    """
    env = make(task)
    own = env.unwrapped
    if own.object_names or len(own.state_names) != POSE_DIM:
        env.close()
        raise ValueError(
            f"env must be one whose goals are poses of the gripper alone, which is 'reach' so far, got {task!r}"
        )
    return env


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
    model = load_for_planning(config.checkpoint, config.env, config.precision)
    generator = torch.Generator().manual_seed(config.seed)
    parts = (model, CEM(options.cem()), options.box(), options.planning(env.unwrapped.workspace), generator)
    if name == "world_model":
        return PlanningAgent(*parts)
    simulator = make(config.env)
    simulator.reset(seed=0)
    return TrueDynamicsAgent(*parts, env=env, simulator=simulator)
