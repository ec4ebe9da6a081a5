"""What a person sees of an evaluation: a table, a json file, a figure and one page with the videos.

Everything is made from the same records, so that the numbers and the curves cannot disagree.

Letters: S steps of an episode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vjepa_wm.evaluation.page.evaluation_page import write_evaluation_page
from vjepa_wm.evaluation.page.html_page import interval_bar, with_column
from vjepa_wm.evaluation.protocol import EvaluationProtocol
from vjepa_wm.evaluation.protocol_files import protocol_content
from vjepa_wm.evaluation.runner import PolicyResult
from vjepa_wm.evaluation.success_rate import wilson_interval
from vjepa_wm.safe_files import write_json, write_whole

CM = 100.0
COLORS = ("tab:blue", "tab:orange", "tab:green", "tab:gray", "tab:purple", "tab:brown")


def result_row(result: PolicyResult) -> dict[str, Any]:
    """Reduce the episodes of one policy to numbers.

    Args:
        result: record of all episodes.

    Returns:
        policy; episodes, their number; success_last and success_ever, shares within 0..1; success_last_interval, 95 %
        Wilson bounds; mean_final_distance [m]; seconds_per_action [s].
    """
    episodes, num_episodes = result.episodes, len(result.episodes)
    num_success = sum(episode.success_last for episode in episodes)
    return {
        "policy": result.policy,
        "episodes": num_episodes,
        "success_last": num_success / num_episodes,
        "success_last_interval": list(wilson_interval(num_success, num_episodes)),
        "success_ever": sum(episode.success_ever for episode in episodes) / num_episodes,
        "mean_final_distance": float(np.mean([episode.distances[-1] for episode in episodes])),
        "seconds_per_action": float(np.mean([episode.seconds_per_action for episode in episodes])),
    }


def table_lines(results: Sequence[PolicyResult]) -> list[list[str]]:
    """Write the numbers of each policy as text.

    Args:
        results: records of the policies, in the order of the lines.

    Returns:
        The head, and a line per policy.
    """
    lines = [["policy", "episodes", "success at end", "95 % interval", "ever", "final distance", "s/action"]]
    for row in map(result_row, results):
        low, high = row["success_last_interval"]
        lines.append(
            [
                row["policy"],
                str(row["episodes"]),
                f"{row['success_last']:.0%}",
                f"{low:.0%} to {high:.0%}",
                f"{row['success_ever']:.0%}",
                f"{row['mean_final_distance'] * CM:.1f} cm",
                f"{row['seconds_per_action']:.3f}",
            ]
        )
    return lines


def format_table(results: Sequence[PolicyResult]) -> str:
    """Lay out one line per policy for the terminal.

    Args:
        results: records of the policies, in the order of the lines.

    Returns:
        Aligned text without a line break at its end.
    """
    return align(table_lines(results))


def align(lines: Sequence[Sequence[str]]) -> str:
    """Lay out a table: the first line is its head, the first column is aligned to the left.

    Args:
        lines: cells of each line, equally many.

    Returns:
        Text without a line break at its end.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    head, *rows = (
        "  ".join(
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
    return "\n".join([head, "-" * len(head), *rows])


def draw_figure(results: Sequence[PolicyResult], protocol: EvaluationProtocol) -> Figure:
    """Draw energy and true distance over the steps.

    If the energy falls while the distance does not, the latents are to blame; if neither falls, the planner or the
    predictor is.

    Args:
        results: records of the policies; of the first every episode is drawn, of the others the mean.
        protocol: what was played.

    Returns:
        A figure with two axes on top of each other: energy, and distance [cm] with a dot wherever an episode of the
        first policy ends in success.
    """
    figure = Figure(figsize=(7.5, 7.0), layout="constrained")
    energy_axes, distance_axes = figure.subplots(2, 1, sharex=True)
    _draw_energies(energy_axes, results, protocol)
    _draw_distances(distance_axes, results, protocol)
    energy_axes.set_xlabel("")
    figure.legend(*distance_axes.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    num_episodes = len(results[0].episodes)
    energy_axes.set_title(
        f"{protocol.task}: {num_episodes} episodes; thin: episodes of {results[0].policy}, bold: means, dots: solved",
        fontsize=10,
    )
    return figure


def draw_curves(results: Sequence[PolicyResult], protocol: EvaluationProtocol) -> dict[str, Figure]:
    """Draw the same as `draw_figure`, each axes as a figure of its own.

    Args:
        results: records of the policies; of the first every episode is drawn, of the others the mean.
        protocol: what was played.

    Returns:
        Figures by what they show: distance, and energy if any policy has one.
    """
    drawn = {"distance": _draw_distances}
    if any(episode.energies is not None for result in results for episode in result.episodes):
        drawn["energy"] = _draw_energies
    figures = {}
    for name, draw in drawn.items():
        figures[name] = Figure(figsize=(5.2, 3.6), layout="constrained")
        axes = figures[name].subplots()
        draw(axes, results, protocol)
        figures[name].legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figures


def write_report(
    folder: Path,
    protocol: EvaluationProtocol,
    results: Sequence[PolicyResult],
    settings: Mapping[str, Any] | None = None,
) -> str:
    """Write `results.json` (task, the whole protocol, a row per policy), `energy_and_distance.png` and `report.html`.

    Args:
        folder: folder of the evaluation, in which the page finds the videos; made if missing.
        protocol: what was played.
        results: records of the policies; the first is the one the figure shows in full.
        settings: everything else that results depend on, as the folder has it; the page tells them.

    Returns:
        The table for the terminal.

    Raises:
        ValueError: if there are no results or two of them have one name, or a video is damaged.
    """
    policies = [result.policy for result in results]
    if not policies or len(set(policies)) < len(policies):
        raise ValueError(f"results must have at least one policy and different names, got {policies}")
    rows = [result_row(result) for result in results]
    write_json(folder / "results.json", {"task": protocol.task, "protocol": protocol_content(protocol), "rows": rows})
    figure = draw_figure(results, protocol)
    write_whole(
        folder / "energy_and_distance.png", lambda unfinished: figure.savefig(unfinished, format="png", dpi=120)
    )
    write_evaluation_page(
        folder,
        protocol,
        results,
        settings=settings or {},
        lines=with_bars(table_lines(results), rows),
        curves=draw_curves(results, protocol),
    )
    return format_table(results)


def with_bars(lines: Sequence[Sequence[str]], rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return lines of a table for a page, which draws each interval of success.

    Args:
        lines: as `table_lines` writes them.
        rows: the same numbers, as `result_row` gives them.
    """
    bars = [interval_bar(row["success_last"], *row["success_last_interval"]) for row in rows]
    return with_column(lines, lines[0].index("95 % interval"), bars)


def _draw_distances(axes: Axes, results: Sequence[PolicyResult], protocol: EvaluationProtocol) -> None:
    """Draw true distance over the steps, with a dot wherever an episode of the first policy ends in success."""
    for index, result in enumerate(results):
        distances = np.array([episode.distances for episode in result.episodes])
        _draw_policy(axes, distances * CM, index, result.policy)
    solved = [episode.distances[-1] * CM for episode in results[0].episodes if episode.success_last]
    axes.plot([protocol.steps] * len(solved), solved, "o", color=COLORS[0], markersize=5, clip_on=False)
    axes.set_ylabel("distance to the goal [cm]")
    _set_up(axes, protocol)


def _draw_energies(axes: Axes, results: Sequence[PolicyResult], protocol: EvaluationProtocol) -> None:
    """Draw energy over the steps, of the policies that have one."""
    for index, result in enumerate(results):
        energies = [episode.energies for episode in result.episodes if episode.energies is not None]
        if energies:
            _draw_policy(axes, np.array(energies), index, result.policy)
    axes.set_ylabel("energy to the goal picture")
    _set_up(axes, protocol)


def _draw_policy(axes: Axes, curves: np.ndarray, index: int, label: str) -> None:
    """Draw the mean of curves (episodes, S + 1); of the first policy above all others, and each curve thinly."""
    color, every = COLORS[index % len(COLORS)], index == 0
    if every:
        axes.plot(curves.T, color=color, linewidth=0.8, alpha=0.4)
    axes.plot(curves.mean(axis=0), color=color, linewidth=3 if every else 2, zorder=4 if every else 3, label=label)


def _set_up(axes: Axes, protocol: EvaluationProtocol) -> None:
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, protocol.steps)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
