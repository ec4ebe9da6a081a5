"""Decoded frames to RGB arrays, turned and mirrored as players show them.

Letters: H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import av
import numpy as np
from av.video.reformatter import VideoReformatter


def rgb_converter() -> Callable[[av.VideoFrame], np.ndarray]:
    """Make a function from a decoded frame to uint8 RGB (H, W, 3), to be used in one thread."""
    # One converter kept over all frames: setting one up per frame costs twenty times the conversion itself.
    reformatter = VideoReformatter()

    def to_rgb(frame: av.VideoFrame) -> np.ndarray:
        """Convert a frame, upright."""
        array = reformatter.reformat(frame, format="rgb24", interpolation="BICUBIC").to_ndarray()
        return _as_shown(array, _display_matrix(frame))

    return to_rgb


def _display_matrix(frame: av.VideoFrame) -> tuple[int, ...]:
    """Return how a frame is to be turned and mirrored: a, b, c, d for x' = ax + cy, y' = bx + dy."""
    try:
        noted = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # beside the frame lies something that PyAV does not know yet, and it shows none of it
        turns = {90: (0, -1, 1, 0), -90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), -180: (-1, 0, 0, -1)}
        return turns.get(frame.rotation, (1, 0, 0, 1))
    if noted is None:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = np.frombuffer(cast(bytes, noted), np.int32).tolist()
    return a, b, c, d


def _as_shown(array: np.ndarray, matrix: tuple[int, ...]) -> np.ndarray:
    """Turn and mirror a stored frame (H, W, 3) as players show it: telephones store lying pictures and such a note."""
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):  # columns become rows
        array, a, d = array.swapaxes(0, 1), c, b
    return array[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
