"""How a planner, a model and an environment are put together into what `plan` and `evaluate` play."""

from __future__ import annotations

import zlib
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Literal, cast

import torch

from vjepa_wm.agents.agent import Agent, ScriptedAgent, StandStill
from vjepa_wm.agents.ordered_goals import OrderedGoals
from vjepa_wm.agents.planning_agent import PlanningAgent
from vjepa_wm.agents.proposal_agent import ProposalAgent
from vjepa_wm.agents.recovery import Recovery
from vjepa_wm.agents.true_dynamics_agent import TrueDynamicsAgent
from vjepa_wm.envs import TASKS, Task, VariationConfig, find_task, make
from vjepa_wm.envs.goal_env import GoalEnv
from vjepa_wm.envs.policy import PolicyName
from vjepa_wm.evaluation.runner import Stand
from vjepa_wm.models.checkpoint import read_json
from vjepa_wm.models.load import load_world_model
from vjepa_wm.models.precision import Precision, pick_device, pick_dtype
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig
from vjepa_wm.stages.planner_options import PlannerOptions

RowName = Literal[
    "world_model",
    "search",
    "proposal",
    "proposal_recovery",
    "proposal_search",
    "true_dynamics",
    "expert",
    "random",
    "zero",
]
"""Rows of a table. `world_model` is what works best: `proposal_recovery` where there is a proposal, else `search`."""
PLANNED = ("world_model", "search", "proposal", "proposal_recovery", "proposal_search", "true_dynamics")
WEIGHTS = Path(__file__).parents[1] / "weights"


@dataclass(frozen=True, kw_only=True)
class StandRecipe:
    """All that agents and environments are made from; goes to the processes that play."""

    task: str
    """Name of the task, as for `vjepa_wm.envs.find_task`."""
    checkpoint: str | None
    """Where the world model is; None: the released one of the task. A path becomes absolute, for processes that begin
    elsewhere."""
    planner: PlannerOptions
    """How to plan."""
    precision: Precision
    """Number format of the predictor."""
    variation: VariationConfig = field(default_factory=VariationConfig)
    """What changes between episodes in look and physics."""

    def __post_init__(self) -> None:
        """Make a path absolute."""
        if self.checkpoint is not None and Path(self.checkpoint).exists():
            object.__setattr__(self, "checkpoint", str(Path(self.checkpoint).absolute()))

    def make_stand(self, policy: str) -> Stand:
        """Make agent and environment of a row of the table.

        Args:
            policy: name of the row, a `RowName`.

        Raises:
            ValueError: if the task has no such policy, or the world model does not fit it.
            CheckpointError: if there is no world model that can be read.
        """
        task = find_task(self.task)
        env = make(task, variation=self.variation).unwrapped
        if policy == "zero":
            return Stand(ScriptedAgent(partial(_stand_still, env)), env)
        if policy not in PLANNED:
            task.check_policy(policy)
            return Stand(ScriptedAgent(partial(task.make_policy, cast(PolicyName, policy), env)), env)
        model, options, limits = self.load_model(), self.planner, task.limits
        check_fit(model, self.task, env)
        own_proposal = options.own_proposal(len(limits.size))
        has_proposal = model.proposal is not None or own_proposal is not None
        if policy == "world_model":
            policy = "proposal_recovery" if has_proposal else "search"
        if policy in ("proposal", "proposal_recovery"):
            recovery = Recovery(limits) if policy == "proposal_recovery" else None
            agent = ProposalAgent(model, options.box(limits), options.proposing(limits), recovery, own_proposal)
            return Stand(self._in_order(agent, model), env)
        proposed = policy == "proposal_search" or (policy != "search" and has_proposal)
        parts = (
            model,
            options.make_planner(len(limits.size), proposed=proposed),
            options.box(limits),
            options.planning(limits, proposed=proposed, reads=model.proposal is not None),
            Recovery(limits) if proposed else None,
            options.own_cost(),
            own_proposal,
        )
        if policy != "true_dynamics":
            return Stand(self._in_order(PlanningAgent(*parts), model), env)
        simulator = make(task, variation=self.variation).unwrapped
        simulator.reset(seed=0)
        foreseeing = TrueDynamicsAgent(*parts, env=env, simulator=simulator)
        return Stand(self._in_order(foreseeing, model), env, simulator)

    def _in_order(self, agent: PlanningAgent | ProposalAgent, model: WorldModel) -> Agent:
        """Return the agent, or what shows it ordered pictures as it arrives at each."""
        return agent if self.planner.switch == "clock" else OrderedGoals(agent, model)

    def load_model(self) -> WorldModel:
        """Load the world model, its predictor in the number format it plans in."""
        return _load_model(self.checkpoint or released(self.task), self.precision)


