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


class MetricsWriter:
    """Append rows of numbers to a csv file; a resumed run drops the rows it is about to write again."""

    def __init__(self, path: str | Path, *, first_step: int = 0) -> None:
        """Read the rows that stay.

        Args:
            path: the file, made by the first `write` if missing.
            first_step: rows of this step and later ones are dropped.
        """
        self.path = Path(path)
        self._rows: list[dict[str, str]] = []
        self._fields: list[str] = []
        if first_step and self.path.is_file():
            with self.path.open(newline="") as file:
                # A last line without its end was cut off when a machine went down.
                whole = (line for line in file if line.endswith("\n"))
                self._rows = [row for row in csv.DictReader(whole) if int(row["step"]) < first_step]

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
