"""Where the videos and pictures lie that an annotation names.

Why this file exists: annotations name files by a path, without the ending, or by an id, and the files lie in the folder
of the annotation, in one below it, or somewhere else.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from vjepa_wm.data.clips.file_lists import ListedVideo
from vjepa_wm.data.labelled.labelled_set import Item
from vjepa_wm.data.media.media_files import files_under
from vjepa_wm.data.media.pictures import PICTURE_SUFFIXES
from vjepa_wm.data.media.video import VIDEO_SUFFIXES

MEDIA_SUFFIXES = (*VIDEO_SUFFIXES, *PICTURE_SUFFIXES)


class MediaIndex:
    """The media files under a folder; they are listed when a name is first looked for that is no path."""

    def __init__(self, root: Path, frames_fps: float | None = None) -> None:
        """Keep the folder.

        Args:
            root: where the files lie, at any depth.
            frames_fps: None, or that a folder that is named is a video of so many pictures per second.
        """
        self.root, self._frames_fps = root, frames_fps
        self._by_stem: dict[str, str] | None = None

    def item(self, name: str, start_s: float | None = None, end_s: float | None = None) -> Item:
        """Return the video or picture that an annotation names.

        Args:
            name: path relative to the root (or absolute), with or without ending, or only the last part of it.
            start_s: time at which what is meant begins [s]; None is the beginning of the file.
            end_s: time before which it ends [s]; None is its end.

        Returns:
            It; where there is no such file, at the path where it should be, so that it is named when it is read.
        """
        path = self._find(name)
        if path.suffix.lower() in PICTURE_SUFFIXES:
            return path
        fps = self._frames_fps if path.suffix.lower() not in VIDEO_SUFFIXES and os.path.isdir(path) else None
        return ListedVideo(path=path, start_s=start_s, end_s=end_s, frames_fps=fps)

    def _find(self, name: str) -> Path:
        path = self.root / name
        if os.path.lexists(path) and (self._frames_fps is not None or not path.is_dir()):
            return path
        if self._by_stem is None:
            found = files_under(self.root, MEDIA_SUFFIXES) if self.root.is_dir() else ()
            self._by_stem = {PurePosixPath(one).stem: one for one in found}
        stem = PurePosixPath(name).stem if name.lower().endswith(MEDIA_SUFFIXES) else PurePosixPath(name).name
        below = self._by_stem.get(stem)
        return path if below is None else self.root / below
