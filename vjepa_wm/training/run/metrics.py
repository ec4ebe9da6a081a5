"""Numbers that show whether features are healthy, and the one writer that keeps them in a csv file.

Letters: B batch, N tokens, D width.
"""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import torch
from torch import Tensor

from vjepa_wm.safe_files import named, write_bytes


@torch.no_grad()
def feature_std(features: Tensor) -> float:
    """Return the standard deviation over all tokens, averaged over the D channels of (..., D); 0 is collapse."""
    return float(features.float().flatten(0, -2).std(dim=0).mean())


@torch.no_grad()
def effective_rank(features: Tensor) -> float:
    """Return the exponential of the entropy of the covariance spectrum of (..., D): 1 is collapse, D is white.

    Source: Roy and Vetterli, The effective rank (EUSIPCO 2007).
    """
    x = features.float().flatten(0, -2)
    x = x - x.mean(dim=0)
    spectrum = torch.linalg.eigvalsh(x.T @ x).clamp_min(0.0)
    share = spectrum / spectrum.sum().clamp_min(torch.finfo(spectrum.dtype).tiny)
    return float(torch.exp(-torch.xlogy(share, share).sum()))


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Read the rows of a metrics.csv; a last line without its end was cut off when a machine went down, and is dropped.

    Args:
        path: the file.

    Returns:
        The names of the columns, and each row by them; cells that are missing at its end are empty.

    Raises:
        ValueError: if it is no table with a column `step` of whole numbers.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader((line for line in file if line.endswith(("\n", "\r"))), restval="", strict=True)
            rows, names = list(reader), list(reader.fieldnames or [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if names and "step" not in names:
        raise ValueError(f"{path} must have a column 'step', as training writes it, got the columns {names}")
    if len(set(names)) < len(names):
        raise ValueError(f"{path} must have no column twice, got {names}")
    for number, row in enumerate(rows, start=1):
        if None in row or not (row["step"].isascii() and row["step"].isdigit() and len(row["step"]) < 19):
            raise ValueError(f"{path} is damaged: row {number} has no step, or more cells than there are columns")
    return names, rows


class MetricsWriter:
    """Append rows of numbers to a csv file; a resumed run drops the rows it is about to write again."""

    def __init__(self, path: str | Path, *, first_step: int = 0) -> None:
        """Read the rows that stay.

        Args:
            path: the file, made by the first `write` if missing.
            first_step: rows of this step and later ones are dropped.

        Raises:
            ValueError: if what is there is no table of metrics.
        """
        self.path = Path(path)
        self._rows: list[dict[str, str]] = []
        self._fields: list[str] = []
        if first_step and self.path.is_file():
            self._rows = [row for row in read_rows(self.path)[1] if int(row["step"]) < first_step]

    def write(self, step: int, values: dict[str, float]) -> None:
        """Add one row; a value that appears for the first time gets a column, empty in earlier rows."""
        row = {"step": str(step), **{name: f"{value:.6g}" for name, value in values.items()}}
        self._rows.append(row)
        if set(row) <= set(self._fields):
            with named(self.path), self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._fields, restval="").writerow(row)
            return
        self._fields = list(dict.fromkeys(name for known in self._rows for name in known))
        content = StringIO(newline="")
        writer = csv.DictWriter(content, self._fields, restval="")
        writer.writeheader()
        writer.writerows(self._rows)
        # In one move, so that a kill in this moment does not cost the rows that were there.
        write_bytes(self.path, content.getvalue().encode())
