"""Goal reaching, measured on held-out episodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import gymnasium

from vjepa_wm.evaluation.evaluate import PolicyResult, evaluate
from vjepa_wm.evaluation.protocol import Protocol, load_protocol, make_protocol, save_protocol
from vjepa_wm.evaluation.report import write_report
from vjepa_wm.models.precision import Precision
from vjepa_wm.stages.agents import PlannerOptions, PolicyName, make_agent, make_planned


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Measure goal reaching on held-out episodes: table, results.json, videos and a figure."""

    out: Path
    """Folder for the results."""
    env: str = "reach"
    """Which environment; `vjepa-wm envs` lists them."""
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


def held_out_protocol(env: gymnasium.Env, config: EvaluateConfig) -> Protocol:
    """Read the asked list of starts and goals, or make one and save it.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: the list is damaged or of another task.
    """
    if config.protocol is None:
        protocol = make_protocol(
            env, task=config.env, num_episodes=config.episodes, steps=config.steps, seed=config.seed
        )
        save_protocol(protocol, config.out / "protocol.json")
        return protocol
    protocol = load_protocol(config.protocol)
    if protocol.task != config.env:
        raise ValueError(f"{config.protocol} is a protocol of task {protocol.task!r}, not of {config.env!r}")
    return protocol


def run_evaluate(config: EvaluateConfig) -> list[PolicyResult]:
    """Play the held-out episodes with every policy, print the table and write the report."""
    env = make_planned(config.env)
    agents = {name: make_agent(name, env, config) for name in config.policies}
    config.out.mkdir(parents=True, exist_ok=True)
    protocol = held_out_protocol(env, config)
    results = [evaluate(agent, env, protocol, policy=name) for name, agent in agents.items()]
    print(f"\n{write_report(config.out, protocol, results)}\n")
    print(f"success: within {100 * protocol.success_radius:g} cm of the goal after the last of {protocol.steps} steps")
    print(f"videos, figure and results.json are in {config.out}")
    env.close()
    return results
