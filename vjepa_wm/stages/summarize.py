"""Evaluations of any tasks in one table and on one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from vjepa_wm.evaluation.page.summary_page import write_summary_page
from vjepa_wm.evaluation.report import align, result_row
from vjepa_wm.evaluation.summary import SummaryRow, failure_lines, summarize, summary_lines
from vjepa_wm.safe_files import write_json


@dataclass(frozen=True, kw_only=True)
class SummarizeConfig:
    """Put several evaluations, of any tasks, into one table and one page with videos."""

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Folders that `evaluate` wrote; those that differ in their seed alone are one row."""
    out: Path | None = None
    """Folder for summary.html and summary.json; none: the table is printed, nothing is written."""
    policies: tuple[str, ...] = ()
    """Which rows; none: all."""


def run_summarize(config: SummarizeConfig) -> list[SummaryRow]:
    """Print the table and write the page; errors as `summary.summarize`."""
    rows = summarize(config.folders, config.policies)
    print(f"\n{align(summary_lines(rows))}\n\n{align(failure_lines(rows))}\n")
    if config.out is not None:
        content = [{"protocol": row.protocol.name, **result_row(row.result), "policy": row.policy} for row in rows]
        write_json(config.out / "summary.json", {"rows": content})
        write_summary_page(config.out / "summary.html", rows)
        print(f"{config.out / 'summary.html'} shows videos of each row, failures first; summary.json lies beside it")
    return rows
