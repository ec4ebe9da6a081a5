"""The page of one evaluation: what was measured, the table, the curves, and every episode, failures first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vjepa_wm.evaluation.page.cards import Card, Filter, card_grid, episode_html
from vjepa_wm.evaluation.page.html_page import (
    Html,
    Section,
    facts,
    figure,
    join,
    paragraph,
    side_by_side,
    table,
    write_page,
)
from vjepa_wm.evaluation.page.videos import page_videos, where_they_are
from vjepa_wm.evaluation.protocol import EvaluationProtocol
from vjepa_wm.evaluation.results_folder import video_path
from vjepa_wm.evaluation.runner import PolicyResult

CAPTIONS = {
    "distance": "True distance to the goal over the steps. Thin: every episode of {first}, dots: solved; bold: means.",
    "energy": "Energy to the goal picture over the steps, what the planner sees of it. If it falls while the distance "
    "does not, the latents are to blame; if neither falls, the planner or the predictor is.",
}
HOW_TO_READ = (
    "Left what the camera saw, right the goal picture shown then; the curve is the distance from the first step to the "
    "last, its dots where the goal is reached. Failures come first, the farthest before all others."
)


def write_evaluation_page(
    folder: Path,
    protocol: EvaluationProtocol,
    results: Sequence[PolicyResult],
    *,
    settings: Mapping[str, Any],
    lines: Sequence[Sequence[str]],
    curves: Mapping[str, Figure],
) -> None:
    """Write `report.html`.

    Args:
        folder: of the evaluation.
        protocol: what was played.
        results: records of the policies; the first is the one whose episodes are shown at first.
        settings: everything else that results depend on.
        lines: the table, its head first.
        curves: figures by what they show, names of `CAPTIONS`.

    Raises:
        VideoError: if a video is damaged.
    """
    figures = [figure(drawn, CAPTIONS[name].format(first=results[0].policy)) for name, drawn in curves.items()]
    sections = [
        Section("What was measured", facts(measured(protocol, settings))),
        Section("Success", table(lines)),
        Section("Curves", side_by_side(figures)),
        Section("Episodes", episodes_grid(folder, results)),
    ]
    names, count = ", ".join(result.policy for result in results), len(results[0].episodes)
    lead = f"How often the goal is reached: {names} on {count} held-out episodes that all of them played."
    write_page(folder / "report.html", f"{protocol.task}: evaluation", lead, sections)


def measured(protocol: EvaluationProtocol, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was measured and with what, in words.

    Args:
        protocol: what was played.
        settings: everything else that results depend on, by name; groups of settings are taken apart.
    """
    told = dict(settings)
    rule = told.pop("success_rule", None)
    entries = [
        ("task", protocol.task),
        ("solved", f"{rule}, after the last step" if rule else "what the environment calls success, at the end"),
        ("protocol", f"{protocol.name}, version {protocol.version}"),
        ("steps", f"{protocol.steps} actions an episode"),
        ("episodes", protocol.origin or "as the protocol lists them"),
    ]
    if protocol.goal_steps:
        shown = ", ".join(map(str, protocol.goal_steps))
        entries.append(("goal pictures", f"in order, for {shown} actions, the last until the end"))
    if protocol.variation:
        entries.append(("varied", ", ".join(f"{name} {value}" for name, value in protocol.variation.items())))
    if told.get("env") == protocol.task:
        del told["env"]
    return entries + flat_settings(told)


def flat_settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return settings as text, those of a group by both names; what was left to its default is left out."""
    entries = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            entries += flat_settings({f"{name} {part}": inner for part, inner in value.items()})
        elif value is not None:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            entries.append((name.replace("_", " "), text))
    return entries


def episodes_grid(folder: Path, results: Sequence[PolicyResult]) -> Html:
    """Return every episode of every policy: failures first, in each half the farthest from the goal first.

    Args:
        folder: of the evaluation.
        results: records of the policies; the first is chosen at first.
    """
    played = [(result.policy, k, episode) for result in results for k, episode in enumerate(result.episodes)]
    played.sort(key=lambda one: (one[2].success_last, -one[2].distances[-1]))
    videos = page_videos([video_path(folder, policy, k) for policy, k, _ in played], folder)
    filters = [
        Filter("row", [result.policy for result in results], chosen=results[0].policy),
        Filter("outcome", ["not solved", "solved"]),
    ]
    cards = [
        Card(
            f"{policy}, episode {k}",
            join(
                [
                    episode_html(videos.get(video_path(folder, policy, k)), f"{policy}, episode {k}", episode),
                    paragraph(f"seed {episode.seed}"),
                ]
            ),
            {"row": policy, "outcome": "solved" if episode.success_last else "not solved"},
        )
        for policy, k, episode in played
    ]
    return join([paragraph(f"{HOW_TO_READ} {where_they_are(videos)}"), card_grid("episodes", filters, cards)])
