"""What limits a task: encoder, cost, predictor, proposal, search or recovery."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from vjepa_wm.checks import check_at_least
from vjepa_wm.envs import Task, VariationConfig, find_task, make
from vjepa_wm.envs.goal_env import GoalEnv
from vjepa_wm.evaluation.diagnosis.bank_folder import BankFolder, packed
from vjepa_wm.evaluation.diagnosis.bank_numbers import measure
from vjepa_wm.evaluation.diagnosis.bank_report import report_bank
from vjepa_wm.evaluation.diagnosis.candidate_bank import BankBuilder, BankConfig
from vjepa_wm.evaluation.diagnosis.diagnosis_content import (
    LANDSCAPE_FILE,
    OPEN_LOOP_FILE,
    Diagnosis,
    diagnosis_sections,
    draw_open_loop,
    section_text,
)
from vjepa_wm.evaluation.diagnosis.failures import largest_solved_distance, sort_failures
from vjepa_wm.evaluation.diagnosis.landscape import (
    STATES_SHOWN,
    action_pairs,
    draw_landscapes,
    measure_landscape,
)
from vjepa_wm.evaluation.diagnosis.open_loop import open_loop
from vjepa_wm.evaluation.diagnosis.verdict import Evidence, give_verdict
from vjepa_wm.evaluation.evaluated_episode import EpisodeResult
from vjepa_wm.evaluation.page.diagnosis_page import write_diagnosis_page
from vjepa_wm.evaluation.protocol import make_protocol
from vjepa_wm.evaluation.results_folder import read_evaluation
from vjepa_wm.models.precision import Precision
from vjepa_wm.models.world_model import WorldModel
from vjepa_wm.safe_files import write_bytes, write_json, write_whole
from vjepa_wm.stages.planner_options import PlannerOptions
from vjepa_wm.stages.planning import StandRecipe, check_fit, fingerprint


@dataclass(frozen=True, kw_only=True)
class DiagnoseConfig:
    """Tell what limits a task: candidates with known ends from held-out states, and what each part makes of them."""

    out: Path
    """Folder for the bank, numbers, figures and a page; states played there before count, if all else is the same."""
    env: str = "reach"
    """Which task; `vjepa-wm envs` lists them. One of your own: module:name."""
    checkpoint: str | None = None
    """World model: a folder, a file of V-JEPA 2-AC weights, or their name; none: the released one of the task."""
    proposal: str | None = None
    """module:name of a proposal of your own, in place of the world model's, as `--planner.proposal` of evaluate."""
    states: int = 20
    """Held-out states."""
    candidates: int = BankConfig.candidates
    """Action sequences of each state: a third each of the proposal, the expert with noise, and chance; of those that
    there are."""
    steps: int = BankConfig.steps
    """Actions of each sequence."""
    noise: float = BankConfig.noise
    """Largest deviation of the noise on the expert's actions, as a share of the largest action of plans."""
    results: Path | None = None
    """Folder of an evaluation of the same task, whose failures are sorted and tell about search and recovery."""
    variation: VariationConfig = field(default_factory=VariationConfig)
    """What changes between states in look and physics, if not what the task's collections vary."""
    seed: int = 1
    """Decides states and candidates; 0 would begin in the episodes of the shipped protocols."""
    precision: Precision = "auto"
    """auto takes bf16 where the processor has it."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least(1, states=self.states)
        check_at_least(0, seed=self.seed)
        self.bank()

    def bank(self) -> BankConfig:
        """Return the size of the bank."""
        return BankConfig(candidates=self.candidates, steps=self.steps, noise=self.noise)


def run_diagnose(config: DiagnoseConfig) -> Diagnosis:
    """Make the bank, measure it, and print the tables and the verdict.

    Raises:
        FileNotFoundError: if results are named and there are none.
        ValueError: if the world model does not fit the task, the results are of another task or model, or the folder
            holds another diagnosis.
    """
    task, variation = find_task(config.env), config.variation.asked()
    if not variation:
        variation = dict(task.usual_variation)
    recipe = StandRecipe(
        task=config.env, checkpoint=config.checkpoint, planner=PlannerOptions(), precision=config.precision
    )
    model = recipe.load_model()
    weights = fingerprint(model)
    settings = {
        "env": config.env,
        "seed": config.seed,
        "variation": variation,
        "weights": weights,
        "precision": str(next(model.predictor.parameters()).dtype),
        "bank": asdict(config.bank()),
    }
    if config.proposal is not None:
        settings["proposal"] = config.proposal
    evaluated = {} if config.results is None else read_results(config.results, task.name, weights)
    with (
        closing(make(task, variation=VariationConfig.of(variation)).unwrapped) as env,
        BankFolder(config.out, settings) as folder,
    ):
        check_fit(model, config.env, env)
        _play(config, task, env, model, folder)
        diagnosis = _write(config, task, env, model, folder, evaluated)
    print("\n\n".join(["", *map(section_text, diagnosis_sections(diagnosis)), ""]))
    print(f"{config.out / 'report.html'} shows it all; figures, numbers and the bank lie beside it")
    return diagnosis


def read_results(folder: Path, task: str, weights: str) -> dict[str, list[EpisodeResult]]:
    """Read the records of an evaluation, by row of its table.

    Args:
        folder: of the evaluation.
        task: name of the task that it must be of.
        weights: fingerprint of the world model that it must be of, if it has one.

    Raises:
        FileNotFoundError: if there is no evaluation.
        ValueError: if it is of another task or world model, or damaged.
    """
    evaluation = read_evaluation(folder)
    found = evaluation.protocol.task, evaluation.settings.get("weights", weights)
    if found != (task, weights):
        raise ValueError(
            f"results must be of task {task} and weights {weights}, got task {found[0]} and weights {found[1]}"
        )
    return {policy: list(evaluation.records(policy).values()) for policy in evaluation.policies()}


def _play(config: DiagnoseConfig, task: Task, env: GoalEnv, model: WorldModel, folder: BankFolder) -> None:
    """Play the candidates of those states that were not played before."""
    missing = [k for k in range(config.states) if not folder.has(k)]
    if not missing:
        return
    protocol = make_protocol(
        env, name="diagnosis", task=task.name, num_episodes=config.states, steps=task.usual_steps, seed=config.seed
    )
    options = PlannerOptions(proposal=config.proposal)
    proposal = options.own_proposal(len(task.limits.size))
    builder = BankBuilder(task, env, model, options.box(task.limits), config.bank(), config.seed, proposal)
    for k in tqdm(missing, unit="state", initial=config.states - len(missing), total=config.states):
        folder.save(k, builder.build(k, protocol.episodes[k]))


def _write(
    config: DiagnoseConfig,
    task: Task,
    env: GoalEnv,
    model: WorldModel,
    folder: BankFolder,
    evaluated: dict[str, list[EpisodeResult]],
) -> Diagnosis:
    """Measure the bank and write what was found."""
    measured = measure((folder.load(k) for k in range(config.states)), model.proposal)
    errors = open_loop(measured.imagined_errors, measured.still_errors, measured.moved)
    rows = report_bank(measured.bank)
    success = {name: float(np.mean([part.success_last for part in parts])) for name, parts in evaluated.items()}
    solved = largest_solved_distance([part for parts in evaluated.values() for part in parts])
    failures = {name: sort_failures(parts, solved) for name, parts in evaluated.items()}
    evidence = Evidence(rows=rows, numbers=measured.bank, open_loop=errors, success=success, failures=failures)
    pairs, size = action_pairs(task.limits.size), task.limits.size
    banks = [folder.load(k) for k in range(min(config.states, STATES_SHOWN))]
    landscapes = [[measure_landscape(model, bank, pair, size) for pair in pairs] for bank in banks]
    shares = [landscape.better_than_expert for of_state in landscapes for landscape in of_state]
    diagnosis = Diagnosis(
        task=task.name,
        states=config.states,
        rows=rows,
        open_loop=errors,
        better_than_expert=float(np.mean(shares)) if shares else float("nan"),
        findings=give_verdict(evidence),
        success=success,
        failures=failures,
    )
    figures = {OPEN_LOOP_FILE: draw_open_loop(errors)}
    if pairs:
        figures[LANDSCAPE_FILE] = draw_landscapes(landscapes, banks, env.action_names)
    write_json(config.out / "diagnosis.json", diagnosis.to_json() | {"settings": _settings(config)})
    write_bytes(config.out / "diagnosis.npz", packed(measured.arrays()))
    for name, drawn in figures.items():
        _save(drawn, config.out / name)
    write_diagnosis_page(config.out, diagnosis, figures)
    return diagnosis


def _settings(config: DiagnoseConfig) -> dict[str, Any]:
    """Return what was asked for as json has it."""
    return json.loads(json.dumps(asdict(config), default=str))


def _save(figure: Figure, path: Path) -> None:
    """Write a figure, whole."""
    write_whole(path, lambda unfinished: figure.savefig(unfinished, format="png", dpi=120))
