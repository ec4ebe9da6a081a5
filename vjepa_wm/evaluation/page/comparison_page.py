"""The page of a comparison: what differs in how it was measured, the differences, and the episodes side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from vjepa_wm.evaluation.comparison import OUTCOMES, ComparedRow, Comparison, Pair, pair_lines, pair_numbers
from vjepa_wm.evaluation.page.cards import Card, Filter, card_grid, episode_html
from vjepa_wm.evaluation.page.evaluation_page import flat_settings, measured
from vjepa_wm.evaluation.page.html_page import (
    Html,
    Section,
    facts,
    figure,
    interval_bar,
    join,
    marked,
    paragraph,
    side_by_side,
    table,
    with_column,
    write_page,
)
from vjepa_wm.evaluation.page.videos import PageVideo, page_videos, where_they_are
from vjepa_wm.evaluation.report import CM, draw_curves, result_row, table_lines, with_bars
from vjepa_wm.evaluation.results_folder import video_path

COLORS = {"only first": "tab:red", "only second": "tab:green", "neither": "tab:gray", "both": "tab:blue"}
HOW_TO_READ = (
    "Second minus first, on the same episodes: success in percentage points with Tango's score interval for pairs, "
    "final distance with Student's interval of the mean difference. Where an interval does not hold 0, chance alone "
    "makes such a difference in fewer than 5 of 100 comparisons. Both, only first, only second, neither: how many "
    "episodes by who solved them."
)
SIDES = (
    "Episodes on which the two disagree come first, then those that neither solved; in each part those whose final "
    "distances differ most. Both curves of an episode have one scale."
)


def write_comparison_page(path: Path, comparison: Comparison) -> None:
    """Write the page.

    Args:
        path: the file.
        comparison: rows and pairs.

    Raises:
        VideoError: if a video is damaged.
    """
    rows, results = comparison.rows, [row.result for row in comparison.rows]
    caption = f"Distance to the goal over the steps. Thin: every episode of {rows[0].name}, dots: solved; bold: means."
    curves = figure(draw_curves(results, comparison.protocol)["distance"], caption)
    ends = [figure(draw_pair(pair), _ends_caption(pair)) for pair in comparison.pairs]
    sections = [
        Section("What was measured", what_was_measured(comparison)),
        Section("Success", table(with_bars(table_lines(results), [result_row(result) for result in results]))),
        Section("Differences", join([_differences(comparison), paragraph(HOW_TO_READ)])),
        Section("Curves", side_by_side([curves, *ends])),
        Section("Episodes", pairs_grid(path.parent, comparison.pairs)),
    ]
    lead = f"{', '.join(row.name for row in rows)}, on the {len(rows[0].episodes)} episodes that all of them played."
    lead += f" Some have more: {comparison.left_out}." if comparison.left_out else ""
    write_page(path, f"{comparison.protocol.task}: comparison", lead, sections)


def what_was_measured(comparison: Comparison) -> Html:
    """Return what all share, and the settings of each folder, marked where they differ."""
    evaluations = list(dict.fromkeys(row.evaluation for row in comparison.rows))
    rules = [one.settings["success_rule"] for one in evaluations if "success_rule" in one.settings]
    shared = facts(measured(comparison.protocol, {"success_rule": rules[0]} if rules else {}))
    columns = [dict(flat_settings(one.settings)) for one in evaluations]
    names = [name for name in dict.fromkeys(name for column in columns for name in column) if name != "success rule"]
    lines = [["setting", *(str(one.folder) for one in evaluations)]]
    for name in names:
        values = [column.get(name, "not set") for column in columns]
        lines.append([name, *(marked(value) if len(set(values)) > 1 else value for value in values)])
    return join([shared, table(lines)])


def draw_pair(pair: Pair) -> Figure:
    """Draw where the episodes of two rows ended: below the diagonal the second is closer.

    Args:
        pair: the rows.

    Returns:
        A figure with one axes: final distance of the second over that of the first [cm].
    """
    drawn = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes, outcomes = drawn.subplots(), pair.outcomes()
    ends = [
        (CM * one.distances[-1], CM * other.distances[-1])
        for one, other in zip(pair.first.episodes, pair.second.episodes, strict=True)
    ]
    for outcome in OUTCOMES:
        some = [end for end, of in zip(ends, outcomes, strict=True) if of == outcome]
        if some:
            axes.plot(*zip(*some, strict=True), "o", color=COLORS[outcome], markersize=5, alpha=0.7, label=outcome)
    axes.axline((0, 0), slope=1, color="tab:gray", linewidth=0.8)
    axes.set_xlabel(f"{pair.first.name} [cm]")
    axes.set_ylabel(f"{pair.second.name} [cm]")
    limit = 1.05 * max(map(max, ends)) or 1.0
    axes.set_xlim(0, limit)
    axes.set_ylim(0, limit)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    drawn.legend(loc="outside lower center", ncols=4, frameon=False)
    return drawn


def pairs_grid(folder: Path, pairs: Sequence[Pair]) -> Html:
    """Return every episode of every pair, side by side.

    Args:
        folder: where the page lies.
        pairs: rows that are compared; the first pair is chosen at first.
    """
    played = [
        (pair, place, outcome, abs(farther))
        for pair in pairs
        for place, (outcome, farther) in enumerate(zip(pair.outcomes(), pair.farther(), strict=True))
    ]
    played.sort(key=lambda one: (max(1, OUTCOMES.index(one[2])), -one[3]))
    paths = [_path(row, place) for pair, place, _, _ in played for row in pair]
    videos = page_videos(paths, folder)
    filters = [Filter("outcome", OUTCOMES)]
    if len(pairs) > 1:
        filters.insert(0, Filter("pair", [pair.name for pair in pairs], chosen=pairs[0].name))
    cards = [
        Card(
            f"episode {pair.first.numbers[place]}, seed {pair.first.episodes[place].seed}: {outcome}",
            sides(pair, place, videos),
            {"pair": pair.name, "outcome": outcome},
        )
        for pair, place, outcome, _ in played
    ]
    return join([paragraph(f"{SIDES} {where_they_are(videos)}"), card_grid("episodes", filters, cards)])


def sides(pair: Pair, place: int, videos: dict[Path, PageVideo]) -> Html:
    """Return an episode as both rows played it.

    Args:
        pair: the rows.
        place: which of the compared episodes.
        videos: those there are, by their files.
    """
    top = max(max(row.episodes[place].distances) for row in pair)
    parts = [
        join(
            [
                Html("<div>"),
                paragraph(row.name),
                episode_html(videos.get(_path(row, place)), row.name, row.episodes[place], top),
                Html("</div>"),
            ]
        )
        for row in pair
    ]
    button = Html('<button type="button" class="together">play both from the start</button>')
    return join([Html('<div class="pair">'), *parts, Html("</div>"), button])


def _differences(comparison: Comparison) -> Html:
    lines, bars = pair_lines(comparison), []
    for numbers in map(pair_numbers, comparison.pairs):
        low, high = numbers["success_difference_interval"]
        bars.append(interval_bar(numbers["success_difference"], low, high, least=-1.0))
    return table(with_column(lines, lines[0].index("95 % interval"), bars))


def _ends_caption(pair: Pair) -> str:
    return f"Final distances, a dot per episode by who solved it; beneath the line {pair.second.name} is closer."


def _path(row: ComparedRow, place: int) -> Path:
    return video_path(row.evaluation.folder, row.policy, row.numbers[place])
