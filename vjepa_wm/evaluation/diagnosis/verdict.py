"""Which part of the chain limits a task, part by part, from the numbers of a diagnosis and of an evaluation.

A verdict is a rule of thumb: each says the number it rests on and the threshold it was held against.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from vjepa_wm.evaluation.diagnosis.bank_report import BankNumbers, EnergyRow, Ranking
from vjepa_wm.evaluation.diagnosis.failures import FailureKind
from vjepa_wm.evaluation.diagnosis.open_loop import OpenLoopRow

PartName = Literal["encoder", "cost", "predictor", "proposal", "search", "recovery"]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """From which number on a part is said to limit a task."""

    ranks_well: float = 0.5
    """The encoder limits if no energy of what really happened has a rank correlation of this."""
    finds: float = 0.5
    """The cost limits if, of the states with a candidate that reaches the goal, it picks one in a smaller share."""
    loses: float = 0.2
    """The predictor limits if the rank correlation falls by more than this from what happened to what is imagined."""
    standing_still: float = 1.0
    """The predictor limits if its error is at least this share of that of standing still."""
    lacks: float = 0.3
    """The proposal limits if, of the states in which the expert has a candidate that reaches the goal, it has none in a
    larger share."""
    stuck: float = 0.3
    """Recovery limits if a larger share of the failures stands still."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a verdict is made from."""

    rows: Sequence[EnergyRow]
    """Of the bank."""
    numbers: BankNumbers
    """The bank itself."""
    open_loop: Sequence[OpenLoopRow]
    """Errors of imagination."""
    success: Mapping[str, float] = field(default_factory=dict)
    """Success at the end by row of an evaluation; empty: there is none."""
    failures: Mapping[str, Mapping[FailureKind, Sequence[int]]] = field(default_factory=dict)
    """Failures of the same rows, sorted."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is said of one part."""

    part: PartName
    """Which."""
    limits: bool | None
    """Whether it limits the task; None: nothing tells."""
    words: str
    """Why, with the numbers."""


def best_energy(rows: Sequence[EnergyRow]) -> EnergyRow:
    """Return the energy that ranks what really happened best, over all candidates.

    Where nothing could be ranked, since no candidate differs from another, it is the first.
    """
    encoded = [row for row in rows if (row.source, row.future) == ("all", "encoded")]
    return max(encoded, key=lambda row: -math.inf if math.isnan(row.ranking.rank_correlation) else _rho(row))


def give_verdict(evidence: Evidence, thresholds: Thresholds | None = None) -> list[Finding]:
    """Say of each part whether it limits the task, in the order in which they are to be mended.

    Args:
        evidence: the numbers.
        thresholds: from which number on; None: the usual ones.
    """
    thresholds = thresholds or Thresholds()
    parts = (_encoder, _cost, _predictor, _proposal, _search, _recovery)
    return [part(evidence, thresholds) for part in parts]


def summary(task: str, findings: Sequence[Finding]) -> str:
    """Return the verdict in one line."""
    limiting = [finding.part for finding in findings if finding.limits]
    unknown = [finding.part for finding in findings if finding.limits is None]
    said = f"what limits {task}: {', '.join(limiting) or 'nothing that was measured'}"
    return f"{said}; not known: {', '.join(unknown)}" if unknown else said


def _encoder(evidence: Evidence, thresholds: Thresholds) -> Finding:
    best = best_energy(evidence.rows)
    if not best.ranking.ranked_states:
        words = "no candidate ends at another distance than the others, so nothing can be ranked; more steps may help"
        return Finding(part="encoder", limits=None, words=words)
    words = (
        f"of what candidates really lead to, the best energy ({_name(best)}) ranks their ends with a correlation of "
        f"{_rho(best):.2f} (1 is right, 0 is chance; {thresholds.ranks_well} is enough)"
    )
    return Finding(part="encoder", limits=_rho(best) < thresholds.ranks_well, words=words)


def _cost(evidence: Evidence, thresholds: Thresholds) -> Finding:
    best = best_energy(evidence.rows)
    ranking = best.ranking
    if not ranking.reachable:
        return Finding(
            part="cost", limits=None, words="no candidate of any source reaches the goal; more steps may help"
        )
    share = ranking.picked / ranking.reachable
    words = (
        f"in {ranking.reachable:.0%} of the states a candidate reaches the goal; the same energy picks one in "
        f"{share:.0%} of these (at least {thresholds.finds:.0%} wanted)"
    )
    return Finding(part="cost", limits=share < thresholds.finds, words=words)


