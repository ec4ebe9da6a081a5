"""From sources to a mixture whose videos are open.

Why this file exists: opening thousands of files takes a while. Done at once and in threads, it shows before the first
sample how many of them are bad, and small data sets can be kept decoded in memory.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tqdm import tqdm

from vjepa_wm.data.clips.bad_files import UNUSABLE
from vjepa_wm.data.clips.clip_mixture import ClipMixture
from vjepa_wm.data.clips.clip_sources import ClipSource
from vjepa_wm.data.clips.clip_times import count_starts
from vjepa_wm.data.clips.file_lists import FileKey
from vjepa_wm.data.clips.file_pools import VideoPool
from vjepa_wm.data.clips.frame_store import FrameStore
from vjepa_wm.data.clips.opened_video import OpenedVideo, open_listed
from vjepa_wm.data.media.video import VideoError

logger = logging.getLogger(__name__)


def open_mixture(
    sources: Sequence[ClipSource],
    weights: Sequence[float] | None = None,
    *,
    num_frames: int,
    fps: float,
    seed: int,
    cache_bytes: int,
    max_bad_share: float = 0.1,
    open_at_start: int = 10_000,
    share_memory: bool = False,
    num_threads: int | None = None,
    progress: bool = False,
) -> ClipMixture:
    """Make a mixture, open its videos and decode what fits into memory, unless there are too many.

    What is drawn does not depend on what is opened or decoded ahead.

    Args:
        sources: where to draw from, as from `find_clip_source`.
        weights: share of each source, as `ClipMixture` takes them.
        num_frames: frames of a clip.
        fps: frames per second of a clip.
        seed: decides everything that is drawn.
        cache_bytes: memory for decoded videos [bytes].
        max_bad_share: largest share of bad files that is only reported, 0 to 1, judged from 100 opened ones on.
        open_at_start: number of videos up to which they are opened, and kept in memory, at once; of more, each is
            opened when it is drawn.
        share_memory: whether to keep decoded videos where spawned processes reach them too (forked ones always do);
            without, spawned ones decode for themselves.
        num_threads: files opened at once; None is one per processor core.
        progress: whether to show progress bars.

    Raises:
        ValueError: if an argument breaks its rule.
        VideoError: if too many files are bad.
    """
    mixture = ClipMixture(sources, weights, num_frames=num_frames, fps=fps, seed=seed, max_bad_share=max_bad_share)
    videos = mixture.videos
    if 0 < len(videos) <= open_at_start:
        threads = _Threads(num_threads or os.cpu_count() or 1, progress)
        opened = _open_all(videos, mixture.clip_s, threads)
        videos.decoded = FrameStore(opened, cache_bytes, share=share_memory)
        _decode_all(videos, threads)
    return mixture


@dataclass(frozen=True)
class _Threads:
    """How to work on many files at once."""

    num_threads: int
    """Files worked on at once."""
    progress: bool
    """Whether to show a bar."""

    def run(self, function: Callable, values: Sequence, title: str) -> Iterator[tuple]:
        """Yield (value, result of the function or why the file is bad) in order."""
        with ThreadPoolExecutor(self.num_threads) as pool:
            futures = [pool.submit(function, value) for value in values]
            bar = tqdm(futures, desc=title, unit="video", disable=not self.progress or not futures)
            for value, future in zip(values, bar, strict=True):
                error = future.exception()
                if error is not None and not isinstance(error, UNUSABLE):
                    raise error
                yield value, error or future.result()


def _open_all(videos: VideoPool, clip_s: float, threads: _Threads) -> dict[FileKey, OpenedVideo]:
    """Open all videos, files that hold several of them once; return those that clips can be drawn from, by key."""

    def open_group(keys: list[FileKey]) -> list[OpenedVideo | VideoError]:
        """Open videos of one file."""
        return open_listed([videos.lists[which][index] for which, index in keys])

    opened: dict[FileKey, OpenedVideo] = {}
    for keys, result in threads.run(open_group, _group_by_file(videos), "open videos"):
        results = [result] * len(keys) if isinstance(result, Exception) else result
        for key, video in zip(keys, results, strict=True):
            videos.bad.note_opened(key)
            try:
                if isinstance(video, Exception):
                    raise video
                count_starts(video.scan.times, clip_s)
            except UNUSABLE as error:
                videos.bad.note_bad(key, error, warn=False)  # the report is about to name them all
            else:
                opened[key] = video
                videos.recent.add(key, video)
    videos.bad.check()
    spans = [video.scan.times for video in opened.values()]
    videos.hours = sum(float(times[-1] - times[0]) for times in spans) / 3600
    return dict(sorted(opened.items()))


def _group_by_file(videos: VideoPool) -> list[list[FileKey]]:
    """Put the keys of videos together that are parts of the same file."""
    groups: dict[object, list[FileKey]] = {}
    for which, files in enumerate(videos.lists):
        for index, video in enumerate(files):
            key = which, index
            groups.setdefault(key if video.start_s is None else video.path, []).append(key)
    return list(groups.values())


def _decode_all(videos: VideoPool, threads: _Threads) -> None:
    """Decode the videos that there is room for.

    One of which not every frame can be decoded is left on the disk: whether it is bad is decided by the clips that are
    drawn from it, as it would be with less memory.
    """
    for key, error in threads.run(videos.decoded.decode, videos.decoded.keys, "decode videos"):
        if error is not None:
            logger.warning("not kept in memory, and bad for clips that need what is missing: %s", error)
            videos.decoded.drop(key)
