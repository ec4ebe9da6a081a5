"""Several evaluations in one table: of any tasks, those that differ in their seed alone taken together.

Nothing is compared here, so nothing must be alike; `pairing` is for that.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vjepa_wm.evaluation.diagnosis.failures import FAILURE_KINDS, largest_solved_distance, sort_failures
from vjepa_wm.evaluation.pairing import MEASURES, chosen_policies, read_evaluations
from vjepa_wm.evaluation.protocol import EvaluationProtocol
from vjepa_wm.evaluation.report import table_lines
from vjepa_wm.evaluation.results_folder import StoredEvaluation
from vjepa_wm.evaluation.runner import PolicyResult


@dataclass(frozen=True, kw_only=True, eq=False)
class SummaryRow:
    """What one policy did in one protocol, with every seed it was measured with."""

    protocol: EvaluationProtocol
    """What was played."""
    policy: str
    """Who played."""
    places: tuple[tuple[Path, int], ...]
    """Folder and number of each episode."""
    result: PolicyResult
    """Their records, under the name that is shown."""


def summarize(folders: Sequence[Path], policies: Sequence[str] = ()) -> list[SummaryRow]:
    """Read what evaluations have played.

    Args:
        folders: that `evaluate` wrote.
        policies: which rows; empty: all.

    Returns:
        A row for each protocol, version, policy and setting, in the order in which they come first.

    Raises:
        FileNotFoundError: if a folder holds no evaluation.
        ValueError: if a folder stands twice or is damaged, rows are unknown, nothing was played, or two folders
            measured the same with one seed, which would count its episodes twice.
    """
    groups: dict[tuple[str, str], list[StoredEvaluation]] = {}
    for evaluation in read_evaluations(folders, policies):
        settings = {name: value for name, value in evaluation.settings.items() if name != "seed"}
        measured = [getattr(evaluation.protocol, name) for name in MEASURES]
        for policy in chosen_policies(evaluation, policies):
            groups.setdefault((policy, json.dumps([measured, settings], sort_keys=True)), []).append(evaluation)
    if not groups:
        raise ValueError("nothing was played in these folders")
    names = [f"{evaluations[0].protocol.name}, {policy}" for (policy, _), evaluations in groups.items()]
    rows = []
    for name, ((policy, _), evaluations) in zip(names, groups.items(), strict=True):
        _check_seeds(evaluations)
        if names.count(name) > 1:  # the same with other settings
            name = f"{name} ({', '.join(one.folder.name for one in evaluations)})"
        rows.append(_row(name, policy, evaluations))
    return rows


def summary_lines(rows: Sequence[SummaryRow]) -> list[list[str]]:
    """Write the numbers of each row as text, the head first."""
    head, *lines = table_lines([row.result for row in rows])
    return [["protocol, policy", *head[1:]], *lines]


def failure_lines(rows: Sequence[SummaryRow]) -> list[list[str]]:
    """Write in what way the episodes of each row failed as text, the head first; a dash where records cannot tell."""
    lines = [["failures of", *FAILURE_KINDS]]
    for row in rows:
        kinds = sort_failures(row.result.episodes, largest_solved_distance(row.result.episodes))
        lines.append([row.result.policy, *(str(len(kinds[kind])) if kind in kinds else "-" for kind in FAILURE_KINDS)])
    return lines


def _check_seeds(evaluations: Sequence[StoredEvaluation]) -> None:
    seeds: dict[object, Path] = {}
    for one in evaluations:
        seed = one.settings.get("seed")
        if seed in seeds:
            raise ValueError(f"{seeds[seed]} and {one.folder} measured the same with seed {seed}; give one of them")
        seeds[seed] = one.folder


def _row(name: str, policy: str, evaluations: Sequence[StoredEvaluation]) -> SummaryRow:
    places, episodes = [], []
    for evaluation in evaluations:
        for number, episode in evaluation.records(policy).items():
            places.append((evaluation.folder, number))
            episodes.append(episode)
    return SummaryRow(
        protocol=evaluations[0].protocol,
        policy=policy,
        places=tuple(places),
        result=PolicyResult(policy=name, episodes=tuple(episodes)),
    )
