"""How often classes are told rightly, and which are taken for which.

Letters: M items, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from vjepa_wm.safe_files import write_whole

_MOST_NAMED = 40
"""Classes up to which the picture names them."""
_MOST_NUMBERED = 20


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """What a classifier got right."""

    num_items: int
    """Items that were measured on."""
    top1: float
    """Share of them whose class has the highest score."""
    top5: float
    """Share of them whose class is among the five highest scores."""
    per_class: tuple[float | None, ...]
    """Share by class, as `top1`; None for a class that does not occur."""
    recall5: float
    """Mean over classes that occur of their share as `top5` (mean-class recall at 5)."""
    confusion: Tensor
    """Items by true class (rows) and class with the highest score, int64 (K, K)."""

    @property
    def mean_per_class(self) -> float:
        """Mean over classes that occur of their share."""
        known = [share for share in self.per_class if share is not None]
        return sum(known) / len(known)

    def to_json(self) -> dict[str, Any]:
        """Return it as json has it."""
        return {
            "num_items": self.num_items,
            "top1": self.top1,
            "top5": self.top5,
            "mean_per_class": self.mean_per_class,
            "recall5": self.recall5,
            "per_class": list(self.per_class),
            "confusion": self.confusion.tolist(),
        }


def measure(scores: Tensor, labels: Tensor) -> Accuracy:
    """Compare scores with labels.

    Args:
        scores: of each class, (M, K); of equal ones the class with the smaller number counts as higher.
        labels: the classes, int64 (M,), M at least 1.
    """
    num_classes = scores.shape[1]
    order = scores.argsort(dim=1, descending=True, stable=True)
    hits = (order[:, :5] == labels[:, None]).any(dim=1)
    counts = labels.bincount(minlength=num_classes)
    right = labels[order[:, 0] == labels].bincount(minlength=num_classes)
    recalled = labels[hits].bincount(minlength=num_classes)
    occurring = counts > 0
    pairs = (labels * num_classes + order[:, 0]).bincount(minlength=num_classes**2)
    return Accuracy(
        num_items=len(labels),
        top1=float(right.sum()) / len(labels),
        top5=float(hits.sum()) / len(labels),
        per_class=tuple(int(r) / int(n) if n else None for r, n in zip(right, counts, strict=True)),
        recall5=float((recalled[occurring] / counts[occurring]).mean()),
        confusion=pairs.view(num_classes, num_classes),
    )


def draw_confusion(confusion: Tensor, names: Sequence[str], title: str, path: Path) -> None:
    """Draw which classes are taken for which, each row as shares of its class.

    Args:
        confusion: as of `Accuracy`, (K, K).
        names: of the classes.
        title: what stands above.
        path: the picture to write, ending in .png.
    """
    count = len(names)
    side = min(max(0.34 * count, 4.0), 16.0)
    figure = Figure(figsize=(side + 2.5, side + 2.0), layout="constrained")
    axes = figure.add_subplot()
    shares = confusion / confusion.sum(dim=1, keepdim=True).clamp_min(1)
    shown = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(shown, ax=axes, label="share of the true class", shrink=0.7)
    axes.set(title=title, xlabel="told", ylabel="true")
    if count <= _MOST_NAMED:
        axes.set_xticks(range(count), [_short(name) for name in names], rotation=90, fontsize=8)
        axes.set_yticks(range(count), [_short(name) for name in names], fontsize=8)
    if count <= _MOST_NUMBERED:
        for row, column in confusion.nonzero().tolist():
            color = "white" if shares[row, column] > 0.5 else "black"
            number = int(confusion[row, column])
            axes.text(column, row, str(number), ha="center", va="center", color=color, fontsize=8)
    write_whole(path, lambda unfinished: figure.savefig(unfinished, format="png", dpi=130))


def _short(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:30]}..."
