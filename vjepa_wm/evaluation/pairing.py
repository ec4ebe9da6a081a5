"""Which rows and episodes of evaluations can be compared: what was measured alike, and what all rows have played.

Another protocol, version or rule of success is refused; episodes are matched by what they are, not by their number.
"""

from __future__ import annotations

import difflib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from vjepa_wm.evaluation.comparison import ComparedRow, Comparison, Pair
from vjepa_wm.evaluation.protocol import EvaluationProtocol
from vjepa_wm.evaluation.results_folder import StoredEvaluation, read_evaluation

MEASURES = ("name", "version", "task", "steps", "goal_steps", "variation")
"""What two protocols must share to measure the same; they may list more or fewer episodes."""
EpisodeKey = tuple[int, str, int]
"""What an episode is: seed, options as text, and how many times a protocol lists it before."""


def compare(folders: Sequence[Path], policies: Sequence[str] = ()) -> Comparison:
    """Pair rows of evaluations by episode.

    A row is compared with the row of the same name in the first folder; where there is none, with the first folder's
    only row. Rows of one folder are compared with its first.

    Args:
        folders: of the evaluations, finished or not; the first is what the others are compared with.
        policies: which rows, in order; none: all.

    Raises:
        FileNotFoundError: if a folder holds no evaluation.
        ValueError: if a folder stands twice, is damaged or measured otherwise, rows are unknown, or no two rows or no
            episode can be compared.
    """
    evaluations = read_evaluations(folders, policies)
    for other in evaluations[1:]:
        _check_alike(evaluations[0], other)
    chosen = [(evaluation, policy) for evaluation in evaluations for policy in chosen_policies(evaluation, policies)]
    if len(chosen) < 2:
        raise ValueError(
            f"there must be two rows to compare, {_listed(folders)} has {_listed(policy for _, policy in chosen)}; "
            "name a second folder, or more rows"
        )
    rows, left_out = _rows(chosen)
    pairs = tuple(_pairs(rows, evaluations[0]))
    if not pairs:
        held = "; ".join(f"{one.folder} has {_listed(one.policies())}" for one in evaluations)
        raise ValueError(
            f"{folders[0]} has no row that {_listed(folders[1:])} has: {held}; name one row of each with --policies"
        )
    protocol = evaluations[0].protocol
    episodes = tuple(protocol.episodes[k] for k in rows[0].numbers)
    return Comparison(protocol=replace(protocol, episodes=episodes), rows=rows, pairs=pairs, left_out=left_out)


def read_evaluations(folders: Sequence[Path], policies: Sequence[str]) -> list[StoredEvaluation]:
    """Read evaluations of which some policies are asked for.

    Args:
        folders: of the evaluations, finished or not.
        policies: which rows; none: all.

    Raises:
        FileNotFoundError: if a folder holds no evaluation.
        ValueError: if there is no folder, one stands twice or is damaged, or nobody of a name has played anywhere.
    """
    if not folders or len({folder.resolve() for folder in folders}) < len(folders):
        raise ValueError(f"folders must be different and at least one, got {_listed(folders)}")
    evaluations = [read_evaluation(folder) for folder in folders]
    _check_known(evaluations, policies)
    return evaluations


def _check_alike(first: StoredEvaluation, other: StoredEvaluation) -> None:
    """Raise a ValueError unless two evaluations measure the same."""
    differing = [
        f"protocol {name} {getattr(first.protocol, name)!r} and {getattr(other.protocol, name)!r}"
        for name in MEASURES
        if getattr(first.protocol, name) != getattr(other.protocol, name)
    ]
    rules = [one.settings.get("success_rule") for one in (first, other)]
    if None not in rules and rules[0] != rules[1]:
        differing.append(f"solved {rules[0]!r} and {rules[1]!r}")
    if differing:
        raise ValueError(f"{first.folder} and {other.folder} did not measure the same: {'; '.join(differing)}")


def chosen_policies(evaluation: StoredEvaluation, policies: Sequence[str]) -> list[str]:
    """Return who of the policies has played, in their order; none: all who have."""
    played = evaluation.policies()
    return [policy for policy in policies if policy in played] if policies else played


