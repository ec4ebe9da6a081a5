"""The files of a data set that could not be used.

Why this file exists: in millions of files some are broken, and a run should go on without them, but say which and why;
when too many are, something else is wrong and the run should stop.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Protocol

import numpy as np

from vjepa_wm.data.clips.file_lists import FileKey
from vjepa_wm.data.media.pictures import PictureError
from vjepa_wm.data.media.video import VideoError
from vjepa_wm.safe_files import write_bytes

logger = logging.getLogger(__name__)

UNUSABLE = (VideoError, PictureError, OSError)  # what is raised of a file that cannot be used
MIN_OPENED = 100  # files on which a share can be judged
_NUM_EXAMPLES = 5


class Labelled(Protocol):
    """A part of a file, or a file that is more than a path."""

    @property
    def label(self) -> Path:
        """What to call it."""


class BadFiles:
    """Which files of some lists have been opened, and which of these were bad.

    Attributes:
        reasons: why each bad one is, by its name; a part of a file ends in its times.
    """

    def __init__(self, kind: str, lists: Sequence[Sequence[Path | Labelled]], max_share: float):
        """Start with nothing opened.

        Args:
            kind: what the files are, for messages ("videos").
            lists: the files.
            max_share: largest share of bad files that is only reported.
        """
        self._kind, self._lists, self._max_share = kind, lists, max_share
        self._opened = [np.zeros(len(files), dtype=bool) for files in lists]
        self._bad: list[set[int]] = [set() for _ in lists]
        self.num_opened = 0
        self.reasons: dict[Path, str] = {}

    @property
    def num_bad(self) -> int:
        """Number of bad files."""
        return sum(map(len, self._bad))

    def note_opened(self, key: FileKey) -> None:
        """Count a file, once."""
        which, index = key
        self.num_opened += not self._opened[which][index]
        self._opened[which][index] = True

    def note_bad(self, key: FileKey, error: Exception, *, warn: bool) -> None:
        """Count a file as bad, and as opened.

        Args:
            key: the file.
            error: what is wrong with it.
            warn: whether to log it, the first time.
        """
        which, index = key
        self.note_opened(key)
        self._bad[which].add(index)
        file = self._lists[which][index]
        name = file if isinstance(file, Path) else file.label
        if name not in self.reasons:
            self.reasons[name] = str(error)
            if warn:
                logger.warning("bad file: %s", tell_bad(name, str(error)))

    def check(self) -> None:
        """Raise if more than the largest share are bad, or all files of a list.

        Raises:
            VideoError: if so; it says how many, names the first ones and their reasons.
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

    def report(self) -> list[str]:
        """Say how many are bad, in one line, or in none while nothing has been opened."""
        if not self.num_opened:
            return []
        return [f"{self.num_bad} of {self.num_opened} opened {self._kind} are bad"]


def tell_bad(name: Path, reason: str) -> str:
    """Put a file before the reason, unless that names it."""
    return reason if str(name) in reason else f"{name}: {reason}"


def write_bad_files(bad: Mapping[Path, str], path: str | os.PathLike) -> None:
    """Write a table of bad files.

    Args:
        bad: the reason of each.
        path: csv file to write, with the columns path and reason.
    """
    table = StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(("path", "reason"))
    writer.writerows(bad.items())
    write_bytes(Path(path), table.getvalue().encode(errors="surrogateescape"))
