"""Which frames make a clip, by the times at which they are shown.

Why this file exists: videos carry frames at any rate and at uneven ones, while a clip has a rate of its own.

Letters: T frames of a clip.
"""

from __future__ import annotations

import numpy as np

from vjepa_wm.data.media.video import VideoError


def count_starts(times: np.ndarray, clip_s: float) -> int:
    """Count the frames of a video at which a clip can start.

    Args:
        times: time stamps of the video's frames, increasing [s], (num_video_frames,).
        clip_s: time from the first to the last frame of a clip [s].

    Returns:
        Number of valid starts, which are the first ones; at least 1.

    Raises:
        VideoError: if the video is shorter than half a clip, or is a single picture while the clip is not.
    """
    length_s = times[-1] - times[0]
    if clip_s > 0 and (len(times) < 2 or length_s < clip_s / 2 - 1e-9):  # times are sums
        raise VideoError(f"too short: {length_s:.2f} s ({len(times)} frames), while a clip takes {clip_s:.2f} s")
    # The last frame also stands for the times just after it, up to half the usual gap between two frames.
    end = times[-1] + (np.median(np.diff(times)) / 2 if len(times) > 1 else 0)
    return max(1, int(np.searchsorted(times, end - clip_s, side="right")))


def nearest(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Find for each wanted time the nearest time stamp, the earlier of two equally near.

    Args:
        times: time stamps, increasing [s], (num_video_frames,).
        wanted: wanted times [s], (T,).

    Returns:
        Index into `times`, (T,).
    """
    middles = (times[1:] + times[:-1]) / 2
    return np.searchsorted(middles, wanted - 1e-9, side="left")