def _check_known(evaluations: Sequence[StoredEvaluation], policies: Sequence[str]) -> None:
    if len(set(policies)) < len(policies):
        raise ValueError(f"policies must be different, got {_listed(policies)}")
    known = sorted({policy for evaluation in evaluations for policy in evaluation.policies()})
    for policy in policies:
        if policy not in known:
            near = difflib.get_close_matches(policy, known, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            where = _listed(evaluation.folder for evaluation in evaluations)
            raise ValueError(f"policies must be among {_listed(known)}, which {where} hold, got {policy!r}{hint}")


def _rows(chosen: Sequence[tuple[StoredEvaluation, str]]) -> tuple[tuple[ComparedRow, ...], str]:
    """Return rows on the episodes that all of them have, in the order of the first, and what is left out."""
    played = []
    for evaluation, policy in chosen:
        records = evaluation.records(policy)
        keys = _keys(evaluation.protocol)
        played.append({keys[k]: (k, record) for k, record in records.items()})
    common = [key for key in played[0] if all(key in other for other in played)]
    names = _names(chosen)
    counts = _counts(chosen, [len(own) for own in played])
    if not common:
        folders = dict.fromkeys(evaluation.folder for evaluation, _ in chosen)
        raise ValueError(
            f"the rows of {_listed(folders)} have no episode in common; episodes played: {counts}; choose rows with "
            "--policies"
        )
    rows = tuple(
        ComparedRow(
            name=name,
            evaluation=evaluation,
            policy=policy,
            numbers=tuple(own[key][0] for key in common),
            episodes=tuple(own[key][1] for key in common),
        )
        for name, (evaluation, policy), own in zip(names, chosen, played, strict=True)
    )
    is_whole = all(len(own) == len(common) for own in played)
    return rows, "" if is_whole else counts


def _counts(chosen: Sequence[tuple[StoredEvaluation, str]], counts: Sequence[int]) -> str:
    """Say how many episodes each row has played, those of a folder at once where they are equally many."""
    by_folder: dict[Path, dict[str, int]] = {}
    for (evaluation, policy), count in zip(chosen, counts, strict=True):
        by_folder.setdefault(evaluation.folder, {})[policy] = count
    parts = []
    for folder, rows in by_folder.items():
        alike = len(set(rows.values())) == 1
        inside = str(max(rows.values())) if alike else ", ".join(f"{row} {count}" for row, count in rows.items())
        parts.append(f"{folder}: {inside}")
    return "; ".join(parts)


def _keys(protocol: EvaluationProtocol) -> list[EpisodeKey]:
    """Return what tells each episode of a protocol from the others, in every protocol alike."""
    seen: Counter[tuple[int, str]] = Counter()
    keys = []
    for episode in protocol.episodes:
        content = (episode.seed, json.dumps(dict(episode.options), sort_keys=True))
        keys.append((*content, seen[content]))
        seen[content] += 1
    return keys


def _names(chosen: Sequence[tuple[StoredEvaluation, str]]) -> list[str]:
    """Name rows by what they differ in: the policy, the folder without what all of them lie in, or both."""
    folders = [os.path.abspath(evaluation.folder) for evaluation, _ in chosen]
    policies = [policy for _, policy in chosen]
    if len(set(folders)) == 1:
        return policies
    top = os.path.commonpath([os.path.dirname(folder) for folder in folders])
    short = [os.path.relpath(folder, top) for folder in folders]
    if len(set(policies)) == 1:
        return short
    return [f"{folder}: {policy}" for folder, policy in zip(short, policies, strict=True)]


def _pairs(rows: Sequence[ComparedRow], first: StoredEvaluation) -> list[Pair]:
    own = [row for row in rows if row.evaluation is first]
    if len(own) == len(rows):
        return [Pair(rows[0], row) for row in rows[1:]]
    alike = {row.policy: row for row in own}
    pairs = []
    for row in rows:
        other = alike.get(row.policy) or (own[0] if len(own) == 1 else None)
        if other is not None and row.evaluation is not first:
            pairs.append(Pair(other, row))
    return pairs


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"
