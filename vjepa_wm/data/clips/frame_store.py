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
from collections.abc import Hashable, Mapping

import numpy as np
import torch

logger = logging.getLogger(__name__)
SHARED_MEMORY = "/dev/shm"


class FrameStore:
    """Room for some videos. Forked processes share it; others do if it was made with `share`, or else start empty."""

    def __init__(self, shapes: Mapping[Hashable, tuple[int, ...]], max_bytes: int, *, share: bool = False):
        """Make room for the videos that fit, in order.

        Args:
            shapes: shape of each video, (T, H, W, 3), by its key.
            max_bytes: memory to use at most [bytes].
            share: whether to put them where all processes of the machine can reach them; where that is too small, a
                warning is logged and they are not.
        """
        self._places: dict[Hashable, tuple[int, tuple[int, ...]]] = {}
        size = 0
        for key, shape in shapes.items():
            if size + math.prod(shape) <= max_bytes:
                self._places[key] = size, shape
                size += math.prod(shape)
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

    def __contains__(self, key: Hashable) -> bool:
        return key in self._places

    @property
    def keys(self) -> list[Hashable]:
        """Keys of the videos."""
        return list(self._places)

    @property
    def num_bytes(self) -> int:
        """Memory that the videos take [bytes]."""
        return sum(math.prod(shape) for _, shape in self._places.values())

    def put(self, key: Hashable, frames: np.ndarray) -> None:
        """Copy a video to where there is room for it."""
        self[key].copy_(torch.from_numpy(frames))

    def drop(self, key: Hashable) -> None:
        """Forget a video."""
        del self._places[key]

    def __getitem__(self, key: Hashable) -> torch.Tensor:
        """Return a video, uint8 RGB (T, H, W, 3), not a copy."""
        start, shape = self._places[key]
        return self._block[start : start + math.prod(shape)].view(shape)

    def __getstate__(self) -> dict:
        if self._block.is_shared():
            return self.__dict__
        return {"_places": {}, "_block": torch.empty(0, dtype=torch.uint8)}
