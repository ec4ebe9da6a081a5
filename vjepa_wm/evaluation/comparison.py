"""Rows on the same episodes: who solved what the other did not, how far apart they ended, and how sure that is.

The tables, the page and the json file are all made from these records.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vjepa_wm.evaluation.evaluated_episode import EpisodeResult
from vjepa_wm.evaluation.paired import mean_interval, paired_interval
from vjepa_wm.evaluation.protocol import EvaluationProtocol
from vjepa_wm.evaluation.report import CM, result_row
from vjepa_wm.evaluation.results_folder import StoredEvaluation
from vjepa_wm.evaluation.runner import PolicyResult

OUTCOMES = ("only first", "only second", "neither", "both")
"""Who solved an episode of a pair, in the order in which they are shown: where the two disagree first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedRow:
    """What a policy of an evaluation did on the episodes that all rows have."""

    name: str
    """As it is shown: of folder and policy what tells it from the others."""
    evaluation: StoredEvaluation
    """The evaluation it is of."""
    policy: str
    """Who played."""
    numbers: tuple[int, ...]
    """Number of each episode in its evaluation."""
    episodes: tuple[EpisodeResult, ...]
    """Their records, in the same order in all rows."""

    @property
    def result(self) -> PolicyResult:
        """The records under the name that is shown."""
        return PolicyResult(policy=self.name, episodes=self.episodes)


class Pair(NamedTuple):
    """Two rows of which the second is measured by the first."""

    first: ComparedRow
    """What is compared with."""
    second: ComparedRow
    """What is compared."""

    @property
    def name(self) -> str:
        """As it is shown."""
        return f"{self.second.name} against {self.first.name}"

    def outcomes(self) -> list[str]:
        """Return for each episode who solved it, one of `OUTCOMES`."""
        names = {(True, False): "only first", (False, True): "only second", (False, False): "neither"}
        return [
            names.get((one.success_last, other.success_last), "both")
            for one, other in zip(self.first.episodes, self.second.episodes, strict=True)
        ]

    def farther(self) -> list[float]:
        """Return for each episode how much farther from the goal the second ended [m]."""
        return [
            other.distances[-1] - one.distances[-1]
            for one, other in zip(self.first.episodes, self.second.episodes, strict=True)
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Rows on the same episodes, and which are compared."""

    protocol: EvaluationProtocol
    """What all played; its episodes are those that all rows have."""
    rows: tuple[ComparedRow, ...]
    """Every row."""
    pairs: tuple[Pair, ...]
    """What is compared, with the first evaluation's row of the same name where it has one."""
    left_out: str
    """How many episodes each row has played, if not all of them are compared; else empty."""


def pair_numbers(pair: Pair) -> dict[str, Any]:
    """Reduce two rows to how they differ.

    Args:
        pair: the rows.

    Returns:
        first, second, their names; both, only_first, only_second, neither, numbers of episodes; success_difference,
        second minus first within -1..1, and its paired 95 % interval; distance_difference of the final distances [m],
        and its paired 95 % interval or None; disagreements, the episodes that only one solved.
    """
    outcomes, farther = pair.outcomes(), pair.farther()
    count, n = Counter(outcomes), len(outcomes)
    disagreements = [
        {"episode": k, "seed": episode.seed, "solved_by": outcome.removeprefix("only ")}
        for k, episode, outcome in zip(pair.first.numbers, pair.first.episodes, outcomes, strict=True)
        if outcome.startswith("only")
    ]
    interval = mean_interval(farther)
    return {
        "first": pair.first.name,
        "second": pair.second.name,
        **{name.replace(" ", "_"): count[name] for name in ("both", "only first", "only second", "neither")},
        "success_difference": (count["only second"] - count["only first"]) / n,
        "success_difference_interval": list(paired_interval(count["only first"], count["only second"], n)),
        "distance_difference": float(np.mean(farther)),
        "distance_difference_interval": None if interval is None else list(interval),
        "disagreements": disagreements,
    }


def pair_lines(comparison: Comparison) -> list[list[str]]:
    """Write the numbers of each pair as text.

    Args:
        comparison: rows and pairs.

    Returns:
        The head, and a line per pair; differences are second minus first.
    """
    lines = [["first", "second", "success", "95 % interval", "both", "only first", "only second", "neither"]]
    lines[0] += ["final distance", "95 % interval"]
    for numbers in map(pair_numbers, comparison.pairs):
        low, high = (100 * bound for bound in numbers["success_difference_interval"])
        lengths = [CM * bound for bound in numbers["distance_difference_interval"] or ()]
        lines.append(
            [
                numbers["first"],
                numbers["second"],
                f"{100 * numbers['success_difference']:+.0f} points",
                f"{low:+.0f} to {high:+.0f}",
                *(str(numbers[name]) for name in ("both", "only_first", "only_second", "neither")),
                f"{CM * numbers['distance_difference']:+.1f} cm",
                f"{lengths[0]:+.1f} to {lengths[1]:+.1f}" if lengths else "none of one episode",
            ]
        )
    return lines


def comparison_content(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as json has it.

    Args:
        comparison: rows and pairs.

    Returns:
        protocol, name, version, task and steps; episodes, their number; rows, numbers of each; pairs, numbers of each.
    """
    protocol = comparison.protocol
    return {
        "protocol": {name: getattr(protocol, name) for name in ("name", "version", "task", "steps")},
        "episodes": len(protocol.episodes),
        "rows": [
            {"name": row.name, "folder": str(row.evaluation.folder)} | result_row(row.result) | {"policy": row.policy}
            for row in comparison.rows
        ],
        "pairs": [pair_numbers(pair) for pair in comparison.pairs],
    }
