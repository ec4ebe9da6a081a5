"""What a bank says of an energy: whether it ranks candidates as their true ends do, and what its first pick is worth.

Functions of arrays, so that whoever has costs and true distances from elsewhere can ask the same.

Letters: S states, F futures, E energies, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from vjepa_wm.agents.cost import DistanceName

Future = Literal["encoded", "predicted"]
FUTURES: tuple[Future, ...] = get_args(Future)
"""Latents of what really happened, and of what the world model imagines."""
BankSteps = Literal["last", "sum", "least"]


class BankEnergy(NamedTuple):
    """How the distance of a candidate's latents to the goal's is measured."""

    energy: DistanceName
    """Distance of two latents."""
    steps: BankSteps
    """Which frames count."""


def bank_energies(*, reading: bool, scene: bool = False) -> tuple[BankEnergy, ...]:
    """Return all energies, those of what a proposal reads, or says of the scene, among them or not."""
    left_out = {"reading": not reading, "scene": not scene}
    names = [name for name in get_args(DistanceName) if not left_out.get(name)]
    return tuple(BankEnergy(name, steps) for name in names for steps in get_args(BankSteps))


@dataclass(frozen=True, kw_only=True, eq=False)
class BankNumbers:
    """All candidates of a bank as numbers."""

    sources: np.ndarray
    """Whose each candidate is, (K,) text."""
    energies: tuple[BankEnergy, ...]
    """What was measured."""
    costs: np.ndarray
    """Of each candidate, in the order of `FUTURES` and the energies, (S, F, E, K)."""
    starts: np.ndarray
    """True distance of each state, (S,), in the environment's units."""
    distances: np.ndarray
    """True distance at the end of each candidate, (S, K), in the environment's units."""
    reached: np.ndarray
    """Whether the end of each candidate is a success, (S, K) bool."""

    def source_names(self) -> list[str]:
        """Return the sources in the order of their candidates."""
        return list(dict.fromkeys(self.sources.tolist()))


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What an energy makes of candidates."""

    rank_correlation: float
    """Spearman's, of cost and true final distance, mean over the states in which both differ among candidates; 1 is
    right, 0 is chance; not a number if there is no such state."""
    ranked_states: int
    """In how many states they do."""
    regret: float
    """How much farther the candidate of least cost ends than the best one, mean, in the environment's units."""
    picked: float
    """Share of states in which the candidate of least cost ends in success."""
    reachable: float
    """Share of states in which any candidate does."""


@dataclass(frozen=True, kw_only=True)
class EnergyRow:
    """A line of the table."""

    source: str
    """Whose candidates; all."""
    future: Future
    """Of which latents."""
    energy: DistanceName
    """Distance of latents."""
    steps: BankSteps
    """Which frames count."""
    ranking: Ranking
    """What it makes of them."""


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's rank correlation of two lists (K,); equal values share their mean rank.

    Returns:
        From -1 to 1; not a number if one of the lists is constant.
    """
    ranks = [_ranks(np.asarray(values)) for values in (first, second)]
    first, second = (rank - rank.mean() for rank in ranks)
    size = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / size) if size > 0 else float("nan")


def rank(costs: np.ndarray, distances: np.ndarray, reached: np.ndarray) -> Ranking:
    """Compare costs with what candidates really came to.

    Args:
        costs: (S, K), lower is better.
        distances: true final distances, (S, K).
        reached: whether each candidate ends in success, (S, K).

    Raises:
        ValueError: if the shapes differ, or there is nothing.
    """
    if not costs.size or not costs.shape == distances.shape == reached.shape or costs.ndim != 2:
        raise ValueError(
            f"costs, distances and reached must be (S, K) of one shape, got {costs.shape}, {distances.shape} and "
            f"{reached.shape}"
        )
    correlations = np.array([spearman(*pair) for pair in zip(costs, distances, strict=True)])
    known = correlations[~np.isnan(correlations)]
    states, picks = np.arange(len(costs)), costs.argmin(axis=1)
    return Ranking(
        rank_correlation=float(known.mean()) if known.size else float("nan"),
        ranked_states=int(known.size),
        regret=float((distances[states, picks] - distances.min(axis=1)).mean()),
        picked=float(reached[states, picks].mean()),
        reachable=float(reached.any(axis=1).mean()),
    )


def report_bank(numbers: BankNumbers) -> list[EnergyRow]:
    """Return a row for each energy and future, of all candidates and of those of each source alone."""
    rows = []
    for source in ["all", *numbers.source_names()]:
        chosen = np.full(len(numbers.sources), True) if source == "all" else numbers.sources == source
        for f, future in enumerate(FUTURES):
            for e, (energy, steps) in enumerate(numbers.energies):
                ranking = rank(
                    numbers.costs[:, f, e][:, chosen], numbers.distances[:, chosen], numbers.reached[:, chosen]
                )
                rows.append(EnergyRow(source=source, future=future, energy=energy, steps=steps, ranking=ranking))
    return rows


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value (K,), from 0; equal ones share their mean."""
    _, inverse, num = np.unique(values, return_inverse=True, return_counts=True)
    last = num.cumsum()
    return (last - (num + 1) / 2)[inverse]
