"""Videos opened for drawing clips: files, parts of files, folders of pictures.

Why this file exists: whoever draws clips needs the times of a video's frames and some of the frames, whatever the form.

Letters: T frames, H height, W width.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vjepa_wm.data.clips.file_lists import ListedVideo, Names
from vjepa_wm.data.media.media_files import natural_key
from vjepa_wm.data.media.pictures import PICTURE_SUFFIXES, read_picture
from vjepa_wm.data.media.random_access import VideoScan, read_frames_at, scan_video
from vjepa_wm.data.media.video import VideoError, read_frames


@dataclass(frozen=True, kw_only=True)
class OpenedVideo:
    """A video whose frames can be read."""

    listed: ListedVideo
    """Where it lies."""
    scan: VideoScan
    """Times and size of its frames."""
    names: Names | None = None
    """The files of its frames in order, for a folder of pictures."""
    frames: np.ndarray | None = None
    """All of them, uint8 RGB, (T, H, W, 3), where they are kept in memory."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of all its frames, (T, H, W, 3)."""
        return len(self.scan.times), self.scan.height, self.scan.width, 3

    def read(self, ids: np.ndarray) -> np.ndarray:
        """Read frames, from memory or by decoding them.

        Args:
            ids: their numbers, not decreasing, (T,).

        Returns:
            uint8 RGB, (T, H, W, 3), a copy.

        Raises:
            FileNotFoundError: if a file is gone.
            VideoError: if the file cannot be decoded there, or frames differ in size.
            PictureError: if a picture of a folder cannot be read.
        """
        if self.frames is not None:
            return self.frames.take(ids, axis=0)
        wanted, positions = np.unique(ids, return_inverse=True)
        if self.names is None:
            frames = read_frames_at(self.listed.path, self.scan.times[wanted], key_times=self.scan.key_times)
        else:
            frames = np.stack([self._read_picture(self.names[i]) for i in wanted])
        return frames if len(wanted) == len(ids) else frames[positions]

    def read_all(self) -> np.ndarray:
        """Decode all frames, (T, H, W, 3); see `read`.

        Raises:
            VideoError: if other frames are found than when it was opened.
        """
        if self.names is not None:
            return self.read(np.arange(len(self.names)))
        frames, times = read_frames(self.listed.path, self.listed.start_s, self.listed.end_s)
        if not np.array_equal(times, self.scan.times):
            raise VideoError(
                f"{len(times)} frames can be decoded where {len(self.scan.times)} are listed in {self.listed.label}"
            )
        if frames.shape != self.shape:
            raise VideoError(f"frames change their size within {self.listed.label}")
        return frames

    def _read_picture(self, name: str) -> np.ndarray:
        picture = read_picture(self.listed.path / name)
        if picture.shape != self.shape[1:]:
            raise VideoError(f"frames change their size within {self.listed.path}: {name}")
        return picture


def open_listed(videos: Sequence[ListedVideo]) -> list[OpenedVideo | VideoError]:
    """Open videos that lie in the same file, which is read through once.

    Args:
        videos: a single video, or parts of the same file.

    Returns:
        For each one the opened video, or what is wrong with it.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        VideoError: if the file cannot be decoded, or the folder holds no picture.
        PictureError: if the first picture of a folder cannot be read.
    """
    video = videos[0]
    if video.frames_fps is not None:
        return [_open_folder(video, video.frames_fps)]
    if len(videos) == 1:
        return [OpenedVideo(listed=video, scan=scan_video(video.path, video.start_s, video.end_s))]
    scan = scan_video(video.path)
    return [_open_part(video, scan) for video in videos]


def _open_part(video: ListedVideo, scan: VideoScan) -> OpenedVideo | VideoError:
    part = scan.between(video.start_s, video.end_s)
    if not len(part.times):
        return VideoError(f"no frame between {video.start_s} s and {video.end_s} s in {video.path}")
    return OpenedVideo(listed=video, scan=part)


def _open_folder(video: ListedVideo, fps: float) -> OpenedVideo:
    """List the pictures of a folder in the natural order of their names."""
    if not video.path.is_dir():
        raise FileNotFoundError(f"folder of frames does not exist: {video.path}")
    shown = (name for name in os.listdir(video.path) if not name.startswith("."))
    names = Names(sorted((name for name in shown if name.lower().endswith(PICTURE_SUFFIXES)), key=natural_key))
    if not len(names):
        raise VideoError(f"no picture ({', '.join(PICTURE_SUFFIXES)}) in folder of frames {video.path}")
    times = np.arange(len(names)) / fps
    height, width, _ = read_picture(video.path / names[0]).shape
    return OpenedVideo(
        listed=video, scan=VideoScan(times=times, key_times=times, height=height, width=width), names=names
    )
