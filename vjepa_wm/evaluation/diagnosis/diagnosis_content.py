"""What a person sees of a diagnosis: sections of words, a table and a figure, for the terminal and for a page alike.

Letters: K candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vjepa_wm.evaluation.diagnosis.bank_report import FUTURES, EnergyRow
from vjepa_wm.evaluation.diagnosis.failures import FAILURE_KINDS, MEANINGS, FailureKind
from vjepa_wm.evaluation.diagnosis.open_loop import OpenLoopRow
from vjepa_wm.evaluation.diagnosis.verdict import Finding, summary
from vjepa_wm.evaluation.report import align

LANDSCAPE_FILE, OPEN_LOOP_FILE = "energy_landscape.png", "open_loop.png"


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Everything that was found of a task."""

    task: str
    """Its name."""
    states: int
    """How many states the bank has."""
    rows: Sequence[EnergyRow]
    """What energies make of the candidates."""
    open_loop: Sequence[OpenLoopRow]
    """Errors of imagination."""
    better_than_expert: float
    """Share of one-step actions that the energy of imagination prefers to the expert's, in the states that are shown;
    not a number without an expert."""
    findings: Sequence[Finding]
    """The verdict."""
    success: Mapping[str, float]
    """Success at the end by row of an evaluation, if one was given."""
    failures: Mapping[str, Mapping[FailureKind, Sequence[int]]]
    """Its failures, sorted."""

    def to_json(self) -> dict[str, Any]:
        """Return all of it as json has it; what is not a number is null."""
        return _plain(asdict(self) | {"verdict": summary(self.task, self.findings)})


@dataclass(frozen=True, kw_only=True)
class DiagnosisSection:
    """A part of a report."""

    title: str
    """Its heading."""
    words: str
    """How to read it."""
    table: Sequence[Sequence[str]] = ()
    """Cells of each line, the head first; empty: no table."""
    in_sentences: bool = False
    """Whether lines end in a sentence, for which a terminal has no column."""
    figure: str | None = None
    """File of the figure that belongs to it; None: none."""


def diagnosis_sections(diagnosis: Diagnosis) -> list[DiagnosisSection]:
    """Return the report: the verdict first, then what it rests on."""
    sections = [_verdict(diagnosis), _energies(diagnosis), _sources(diagnosis), _open_loop(diagnosis)]
    shown = diagnosis.better_than_expert
    sections.append(
        DiagnosisSection(
            title="Energy landscape of one imagined step",
            words="Where the energy of one imagined step is low, beside what the expert does"
            + (
                "."
                if math.isnan(shown)
                else f"; in the first states it prefers {shown:.0%} of these actions to the expert's."
            ),
            figure=LANDSCAPE_FILE,
        )
    )
    return [*sections, _failures(diagnosis)] if diagnosis.failures else sections


def section_text(section: DiagnosisSection) -> str:
    """Lay out a section for the terminal."""
    table = align(section.table) if section.table else ""
    if section.in_sentences:
        table = "\n".join(f"- {part} {said}: {why}" for part, said, why in section.table[1:])
    parts = [section.title, section.words, table]
    return "\n".join(part for part in parts if part)


