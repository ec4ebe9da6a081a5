"""Clips of equal length and rate, drawn from many video files.

Why this file exists: pretraining wants an endless supply of clips, while folders of real videos hold broken, short and
oddly timed files. Each file is scanned once at the start; one that cannot be used is left out, counted and named,
never silently replaced.

Letters: T frames of a clip, H height, W width.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from vjepa_wm.data.video import VideoError, VideoScan, read_frames, read_frames_at, scan_video

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class _Video:
    """A usable file: its path, what the scan found, its valid starts, and its frames (all T, H, W, 3) when kept."""

    path: Path
    scan: VideoScan
    num_starts: int
    frames: np.ndarray | None = None

    @property
    def num_bytes(self) -> int:
        return len(self.scan.times) * self.scan.height * self.scan.width * 3


class VideoClips:
    """Random clips from video files, by real time.

    A clip starts at the time stamp of some frame. Its k-th frame is the one whose time stamp is nearest to start + k /
    fps, the earlier of two equally near, so a video slower than `fps` repeats frames and a faster one skips some. A
    start is valid when the last wanted time lies within the video; every valid start of every video is equally likely.
    A video shorter than a clip but at least half as long has one start, its first frame, and repeats its last frame; a
    still shorter one is bad ("too short").

    Videos are decoded into memory in the order given while they fit into `cache_bytes`; from the others each clip is
    decoded when it is drawn.

    Attributes:
        bad: the files left out, as (path, reason).
        num_videos: files in use.
        hours: their length [h].
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike],
        *,
        num_frames: int,
        fps: float,
        image_size: int | None = None,
        cache_bytes: int = 4 * 2**30,
        max_bad_share: float = 0.1,
        num_threads: int | None = None,
        progress: bool = False,
    ):
        """Scan all files and decode what fits into memory.

        Args:
            paths: video files, as from `find_videos`.
            num_frames: frames of a clip, T.
            fps: frames per second of a clip.
            image_size: length the short side is scaled to on decoding [pixels]; None keeps each file's own size.
            cache_bytes: memory for decoded frames [bytes].
            max_bad_share: largest share of unusable files that is only reported, 0 to 1.
            num_threads: files scanned at once; None is one per processor core.
            progress: whether to show progress bars.

        Raises:
            ValueError: an argument breaks its rule.
            VideoError: more files than `max_bad_share` are bad, or none is left.
        """
        if num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, got {num_frames}")
        if not fps > 0:
            raise ValueError(f"fps must be positive, got {fps}")
        if image_size is not None and image_size < 1:
            raise ValueError(f"image_size must be at least 1 pixel or None, got {image_size}")
        if not 0 <= max_bad_share <= 1:
            raise ValueError(f"max_bad_share must be from 0 to 1, got {max_bad_share}")
        if not paths:
            raise ValueError("paths must name at least one video, got none")
        self._offsets = np.arange(num_frames) / fps
        self._image_size = image_size
        self._max_bad_share = max_bad_share
        self._num_threads = num_threads or os.cpu_count() or 1
        self._num_paths = len(paths)
        self.bad: list[tuple[Path, str]] = []

        videos = self._each(self._scan, [Path(path) for path in paths], "scan videos" if progress else None)
        fitting = []
        for video in videos:
            if video.num_bytes <= cache_bytes:
                cache_bytes -= video.num_bytes
                fitting.append(video)
        self._each(self._load, fitting, "decode videos" if progress else None)
        left_out = {path for path, _ in self.bad}
        self._videos = [video for video in videos if video.path not in left_out]
        self._last_start = np.cumsum([video.num_starts for video in self._videos])
        self.num_videos = len(self._videos)
        self.hours = sum(float(video.scan.times[-1] - video.scan.times[0]) for video in self._videos) / 3600
        for path, reason in self.bad:
            logger.warning("left out %s: %s", path, reason)

    def __len__(self) -> int:
        """Count the valid starts of all videos."""
        return int(self._last_start[-1])

    def __getitem__(self, index: int) -> torch.Tensor:
        """Decode the clip of one valid start.

        Args:
            index: number of the start, 0 to len - 1, videos in order.

        Returns:
            uint8 RGB, (T, H, W, 3).

        Raises:
            IndexError: index out of range.
            VideoError: the file cannot be decoded there.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index must be from 0 to {len(self) - 1}, got {index}")
        number = int(np.searchsorted(self._last_start, index, side="right"))
        video = self._videos[number]
        start = index - (int(self._last_start[number - 1]) if number else 0)
        times = video.scan.times
        ids = nearest(times, times[start] + self._offsets)
        if video.frames is not None:
            return torch.from_numpy(video.frames[ids])
        wanted, positions = np.unique(times[ids], return_inverse=True)
        return torch.from_numpy(read_frames_at(video.path, wanted, image_size=self._image_size)[positions])

    def sample(self, generator: torch.Generator) -> torch.Tensor:
        """Draw a clip; every valid start of every video is equally likely.

        A file that turns out to be broken only now is added to `bad`, and another clip is drawn.

        Args:
            generator: source of randomness.

        Returns:
            uint8 RGB, (T, H, W, 3); H and W differ from video to video as the files do.

        Raises:
            VideoError: by now more files than `max_bad_share` are bad.
        """
        while True:
            index = int(torch.randint(len(self), (), generator=generator))
            path = self._videos[int(np.searchsorted(self._last_start, index, side="right"))].path
            if path in (left_out for left_out, _ in self.bad):
                continue
            try:
                return self[index]
            except VideoError as error:
                logger.warning("left out %s: %s", path, error)
                self.bad.append((path, str(error)))
                self._check_bad_share()

    def report(self) -> str:
        """Say in a few lines how much there is, how much of it is in memory and what was left out."""
        kept = [video for video in self._videos if video.frames is not None]
        size = sum(video.num_bytes for video in kept) / 2**30
        lines = [
            f"{self.num_videos} videos, {self.hours:.2f} h, {len(self)} clips; {len(kept)} in memory, {size:.2f} GiB"
        ]
        lines += [f"left out {path}: {reason}" for path, reason in self.bad]
        return "\n".join(lines)

    def _each(self, function: Callable, items: Sequence, title: str | None) -> list:
        """Run a function over items in threads, in order; a VideoError puts the item's path on the list of bad ones."""
        results = []
        with ThreadPoolExecutor(self._num_threads) as pool:
            futures = [pool.submit(function, item) for item in items]
            for item, future in zip(items, _bar(futures, title), strict=True):
                try:
                    results.append(future.result())
                except VideoError as error:
                    self.bad.append((item.path if isinstance(item, _Video) else item, str(error)))
        self._check_bad_share()
        return results

    def _check_bad_share(self) -> None:
        if len(self.bad) <= self._max_bad_share * self._num_paths and len(self.bad) < self._num_paths:
            return
        examples = "\n".join(f"  {path}: {reason}" for path, reason in self.bad[:5])
        raise VideoError(
            f"{len(self.bad)} of {self._num_paths} videos are bad, "
            f"max_bad_share is {self._max_bad_share}; the first ones:\n{examples}"
        )

    def _scan(self, path: Path) -> _Video:
        scan = scan_video(path, image_size=self._image_size)
        return _Video(path=path, scan=scan, num_starts=count_starts(scan.times, float(self._offsets[-1])))

    def _load(self, video: _Video) -> None:
        frames, times = read_frames(video.path, image_size=self._image_size)
        if len(times) != len(video.scan.times):
            raise VideoError(f"only {len(times)} of {len(video.scan.times)} frames can be decoded")
        video.frames = frames


def count_starts(times: np.ndarray, clip_s: float) -> int:
    """Count the frames of a video at which a clip can start.

    Args:
        times: time stamps of the video's frames, increasing [s], (num_video_frames,).
        clip_s: time from the first to the last frame of a clip [s].

    Returns:
        Number of valid starts, which are the first ones; at least 1.

    Raises:
        VideoError: the video is shorter than half a clip, or is a single picture while the clip is not.
    """
    length_s = times[-1] - times[0]
    if clip_s > 0 and (len(times) < 2 or length_s < clip_s / 2):
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


def _bar(items: Iterable, title: str | None) -> Iterable:
    return tqdm(items, desc=title, unit="video", disable=title is None)
