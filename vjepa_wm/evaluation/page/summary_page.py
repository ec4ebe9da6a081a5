"""The page of several evaluations: one table, and videos of each row, failures first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vjepa_wm.evaluation.diagnosis.failures import MEANINGS
from vjepa_wm.evaluation.page.cards import Card, Filter, card_grid, episode_html
from vjepa_wm.evaluation.page.evaluation_page import HOW_TO_READ
from vjepa_wm.evaluation.page.html_page import Html, Section, join, paragraph, table, write_page
from vjepa_wm.evaluation.page.videos import page_videos, where_they_are
from vjepa_wm.evaluation.report import result_row, with_bars
from vjepa_wm.evaluation.results_folder import video_path
from vjepa_wm.evaluation.summary import SummaryRow, failure_lines, summary_lines

SHOWN = 3
"""Failures and successes of each row whose videos are on the page."""
SEEDS = (
    "Intervals are Wilson's at 95 %. Evaluations that differ in their seed alone are one row: the same starts, played "
    "with other draws."
)

KINDS = "; ".join(f"{kind}: {meaning}" for kind, meaning in MEANINGS.items()) + "."


def write_summary_page(path: Path, rows: Sequence[SummaryRow]) -> None:
    """Write the page.

    Args:
        path: the file.
        rows: what is shown.

    Raises:
        VideoError: if a video is damaged.
    """
    numbers = [result_row(row.result) for row in rows]
    sections = [
        Section("Success", join([table(with_bars(summary_lines(rows), numbers)), paragraph(SEEDS)])),
        Section("Failures", join([table(failure_lines(rows)), paragraph(KINDS)])),
        Section("Episodes", _examples(path.parent, rows)),
    ]
    tasks = ", ".join(dict.fromkeys(row.protocol.task for row in rows))
    write_page(path, "Summary", f"How often goals are reached: {tasks}.", sections)


def _examples(folder: Path, rows: Sequence[SummaryRow]) -> Html:
    """Return some failures, the farthest from the goal first, and some successes of each row."""
    chosen = []
    for row in rows:
        played = list(zip(row.places, row.result.episodes, strict=True))
        failed = sorted((one for one in played if not one[1].success_last), key=lambda one: -one[1].distances[-1])
        solved = [one for one in played if one[1].success_last]
        chosen += [(row, place, episode) for place, episode in failed[:SHOWN] + solved[:SHOWN]]
    paths = [video_path(place[0], row.policy, place[1]) for row, place, _ in chosen]
    videos = page_videos(paths, folder)
    cards = []
    for (row, place, episode), path in zip(chosen, paths, strict=True):
        name = f"{row.result.policy}, episode {place[1]}"
        tags = {"row": row.result.policy, "outcome": "solved" if episode.success_last else "not solved"}
        cards.append(Card(name, episode_html(videos.get(path), name, episode), tags))
    filters = [Filter("row", [row.result.policy for row in rows]), Filter("outcome", ["not solved", "solved"])]
    told = f"{HOW_TO_READ} At most {SHOWN} of each are shown. {where_they_are(videos)}"
    return join([paragraph(told), card_grid("episodes", filters, cards)])
