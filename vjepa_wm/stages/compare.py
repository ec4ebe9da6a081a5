"""Evaluations side by side, paired by episode."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from vjepa_wm.evaluation.comparison import Comparison, comparison_content, pair_lines
from vjepa_wm.evaluation.page.comparison_page import write_comparison_page
from vjepa_wm.evaluation.pairing import compare
from vjepa_wm.evaluation.report import align, format_table
from vjepa_wm.safe_files import write_json


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Compare what several evaluations, or several rows of one, did on the same episodes: tables and one page."""

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Folders that `evaluate` wrote, the one to compare with first; one alone: its rows are compared with its first."""
    out: Path | None = None
    """Folder for compare.html and compare.json; none: the tables are printed, nothing is written."""
    policies: tuple[str, ...] = ()
    """Which rows, in order; none: all. A row is compared with the first folder's of the same name, or its only one."""


def run_compare(config: CompareConfig) -> Comparison:
    """Pair the rows by episode, print the tables and write the page; errors as `pairing.compare`."""
    comparison = compare(config.folders, config.policies)
    protocol = comparison.protocol
    print(f"\n{format_table([row.result for row in comparison.rows])}\n\n{align(pair_lines(comparison))}\n")
    print(
        f"second minus first on {len(protocol.episodes)} episodes of protocol {protocol.name}, version "
        f"{protocol.version}, which all rows played"
    )
    if comparison.left_out:
        print(f"left out is what only some have; episodes played: {comparison.left_out}")
    if config.out is not None:
        write_json(config.out / "compare.json", comparison_content(comparison))
        write_comparison_page(config.out / "compare.html", comparison)
        print(f"{config.out / 'compare.html'} shows the episodes side by side; compare.json lies beside it")
    return comparison
