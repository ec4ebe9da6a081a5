"""Goal reaching, measured on held-out episodes."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vjepa_wm.checks import check_at_least
from vjepa_wm.envs import VariationConfig, find_task, make
from vjepa_wm.evaluation.protocol import EvaluationProtocol, make_protocol
from vjepa_wm.evaluation.protocol_files import load_protocol, shipped_protocols
from vjepa_wm.evaluation.report import write_report
from vjepa_wm.evaluation.results_folder import ResultsFolder
from vjepa_wm.evaluation.runner import PolicyResult, evaluate
from vjepa_wm.models.precision import Precision
from vjepa_wm.stages.planner_options import PlannerOptions
from vjepa_wm.stages.planning import PLANNED, RowName, StandRecipe, check_rows, fingerprint


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Measure goal reaching on held-out episodes: a table and a page with curves and videos; a stopped one goes on."""

    out: Path
    """Folder for the results; episodes played there before count, if all that they depend on is the same."""
    env: str = "reach"
    """Which task; `vjepa-wm envs` lists them. One of your own: module:name."""
    episodes: int = 20
    """How many of the protocol's episodes are played."""
    policies: tuple[RowName, ...] = ("world_model", "random", "zero", "true_dynamics")
    """Rows of the table; true_dynamics is the same planner and energy, with the simulator as the model."""
    checkpoint: str | None = None
    """World model: a folder, a file of V-JEPA 2-AC weights, or their name; none: the released one of the task."""
    protocol: str | None = None
    """Name of a shipped protocol, or a file; none: the task's own; for a task without one it is made from the seed."""
    planner: PlannerOptions = field(default_factory=PlannerOptions)
    """How to plan."""
    steps: int | None = None
    """Actions per episode, if not the protocol's."""
    variation: VariationConfig = field(default_factory=VariationConfig)
    """What changes between episodes in look and physics, if not what the protocol says."""
    seed: int = 0
    """Decides candidates and random actions."""
    precision: Precision = "auto"
    """auto takes bf16 where the processor has it."""
    workers: int = 0
    """Processes that play, one thread each; 0: this process plays. The results do not depend on it."""
    ray: str | None = None
    """Address of a Ray cluster whose machines play, or local, to start one of this machine; needs `vjepa_wm[ray]`."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least(1, episodes=self.episodes, steps=self.steps)
        check_at_least(0, workers=self.workers, seed=self.seed)


def choose_protocol(config: EvaluateConfig) -> EvaluationProtocol:
    """Read the protocol that is asked for, or make one for a task that ships none.

    Raises:
        FileNotFoundError: if there is no such protocol.
        ValueError: if it is damaged, of another task, or has too few episodes.
    """
    task = find_task(config.env)
    if config.protocol is None and config.env not in shipped_protocols():
        usual = dict(task.usual_variation)
        with closing(make(task, variation=VariationConfig.of(usual))) as env:
            made = make_protocol(
                env.unwrapped,
                name=f"{task.name}, seed {config.seed}",
                task=task.name,
                num_episodes=config.episodes,
                steps=config.steps or task.usual_steps,
                seed=config.seed,
                variation=usual,
            )
        return made.with_variation(config.variation.asked() or made.variation)
    protocol = load_protocol(config.protocol or config.env).first(config.episodes)
    if protocol.task != task.name:
        raise ValueError(f"protocol {protocol.name} is of task {protocol.task!r}, not of {task.name!r}")
    protocol = protocol.with_variation(config.variation.asked() or protocol.variation)
    return protocol.with_steps(config.steps or protocol.steps)


def run_evaluate(config: EvaluateConfig) -> list[PolicyResult]:
    """Play the held-out episodes with every policy, print the table and write the report."""
    task = find_task(config.env)
    check_rows(task, config.policies)
    protocol = choose_protocol(config)
    recipe = StandRecipe(
        task=config.env,
        checkpoint=config.checkpoint,
        planner=config.planner,
        precision=config.precision,
        variation=VariationConfig.of(protocol.variation),
    )
    settings: dict[str, Any] = {"env": config.env, "seed": config.seed, "success_rule": task.success_rule}
    if set(config.policies) & set(PLANNED):
        recipe.make_stand("world_model").close()  # what does not fit is told before anything is played
        model = recipe.load_model()
        dtype = str(next(model.predictor.parameters()).dtype)
        settings |= {"weights": fingerprint(model), "precision": dtype, "planner": dataclasses.asdict(config.planner)}
    with ResultsFolder(config.out, protocol, settings) as folder:
        results = evaluate(
            recipe.make_stand,
            protocol,
            config.policies,
            folder,
            seed=config.seed,
            workers=config.workers,
            ray=config.ray,
        )
        print(f"\n{write_report(config.out, protocol, results, settings)}\n")
    print(
        f"success: {task.success_rule}, after the last of {protocol.steps} steps; protocol {protocol.name}, "
        f"version {protocol.version}"
    )
    print(f"{config.out / 'report.html'} shows it all; videos, figure, records and results.json lie beside it")
    return results