def _predictor(evidence: Evidence, thresholds: Thresholds) -> Finding:
    best = best_energy(evidence.rows)
    imagined = _same(evidence.rows, best, "predicted")
    motion = "object moved" if any(row.motion == "object moved" for row in evidence.open_loop) else "all"
    last = [row for row in evidence.open_loop if row.motion == motion][-1]
    where = ", where an object moved," if motion == "object moved" else ""
    words = (
        f"after {last.step} steps{where} its error is {last.ratio:.2f} of standing still's (below "
        f"{thresholds.standing_still:g} wanted)"
    )
    limits = last.ratio >= thresholds.standing_still
    if best.ranking.ranked_states and imagined.ranked_states:
        lost = _rho(best) - imagined.rank_correlation
        words += f"; ranking by what is imagined has a correlation of {imagined.rank_correlation:.2f}, {lost:.2f} less"
        limits = limits or lost > thresholds.loses
    return Finding(part="predictor", limits=limits, words=words)


def _proposal(evidence: Evidence, thresholds: Thresholds) -> Finding:
    numbers = evidence.numbers
    names = numbers.source_names()
    if "proposal" not in names:
        return Finding(part="proposal", limits=None, words="the world model has none; train-proposal makes one")
    if "expert" not in names:
        return Finding(part="proposal", limits=None, words="the task has no expert to compare with")
    ours, theirs = (_any_reached(numbers, name) for name in ("proposal", "expert"))
    if not theirs.any():
        return Finding(part="proposal", limits=None, words="no candidate of the expert reaches the goal in these steps")
    lacking = float((theirs & ~ours).sum() / theirs.sum())
    words = (
        f"the expert has a candidate that reaches the goal in {theirs.mean():.0%} of the states; of these the proposal "
        f"has none in {lacking:.0%} (at most {thresholds.lacks:.0%} wanted)"
    )
    return Finding(part="proposal", limits=lacking > thresholds.lacks, words=words)


def _search(evidence: Evidence, thresholds: Thresholds) -> Finding:
    rates = evidence.success
    alone = next((name for name in ("proposal_recovery", "proposal", "zero") if name in rates), None)
    proposes = evidence.numbers.source_names()[0] == "proposal"  # then the row world_model plays the proposal
    rows = ("proposal_search", "search") if proposes else ("world_model", "search")
    searched = next((name for name in rows if name in rates), None)
    if alone is not None and searched is not None:
        words = f"of the evaluation's episodes {searched} solves {rates[searched]:.0%}, {alone} {rates[alone]:.0%}"
        return Finding(part="search", limits=rates[searched] <= rates[alone], words=words)
    numbers, best = evidence.numbers, best_energy(evidence.rows)
    costs = numbers.costs[:, 1, numbers.energies.index((best.energy, best.steps))]
    picked = float(numbers.distances[np.arange(len(costs)), costs.argmin(axis=1)].mean())
    without, name = (
        (numbers.distances[:, 0], "the proposal's heaviest mode")
        if proposes
        else (
            numbers.starts,
            "standing still",
        )
    )
    words = (
        f"the candidate that looks best in imagination ends {picked:.3f} from the goal, {name} {without.mean():.3f}, "
        f"the best candidate {numbers.distances.min(axis=1).mean():.3f}"
    )
    return Finding(part="search", limits=picked >= float(without.mean()), words=words)


def _recovery(evidence: Evidence, thresholds: Thresholds) -> Finding:
    name = next(
        (
            name
            for name in ("world_model", "proposal_search", "proposal_recovery", "proposal", "search")
            if name in evidence.failures
        ),
        None,
    )
    if name is None:
        words = "needs episodes; give --results the folder of an evaluation"
        return Finding(part="recovery", limits=None, words=words)
    if "stuck" not in evidence.failures[name]:
        words = f"the records of {name} hold no states; evaluate anew"
        return Finding(part="recovery", limits=None, words=words)
    failed = {kind: len(numbers) for kind, numbers in evidence.failures[name].items()}
    total = sum(failed.values())
    if not total:
        return Finding(part="recovery", limits=False, words=f"no episode of {name} failed")
    share = failed["stuck"] / total
    words = f"{failed['stuck']} of {total} failures of {name} stand still (at most {thresholds.stuck:.0%} wanted)"
    return Finding(part="recovery", limits=share > thresholds.stuck, words=words)


def _same(rows: Sequence[EnergyRow], like: EnergyRow, future: str) -> Ranking:
    """Return what the same energy makes of other latents."""
    wanted = (like.source, future, like.energy, like.steps)
    return next(row.ranking for row in rows if (row.source, row.future, row.energy, row.steps) == wanted)


def _any_reached(numbers: BankNumbers, source: str) -> np.ndarray:
    """Tell in which states a candidate of a source reaches the goal, (S,)."""
    return np.asarray(numbers.reached[:, numbers.sources == source].any(axis=1))


def _rho(row: EnergyRow) -> float:
    return row.ranking.rank_correlation


def _name(row: EnergyRow) -> str:
    return f"{row.energy} {row.steps}"
