"""What a classification leaves: numbers as json, a table, and pictures of which classes are taken for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vjepa_wm.data.labelled.labelled_set import CLASS, LabelledSet
from vjepa_wm.safe_files import write_json
from vjepa_wm.training.classification.measures import Accuracy, draw_confusion

RESULTS_FILE = "results.json"
_MOST_DRAWN = 400
"""Classes up to which the picture of who is taken for whom is drawn."""


@dataclass(frozen=True, kw_only=True)
class HeadResult:
    """What one kind of head got right."""

    setting: str
    """Which of its settings was chosen."""
    test: Mapping[str, Accuracy]
    """On the test items, by question."""
    tried: Mapping[str, float] = field(default_factory=dict)
    """Share of the items that chose, told rightly by each setting, by its name."""
    diverged: tuple[str, ...] = ()
    """Settings whose loss was no longer finite."""

    def to_json(self) -> dict[str, Any]:
        """Return it as json has it."""
        return {
            "setting": self.setting,
            "test": {question: one.to_json() for question, one in self.test.items()},
            "tried": dict(self.tried),
            "diverged": list(self.diverged),
        }


def most_frequent(train: np.ndarray, test: np.ndarray) -> float:
    """Return the share of test labels (M,) that is the most frequent training label."""
    labels, counts = np.unique(train, return_counts=True)
    return float((test == labels[counts.argmax()]).mean())


def write_results(
    folder: Path,
    results: Mapping[str, HeadResult],
    *,
    train: LabelledSet,
    test: LabelledSet,
    chosen_on: str,
    bad: Mapping[Path, str],
) -> str:
    """Write `results.json` and the pictures, and return the table.

    Args:
        folder: where to.
        results: by kind of head.
        train: what was trained on.
        test: what was measured on.
        chosen_on: what chose the setting.
        bad: items that could not be read, with the reason.
    """
    base = {q: most_frequent(train.labels[:, k], test.labels[:, k]) for k, q in enumerate(test.classes)}
    content = {
        "train": {"name": train.name, "num_items": len(train.items)},
        "test": {"name": test.name, "num_items": len(test.items)},
        "classes": {question: list(names) for question, names in test.classes.items()},
        "most_frequent_class": base,
        "chosen_on": chosen_on,
        "bad": {str(name): reason for name, reason in bad.items()},
        "heads": {kind: one.to_json() for kind, one in results.items()},
    }
    write_json(folder / RESULTS_FILE, content)
    for kind, one in results.items():
        for question, accuracy in one.test.items():
            names = test.classes[question]
            if len(names) <= _MOST_DRAWN:
                label = kind if question == CLASS else f"{kind}_{question}"
                title = f"{label}: {accuracy.top1:.1%} of {accuracy.num_items}"
                draw_confusion(accuracy.confusion, names, title, folder / f"confusion_{label}.png")
    return make_table(results, base, chosen_on)


def make_table(results: Mapping[str, HeadResult], base: Mapping[str, float], chosen_on: str) -> str:
    """Return the results in words, a row for each head and question."""
    rows = [f"{'head':22}{'top-1':>8}{'top-5':>8}{'per class':>11}{'recall@5':>10}  setting ({chosen_on})"]
    several = len(base) > 1
    for question, share in base.items():
        of = f" {question}" if several else ""
        rows.append(f"{'most frequent' + of:22}{share:8.1%}")
    for kind, one in results.items():
        for question, accuracy in one.test.items():
            name = f"{kind} {question}" if several else kind
            numbers: Sequence[float] = (accuracy.top1, accuracy.top5, accuracy.mean_per_class, accuracy.recall5)
            shares = "".join(f"{number:{width}.1%}" for number, width in zip(numbers, (8, 8, 11, 10), strict=True))
            rows.append(f"{name:22}{shares}  {one.setting}")
    for kind, one in results.items():
        if one.diverged:
            rows.append(f"{kind}: {len(one.diverged)} settings stopped, their loss was not finite")
    return "\n".join(rows)
