"""Labelled clips of a bright square that goes right, left, down or up: told apart by motion alone."""

from __future__ import annotations

import numpy as np

from vjepa_wm.data.media.video import write_video

WAYS = {"down": (1, 0), "left": (0, -1), "right": (0, 1), "up": (-1, 0)}


def write_squares(folder, *, per_class=6, num_frames=8, seed=0, ways=tuple(WAYS)):
    """Write folders of clips of 32 px, a folder for each way; where the square begins is drawn."""
    rng = np.random.default_rng(seed)
    for way in ways:
        for number in range(per_class):
            frames = np.full((num_frames, 32, 32, 3), 40, np.uint8)
            row, column = rng.integers(0, 24, 2)
            for t, frame in enumerate(frames):
                y, x = (row + 3 * t * WAYS[way][0]) % 32, (column + 3 * t * WAYS[way][1]) % 32
                frame[y : y + 8, x : x + 8] = 230
            write_video(folder / way / f"{number}.mp4", frames, 8)
    return folder