def check_rows(task: Task, rows: tuple[RowName, ...]) -> None:
    """Raise a ValueError unless a task has the policies of these rows of a table."""
    if not rows or len(set(rows)) < len(rows):
        raise ValueError(f"policies must be different and at least one, got {rows}")
    for row in rows:
        if row not in (*PLANNED, "zero"):
            task.check_policy(row)


def released(task: str) -> str:
    """Return where the released world model of a task is.

    Raises:
        ValueError: if there is none.
    """
    for_tasks = {name: path.parent for path in WEIGHTS.glob("*/released.json") for name in read_json(path)["tasks"]}
    if task not in for_tasks:
        known = ", ".join(name for name in TASKS if name in for_tasks)
        raise ValueError(
            f"there is no released world model for {task!r}, only for {known}; name one with --checkpoint, or leave "
            "the rows out that need one (--policies expert random zero)"
        )
    return str(for_tasks[task])


def check_fit(model: WorldModel, task: str, env: GoalEnv) -> None:
    """Raise a ValueError that says what would fit unless a world model has the actions, states and pictures of a task.

    Args:
        model: the world model.
        task: name of the task, as for `vjepa_wm.envs.find_task`.
        env: its environment.
    """
    wrong = _misfits(model.config, env)
    if not wrong:
        return
    fitting = []
    for name in TASKS:
        with closing(make(name)) as other:
            fitting += [] if _misfits(model.config, other.unwrapped) else [name]
    fits = f"it fits tasks like {', '.join(fitting)}" if fitting else "it fits none of ours"
    raise ValueError(
        f"the world model does not fit task {task}: it {' and '.join(wrong)}; {fits}; train one for "
        f"{task} with: vjepa-wm train-ac on what vjepa-wm collect --env {task} records"
    )


def fingerprint(model: WorldModel) -> str:
    """Return a number that tells the weights of a world model from others, as text."""
    total = 0
    for name, value in sorted(model.state_dict().items()):
        total = zlib.crc32(name.encode(), total)
        total = zlib.crc32(value.detach().cpu().reshape(-1).view(torch.uint8).numpy(), total)
    return f"{total:08x}"


def _misfits(config: WorldModelConfig, env: GoalEnv) -> list[str]:
    """Say in what a world model does not have the actions, states and pictures of an environment."""
    encoder, predictor, wrong = config.encoder, config.predictor, []
    if predictor.action_dim != len(env.action_names):
        wrong.append(f"acts with {predictor.action_dim} numbers, the task with {_listed(env.action_names)}")
    if predictor.use_state and predictor.state_dim != len(env.state_names):
        wrong.append(f"reads states of {predictor.state_dim} numbers, the task has {_listed(env.state_names)}")
    if encoder.in_channels not in (1, 3):
        wrong.append(f"sees pictures of {encoder.in_channels} channels, the task shows red, green and blue")
    return wrong


def _listed(names: tuple[str, ...]) -> str:
    return f"{len(names)} ({', '.join(names)})"


def _stand_still(env: GoalEnv, rng: object) -> StandStill:
    return StandStill(len(env.action_names))


@cache
def _load_model(source: str, precision: Precision) -> WorldModel:
    """Load a world model once per process."""
    device = pick_device()
    model = load_world_model(source).to(device)
    model.predictor.to(pick_dtype(precision, device))
    return model
