"""The videos and the pictures that a mixture draws from, by key.

Why this file exists: whoever draws from a video should not care whether its frames are in memory, whether its file has
been opened already, or whether this is the first time that it is asked for.

Letters: H height, W width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch

from vjepa_wm.data.clips.bad_files import BadFiles
from vjepa_wm.data.clips.file_lists import FileKey, ListedVideo
from vjepa_wm.data.clips.frame_store import FrameStore
from vjepa_wm.data.clips.opened_video import OpenedVideo, open_listed
from vjepa_wm.data.media.pictures import read_picture
from vjepa_wm.data.media.video import VideoError

_MAX_RECENT_FRAMES = 2**24  # whose times take 128 MiB


class RecentVideos:
    """Videos opened lately; those not used for the longest time are forgotten first."""

    def __init__(self, max_frames: int):
        """Start empty.

        Args:
            max_frames: frames whose times and names are kept.
        """
        self._max_frames, self._num_frames = max_frames, 0
        self._kept: OrderedDict[FileKey, OpenedVideo] = OrderedDict()

    def get(self, key: FileKey) -> OpenedVideo | None:
        """Return what was added under a key, unless it has been forgotten."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def add(self, key: FileKey, video: OpenedVideo) -> None:
        """Remember an opened video under a key that is new."""
        self._kept[key] = video
        self._num_frames += len(video.scan.times)
        while self._num_frames > self._max_frames:
            self._num_frames -= len(self._kept.popitem(last=False)[1].scan.times)


class VideoPool:
    """Videos, decoded or opened ahead or else opened when they are asked for.

    Attributes:
        lists: where they lie.
        bad: which of them cannot be used.
        recent: those opened lately.
        decoded: those whose frames are in memory.
        hours: length of all good ones [h]; None unless all have been opened.
    """

    def __init__(self, lists: Sequence[Sequence[ListedVideo]], max_bad_share: float):
        """Start with nothing opened.

        Args:
            lists: where the videos lie.
            max_bad_share: largest share of bad ones that is only reported.
        """
        self.lists, self.bad = lists, BadFiles("videos", lists, max_bad_share)
        self.recent, self.decoded = RecentVideos(_MAX_RECENT_FRAMES), FrameStore({}, 0)
        self.hours: float | None = None

    def __len__(self) -> int:
        """Count the videos."""
        return sum(map(len, self.lists))

    def __getitem__(self, key: FileKey) -> OpenedVideo:
        """Return a video.

        Raises:
            FileNotFoundError: if there is no such file or folder.
            VideoError: if it cannot be opened.
            PictureError: if the first picture of a folder cannot be read.
        """
        if key in self.decoded:
            return self.decoded[key]
        video = self.recent.get(key)
        if video is None:
            (opened,) = open_listed([self.lists[key[0]][key[1]]])
            if isinstance(opened, VideoError):
                raise opened
            video = opened
            self.recent.add(key, video)
        return video


class PicturePool:
    """Pictures, read when they are asked for.

    Attributes:
        bad: which of them cannot be used.
    """

    def __init__(self, lists: Sequence[Sequence[Path]], max_bad_share: float):
        """Start with nothing read.

        Args:
            lists: the pictures' files.
            max_bad_share: largest share of bad ones that is only reported.
        """
        self._lists, self.bad = lists, BadFiles("pictures", lists, max_bad_share)

    def __getitem__(self, key: FileKey) -> torch.Tensor:
        """Read a picture, uint8 RGB, (1, H, W, 3).

        Raises:
            FileNotFoundError: if there is no such file.
            PictureError: if it cannot be read.
        """
        return torch.from_numpy(read_picture(self._lists[key[0]][key[1]])[None])
