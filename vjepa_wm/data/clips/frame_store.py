"""Decoded videos kept in memory.

Why this file exists: small data sets are read many times over, and processes that load data should share one copy of
them. All videos lie in one block, because shared memory is had by the piece and a process may have but so many.

Letters: T frames, H height, W width.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from vjepa_wm.data.clips.file_lists import FileKey
from vjepa_wm.data.clips.opened_video import OpenedVideo

logger = logging.getLogger(__name__)
SHARED_MEMORY = "/dev/shm"


class FrameStore:
    """Room for some videos. Forked processes share it; others do if it was made with `share`, or else start empty."""

    def __init__(self, videos: Mapping[FileKey, OpenedVideo], max_bytes: int, *, share: bool = False):
        """Make room for the videos that fit, in order.

        Args:
            videos: opened videos, by their keys.
            max_bytes: memory to use at most [bytes].
            share: whether to put them where all processes of the machine can reach them; where that is too small, a
                warning is logged and they are not.
        """
        self._places: dict[FileKey, tuple[int, OpenedVideo]] = {}
        size = 0
        for key, video in videos.items():
            if size + math.prod(video.shape) <= max_bytes:
                self._places[key] = size, video
                size += math.prod(video.shape)
        self._block = torch.empty(size, dtype=torch.uint8)
        if not share or not size:
            return
        free = shutil.disk_usage(SHARED_MEMORY).free if os.path.isdir(SHARED_MEMORY) else size
        if free < size:
            logger.warning("%s has %d bytes left, %d are needed to share decoded videos", SHARED_MEMORY, free, size)
        else:
            self._block.share_memory_()

    def __len__(self) -> int:
        """Count the videos."""
        return len(self._places)

    def __contains__(self, key: FileKey) -> bool:
        return key in self._places

    @property
    def keys(self) -> list[FileKey]:
        """Keys of the videos."""
        return list(self._places)

    @property
    def num_bytes(self) -> int:
        """Memory that the videos take [bytes]."""
        return sum(math.prod(video.shape) for _, video in self._places.values())

    def decode(self, key: FileKey) -> None:
        """Decode a video to where there is room for it.

        Raises:
            FileNotFoundError: if a file is gone.
            VideoError: if it cannot be decoded, or otherwise than when it was opened.
            PictureError: if a picture of a folder cannot be read.
        """
        np.copyto(self._frames(key), self._places[key][1].read_all())

    def drop(self, key: FileKey) -> None:
        """Forget a video."""
        del self._places[key]

    def __getitem__(self, key: FileKey) -> OpenedVideo:
        """Return a video with its frames, which are not a copy."""
        return replace(self._places[key][1], frames=self._frames(key))

    def __getstate__(self) -> dict:
        if self._block.is_shared():
            return self.__dict__
        return {"_places": {}, "_block": torch.empty(0, dtype=torch.uint8)}

    def _frames(self, key: FileKey) -> np.ndarray:
        """Return the room of a video."""
        start, video = self._places[key]
        return self._block[start : start + math.prod(video.shape)].view(video.shape).numpy()