def draw_open_loop(rows: Sequence[OpenLoopRow]) -> Figure:
    """Draw the errors of imagination and of standing still over the steps, a panel for each group of sequences."""
    groups = list(dict.fromkeys(row.motion for row in rows))
    figure = Figure(figsize=(4.4 * len(groups), 3.6), layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    top = 1.05 * max(max(row.imagined, row.standing_still) for row in rows)
    for axes, motion in zip(panels, groups, strict=True):
        shown = [row for row in rows if row.motion == motion]
        steps = [row.step for row in shown]
        axes.plot(steps, [row.imagined for row in shown], "o-", color="tab:blue", label="imagined")
        axes.plot(steps, [row.standing_still for row in shown], "o--", color="tab:gray", label="standing still")
        axes.set_title(f"{motion}: {shown[0].sequences} sequences", fontsize=10)
        axes.set_xlabel("steps")
        axes.set_ylim(0, top)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("L2 energy to the true latent")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def _verdict(diagnosis: Diagnosis) -> DiagnosisSection:
    said = {True: "limits", False: "does not limit", None: "not known"}
    lines = [["part", "verdict", "why"]]
    lines += [[finding.part, said[finding.limits], finding.words] for finding in diagnosis.findings]
    return DiagnosisSection(
        title="Verdict", words=summary(diagnosis.task, diagnosis.findings) + ".", table=lines, in_sentences=True
    )


def _energies(diagnosis: Diagnosis) -> DiagnosisSection:
    lines = [
        [
            "energy",
            "frames",
            *(f"{word}, {future}" for future in FUTURES for word in ("rank corr.", "regret", "picked")),
        ]
    ]
    of_all = [row for row in diagnosis.rows if row.source == "all"]
    pairs = list(dict.fromkeys((row.energy, row.steps) for row in of_all))
    for energy, steps in pairs:
        cells = [row for row in of_all if (row.energy, row.steps) == (energy, steps)]
        lines.append([energy, steps, *(cell for row in cells for cell in _cells(row))])
    words = (
        f"{diagnosis.states} states, all candidates; {of_all[0].ranking.reachable:.0%} of the states have a candidate "
        f"that reaches the goal, {of_all[0].ranking.ranked_states} have ends that differ. Encoded: of what happened in "
        "the simulator; predicted: of what was imagined. Rank correlation with the true final distance; regret of the "
        "first pick in the environment's units; share of states in which the pick reaches the goal."
    )
    return DiagnosisSection(title="What energies make of the candidates", words=words, table=lines)


def _sources(diagnosis: Diagnosis) -> DiagnosisSection:
    lines = [
        [
            "candidates",
            "reachable",
            "energy",
            *(f"{word}, {f}" for f in FUTURES for word in ("rank corr.", "regret", "picked")),
        ]
    ]
    for source in dict.fromkeys(row.source for row in diagnosis.rows):
        for energy, steps in (("l2", "last"), ("l2", "sum"), ("reading", "last"), ("scene", "last")):
            cells = [row for row in diagnosis.rows if (row.source, row.energy, row.steps) == (source, energy, steps)]
            if cells:  # without a proposal nothing reads
                reachable = f"{cells[0].ranking.reachable:.0%}"
                lines.append([source, reachable, f"{energy} {steps}", *(cell for row in cells for cell in _cells(row))])
    words = "The same for each source alone. Reachable: share of states with a candidate that reaches the goal."
    return DiagnosisSection(title="Sources of candidates", words=words, table=lines)


def _open_loop(diagnosis: Diagnosis) -> DiagnosisSection:
    lines = [["sequences", "number", "step", "imagined", "standing still", "ratio"]]
    for row in diagnosis.open_loop:
        numbers = [f"{row.imagined:.4f}", f"{row.standing_still:.4f}", f"{row.ratio:.2f}"]
        lines.append([row.motion, str(row.sequences), str(row.step), *numbers])
    words = (
        "L2 energy between imagined and true latents. A ratio above 1 is worse than to imagine that nothing changes."
    )
    return DiagnosisSection(title="Imagination over steps", words=words, table=lines, figure=OPEN_LOOP_FILE)


def _failures(diagnosis: Diagnosis) -> DiagnosisSection:
    lines = [["policy", "success at end", *FAILURE_KINDS]]
    for policy, kinds in diagnosis.failures.items():
        counted = [str(len(kinds[kind])) if kind in kinds else "-" for kind in FAILURE_KINDS]
        lines.append([policy, f"{diagnosis.success[policy]:.0%}", *counted])
    meanings = "; ".join(f"{kind}: {meaning}" for kind, meaning in MEANINGS.items()) + "; -: the records cannot tell"
    return DiagnosisSection(title="How episodes of the evaluation failed", words=meanings + ".", table=lines)


def _cells(row: EnergyRow) -> list[str]:
    ranking = row.ranking
    correlation = "-" if math.isnan(ranking.rank_correlation) else f"{ranking.rank_correlation:.2f}"
    return [correlation, f"{ranking.regret:.3f}", f"{ranking.picked:.0%}"]


def _plain(value: Any) -> Any:
    """Return a value as json has it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value
