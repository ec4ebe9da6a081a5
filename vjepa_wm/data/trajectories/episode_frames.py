"""Frames of an episode of a trajectory data set, out of a video or out of pictures within a parquet file.

Why this file exists: recorders store cameras in both ways, and a lower rate needs only some of the frames.

Letters: T frames of an episode, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from vjepa_wm.data.media.pictures import PictureError, decode_picture
from vjepa_wm.data.media.random_access import VideoScan, read_frames_at, scan_video
from vjepa_wm.data.trajectories.metadata_checks import TrajectoryError, check_columns, open_parquet


def num_kept(length: int, stride: float) -> int:
    """Count what `kept_frames` chooses."""
    return math.floor((length - 1) / stride + 1e-9) + 1


def kept_frames(length: int, stride: float) -> np.ndarray:
    """Choose frames at a lower rate: of each wanted moment the nearest frame, of two equally near ones the earlier.

    Args:
        length: frames of the episode.
        stride: recorded frames from a wanted moment to the next, at least 1; it need not be whole.

    Returns:
        Their numbers, increasing from 0.
    """
    moments = np.arange(num_kept(length, stride)) * stride
    return np.ceil(moments - 0.5 - 1e-9).astype(np.int64)


def read_video_frames(path: Path, start_s: float, end_s: float, kept: np.ndarray, length: int) -> np.ndarray:
    """Decode frames of an episode that lie in a part of a video.

    Args:
        path: video file.
        start_s: time from which the episode's frames lie in it [s].
        end_s: time before which they lie [s].
        kept: which of its frames are wanted, increasing.
        length: frames that the episode should have.

    Returns:
        uint8 RGB, (len(kept), H, W, 3).

    Raises:
        FileNotFoundError: if there is no such file.
        TrajectoryError: if the part holds another number of frames.
        VideoError: if it cannot be decoded.
    """
    scan = scan_part(path, start_s, end_s, length)
    return read_frames_at(path, scan.times[kept], key_times=scan.key_times)


def scan_part(path: Path, start_s: float, end_s: float, length: int) -> VideoScan:
    """Find the frames of an episode in a part of a video without decoding them; arguments and errors as above."""
    scan = scan_video(path, start_s, end_s)
    if len(scan.times) != length:
        raise TrajectoryError(f"an episode has {length} frames, its video {path} {len(scan.times)}")
    return scan


def read_pictures(path: Path, column: str, episode: int, kept: np.ndarray, length: int) -> np.ndarray:
    """Decode pictures of an episode that are stored within a parquet file.

    Args:
        path: parquet file.
        column: column of the camera; its rows hold files (png, jpg) as bytes, read as `read_picture` does.
        episode: number of the episode.
        kept: which of its frames are wanted, increasing.
        length: frames that the episode should have.

    Returns:
        uint8 RGB, (len(kept), H, W, 3).

    Raises:
        FileNotFoundError: if there is no such file.
        TrajectoryError: if the file is damaged, the column is missing, a picture is missing, damaged or of more than 8
            bits per colour, sizes differ, or the file holds another number of frames.
    """
    with open_parquet(path) as file:
        check_columns(path, [column, "frame_index", "episode_index"], file.schema_arrow.names)
        # Read through the filter, so that only the parts of the file that hold the episode are loaded.
        wanted = [("episode_index", "=", episode)]
        table = pq.read_table(path, columns=["frame_index", column], filters=wanted, partitioning=None)
        table = table.sort_by("frame_index")
    if len(table) != length:
        raise TrajectoryError(f"episode {episode} has {length} frames, its parquet file {path} {len(table)}")
    cells = table.column(column).take(kept).to_pylist()
    label = f"{column!r}, episode {episode} of {path}"
    pictures = [_decode(cell, f"frame {frame}, column {label}") for frame, cell in zip(kept, cells, strict=True)]
    if len({picture.shape for picture in pictures}) > 1:
        raise TrajectoryError(f"pictures change their size in column {column!r}, episode {episode} of {path}")
    return np.stack(pictures)


def _decode(cell: object, label: str) -> np.ndarray:
    content = cell.get("bytes") if isinstance(cell, Mapping) else None
    if not isinstance(content, bytes) or not content:
        raise TrajectoryError(f"pictures must be stored within the file, got none in {label}")
    try:
        return decode_picture(content, label)
    except PictureError as error:
        raise TrajectoryError(str(error)) from error
