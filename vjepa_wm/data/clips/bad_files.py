"""The files of a data set that could not be used.

Why this file exists: in millions of files some are broken, and a run should go on without them, but say which and why;
when too many are, something else is wrong and the run should stop.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vjepa_wm.data.media.video import VideoError

MIN_OPENED = 100  # files on which a share can be judged
_NUM_EXAMPLES = 5


class BadFiles:
    """Which files of some lists have been opened, and which of these were bad.

    Attributes:
        reasons: why each bad one is, by its name.
    """

    def __init__(self, kind: str, sizes: Sequence[int], max_share: float):
        """Start with nothing opened.

        Args:
            kind: what the files are, for messages ("videos").
            sizes: files of each list.
            max_share: largest share of bad files that is only reported.
        """
        self._kind, self._max_share = kind, max_share
        self._opened = [np.zeros(size, dtype=bool) for size in sizes]
        self._bad: list[set[int]] = [set() for _ in sizes]
        self.num_opened = 0
        self.reasons: dict[Path, str] = {}

    @property
    def num_bad(self) -> int:
        """Number of bad files."""
        return sum(map(len, self._bad))

    def note_opened(self, which: int, index: int) -> None:
        """Count a file, once."""
        self.num_opened += not self._opened[which][index]
        self._opened[which][index] = True

    def note_bad(self, which: int, index: int, name: Path, reason: str) -> None:
        """Count a file as bad, and as opened."""
        self.note_opened(which, index)
        self._bad[which].add(index)
        self.reasons.setdefault(name, reason)

    def check(self) -> None:
        """Raise if more than the largest share are bad, or all files of a list.

        Raises:
            VideoError: says how many, names the first ones and their reasons.
        """
        if not self.reasons:
            return
        everything = sum(map(len, self._opened))
        is_judged = self.num_opened >= min(MIN_OPENED, everything)
        too_many = is_judged and self.num_bad > self._max_share * self.num_opened
        if not too_many and all(len(bad) < len(opened) for bad, opened in zip(self._bad, self._opened, strict=True)):
            return
        examples = "\n".join(f"  {name}: {why}" for name, why in list(self.reasons.items())[:_NUM_EXAMPLES])
        rule = f"max_bad_share is {self._max_share}" if too_many else "and no other is left of their source"
        raise VideoError(
            f"{self.num_bad} of {self.num_opened} {self._kind} are bad, {rule}; the first ones:\n{examples}"
        )


def write_bad_files(bad: Mapping[Path, str], path: str | os.PathLike) -> None:
    """Write a table of bad files.

    Args:
        bad: the reason of each.
        path: csv file to write, with the columns path and reason.
    """
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "reason"))
        writer.writerows(bad.items())
