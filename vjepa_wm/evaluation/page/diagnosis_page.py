"""The page of a diagnosis: the verdict, and the tables and figures that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from vjepa_wm.evaluation.diagnosis.diagnosis_content import Diagnosis, DiagnosisSection, diagnosis_sections
from vjepa_wm.evaluation.page.html_page import Html, Section, figure, join, paragraph, table, write_page


def write_diagnosis_page(folder: Path, diagnosis: Diagnosis, figures: Mapping[str, Figure]) -> None:
    """Write `report.html`.

    Args:
        folder: of the diagnosis.
        diagnosis: what was found.
        figures: by their file; a section whose figure is not there has none.
    """
    sections = [Section(part.title, _section(part, figures)) for part in diagnosis_sections(diagnosis)]
    lead = f"Candidates whose true ends are known, from {diagnosis.states} held-out states, and what each part says."
    write_page(folder / "report.html", f"{diagnosis.task}: what limits it", lead, sections)


def _section(part: DiagnosisSection, figures: Mapping[str, Figure]) -> Html:
    parts = [paragraph(part.words)]
    if part.table:
        parts.append(table(part.table))
    if part.figure is not None and part.figure in figures:
        parts.append(figure(figures[part.figure], part.title))
    return join(parts)
