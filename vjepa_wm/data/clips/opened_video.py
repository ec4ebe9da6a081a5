"""Videos opened for drawing clips: files, parts of files, folders of pictures.

Why this file exists: whoever draws clips needs the times of a video's frames and some of the frames, whatever the form.

Letters: T frames, H height, W width.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from vjepa_wm.data.clips.file_lists import Names, ListedVideo
from vjepa_wm.data.media.media_files import natural_key
from vjepa_wm.data.media.pictures import PICTURE_SUFFIXES, read_picture
from vjepa_wm.data.media.random_access import VideoScan, read_frames_at, scan_video
from vjepa_wm.data.media.video import VideoError, read_frames


@dataclass(frozen=True, kw_only=True)
class OpenedVideo:
    """An opened video.

    Attributes:
        item: where it lies.
        scan: times and size of its frames.
        names: the files of its frames in order, for a folder of pictures.
    """

    item: ListedVideo
    scan: VideoScan
    names: Names | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of all its frames, (T, H, W, 3)."""
        return len(self.scan.times), self.scan.height, self.scan.width, 3

    def read(self, ids: np.ndarray) -> np.ndarray:
        """Decode frames.

        Args:
            ids: their numbers, not decreasing, (T,).

        Returns:
            uint8 RGB, (T, H, W, 3).

        Raises:
            FileNotFoundError: a file is gone.
            VideoError: the file cannot be decoded there, or frames differ in size.
            PictureError: a picture of a folder cannot be read.
        """
        wanted, positions = np.unique(ids, return_inverse=True)
        if self.names is None:
            frames = read_frames_at(self.item.path, self.scan.times[wanted], key_times=self.scan.key_times)
        else:
            frames = np.stack([self._read_picture(self.names[i]) for i in wanted])
        return frames if len(wanted) == len(ids) else frames[positions]

    def read_all(self) -> np.ndarray:
        """Decode all frames, (T, H, W, 3); see `read`.

        Raises:
            VideoError: other frames are found than when it was opened.
        """
        if self.names is not None:
            return self.read(np.arange(len(self.names)))
        frames, times = read_frames(self.item.path, self.item.start_s, self.item.end_s)
        if not np.array_equal(times, self.scan.times):
            raise VideoError(f"only {len(times)} of {len(self.scan.times)} frames can be decoded in {self.item.label}")
        if frames.shape != self.shape:
            raise VideoError(f"frames change their size within {self.item.label}")
        return frames

    def _read_picture(self, name: str) -> np.ndarray:
        picture = read_picture(self.item.path / name)
        if picture.shape != self.shape[1:]:
            raise VideoError(f"frames change their size within {self.item.path}: {name}")
        return picture


def open_listed(items: Sequence[ListedVideo]) -> list[OpenedVideo | VideoError]:
    """Open videos that lie in the same file, which is read through once.

    Args:
        items: a single video, or parts of the same file.

    Returns:
        For each one the opened video, or what is wrong with it.

    Raises:
        FileNotFoundError: there is no such file or folder.
        VideoError: the file cannot be decoded, or the folder holds no picture.
        PictureError: the first picture of a folder cannot be read.
    """
    item = items[0]
    if item.frames_fps is not None:
        return [_open_folder(item)]
    if len(items) == 1:
        return [OpenedVideo(item=item, scan=scan_video(item.path, item.start_s, item.end_s))]
    scan = scan_video(item.path)
    return [_open_part(item, scan) for item in items]


def _open_part(item: ListedVideo, scan: VideoScan) -> OpenedVideo | VideoError:
    part = scan.between(item.start_s, item.end_s)
    if not len(part.times):
        return VideoError(f"no frame between {item.start_s} s and {item.end_s} s in {item.path}")
    return OpenedVideo(item=item, scan=part)


def _open_folder(item: ListedVideo) -> OpenedVideo:
    """List the pictures of a folder in the natural order of their names."""
    if not item.path.is_dir():
        raise FileNotFoundError(f"folder of frames does not exist: {item.path}")
    shown = (name for name in os.listdir(item.path) if not name.startswith("."))
    names = Names(sorted((name for name in shown if name.lower().endswith(PICTURE_SUFFIXES)), key=natural_key))
    if not len(names):
        raise VideoError(f"no picture ({', '.join(PICTURE_SUFFIXES)}) in folder of frames {item.path}")
    times = np.arange(len(names)) / item.frames_fps
    height, width, _ = read_picture(item.path / names[0]).shape
    return OpenedVideo(item=item, scan=VideoScan(times=times, key_times=times, height=height, width=width), names=names)


class RecentVideos:
    """Videos opened lately; those not used for the longest time are forgotten first."""

    def __init__(self, max_frames: int):
        """Start empty.

        Args:
            max_frames: frames whose times and names are kept.
        """
        self._max_frames, self._num_frames = max_frames, 0
        self._kept: OrderedDict[Hashable, OpenedVideo] = OrderedDict()

    def get(self, key: Hashable) -> OpenedVideo | None:
        """Return what was added under a key, unless it has been forgotten."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def add(self, key: Hashable, footage: OpenedVideo) -> None:
        """Remember an opened video under a key that is new."""
        self._kept[key] = footage
        self._num_frames += len(footage.scan.times)
        while self._num_frames > self._max_frames:
            self._num_frames -= len(self._kept.popitem(last=False)[1].scan.times)
