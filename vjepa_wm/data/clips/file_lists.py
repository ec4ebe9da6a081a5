"""Long lists of videos and pictures that take little memory.

Why this file exists: a source may name tens of millions of files. As Python objects they would take gigabytes, and
every worker process would come to hold a copy; here they are two blocks of bytes, and an object is made when asked for.
"""

from __future__ import annotations

from abc import abstractmethod
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, overload

import numpy as np

Item = TypeVar("Item")

FileKey = tuple[int, int]
"""Number of a list, and of the file in it."""


@dataclass(frozen=True, kw_only=True)
class ListedVideo:
    """A video that clips can be drawn from."""

    path: Path
    """Its file, or the folder that holds its frames as pictures."""
    start_s: float | None = None
    """Time in the file at which it begins [s]; None is the beginning of the file."""
    end_s: float | None = None
    """Time before which it ends [s]; None is the end of the file."""
    frames_fps: float | None = None
    """Frames per second of a folder of pictures; None for a file."""

    @property
    def label(self) -> Path:
        """What to call it: its path, followed by the times where it is a part (as in web addresses: #t=3.5,8)."""
        if self.start_s is None:
            return self.path
        return self.path.with_name(f"{self.path.name}#t={max(self.start_s, 0.0):.3f},{self.end_s:.3f}")


class _List(Sequence[Item]):
    """A sequence whose items are made when asked for."""

    @abstractmethod
    def _item(self, i: int) -> Item:
        """Make the item at a place from 0 on."""

    @overload
    def __getitem__(self, i: int) -> Item: ...

    @overload
    def __getitem__(self, i: slice) -> list[Item]: ...

    def __getitem__(self, i: int | slice) -> Item | list[Item]:
        """Return an item, or those of a slice."""
        return [self._item(k) for k in range(*i.indices(len(self)))] if isinstance(i, slice) else self._item(i)


class Names(_List[str]):
    """Texts end to end in one block; more can be appended."""

    def __init__(self, names: Iterable[str] = ()):
        """Copy names.

        Args:
            names: the first ones.
        """
        self._content, self._ends = bytearray(), array("q", [0])
        for name in names:
            self.append(name)

    @property
    def content(self) -> bytes:
        """All names, and where each ends."""
        return bytes(self._content) + self._ends.tobytes()

    def append(self, name: str) -> None:
        """Add a name."""
        self._content += name.encode("utf-8", "surrogateescape")  # as Python spells file names that are no UTF-8
        self._ends.append(len(self._content))

    def __len__(self) -> int:
        """Count the names."""
        return len(self._ends) - 1

    def _item(self, i: int) -> str:
        """Return a name."""
        if not 0 <= i < len(self):
            raise IndexError(f"i must be from 0 to {len(self) - 1}, got {i}")
        return self._content[self._ends[i] : self._ends[i + 1]].decode("utf-8", "surrogateescape")


class PictureList(_List[Path]):
    """Picture files."""

    def __init__(self, root: Path, names: Names):
        """Take the pictures' paths.

        Args:
            root: folder that the names are relative to.
            names: their paths, relative or absolute.
        """
        self._root, self._names = root, names

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self._names)

    def _item(self, i: int) -> Path:
        """Return the path of a picture."""
        return self._root / self._names[i]


class VideoList(_List[ListedVideo]):
    """Videos: whole files and folders of pictures, or parts of files."""

    def __init__(
        self,
        root: Path,
        names: Names,
        *,
        frames_fps: float | None = None,
        parts: tuple[np.ndarray, np.ndarray] | None = None,
    ):
        """Take the videos' paths.

        Args:
            root: folder that the names are relative to.
            names: their paths, relative or absolute; one that ends in "/" is a folder of pictures.
            frames_fps: frames per second of the folders of pictures.
            parts: for videos that are parts of files: number of each one's file among the names, (num_videos,), and
                where it begins and ends [s], (num_videos, 2). None: every name is a video.
        """
        self._root, self._names, self._frames_fps, self._parts = root, names, frames_fps, parts

    def __len__(self) -> int:
        """Count the videos."""
        return len(self._names) if self._parts is None else len(self._parts[0])

    def _item(self, i: int) -> ListedVideo:
        """Return a video."""
        if self._parts is None:
            name = self._names[i]
            return ListedVideo(path=self._root / name, frames_fps=self._frames_fps if name.endswith("/") else None)
        start_s, end_s = self._parts[1][i].tolist()
        return ListedVideo(path=self._root / self._names[int(self._parts[0][i])], start_s=start_s, end_s=end_s)
