"""Clips and pictures drawn from a mixture of sources, by number.

Why this file exists: pretraining wants an endless supply of samples that does not depend on who asks for them, in which
order, or after how many interruptions: each sample follows from the seed and its number. Real data holds broken, short
and oddly timed files; one that cannot be used is replaced and named, never silently.

Letters: T frames of a clip, H height, W width.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from vjepa_wm.data.clips.bad_files import BadFiles
from vjepa_wm.data.clips.clip_sources import ClipSource
from vjepa_wm.data.clips.clip_times import count_starts, nearest
from vjepa_wm.data.clips.file_lists import ListedVideo
from vjepa_wm.data.clips.frame_store import FrameStore
from vjepa_wm.data.clips.opened_video import OpenedVideo, RecentVideos, open_listed
from vjepa_wm.data.clips.sample_order import SampleOrder
from vjepa_wm.data.media.pictures import PictureError, read_picture
from vjepa_wm.data.media.video import VideoError
from vjepa_wm.data.randomness import generator_for

logger = logging.getLogger(__name__)

_BAD = (VideoError, PictureError, OSError)
_ORDER, _CLIP, _PICTURE = (int.from_bytes(word) for word in (b"orde", b"clip", b"pict"))  # purposes of a draw
_MAX_RECENT_FRAMES = 2**24  # whose times take 128 MiB
_MAX_REPORTED = 20

Key = tuple[int, int]  # number of a list of items, and of the item in it


class ClipMixture:
    """Random clips and pictures of some sources.

    Sources take turns by their weights, exactly so over every 10,000 numbers; the items of a source come in a random
    order that visits each of them once before any comes again.

    A clip starts at the time stamp of some frame of a video, each valid start being equally likely. Its k-th frame is
    the one whose time stamp is nearest to start + k / fps, the earlier of two equally near, so a video slower than
    `fps` repeats frames and a faster one skips some. A start is valid when the last wanted time lies within the video.
    A video shorter than a clip but at least half as long has one start, its first frame, and repeats its last frame; a
    still shorter one is bad ("too short").

    A sample whose file is bad becomes one of a random other file of the same source.

    Attributes:
        num_frames: frames of a clip, T.
        fps: frames per second of a clip.
    """

    def __init__(
        self,
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
    ):
        """Open the videos and decode what fits into memory, unless there are too many.

        Args:
            sources: where to draw from, as from `find_clip_source`.
            weights: share of each source, positive; videos are dealt out among the sources that have any, and so are
                pictures. None is by the number of items.
            num_frames: frames of a clip, T.
            fps: frames per second of a clip.
            seed: decides everything that is drawn.
            cache_bytes: memory for decoded videos [bytes].
            max_bad_share: largest share of bad files that is only reported, 0 to 1, judged from 100 opened ones on.
            open_at_start: number of videos up to which they are opened and kept in memory at once; of more, each is
                opened when it is drawn.
            share_memory: whether to keep decoded videos where spawned processes reach them too (forked ones always
                do); without, spawned ones decode for themselves.
            num_threads: files opened at once; None is one per processor core.
            progress: whether to show progress bars.

        Raises:
            ValueError: an argument breaks its rule.
            VideoError: too many files are bad.
        """
        _check(sources, weights, num_frames, fps, max_bad_share)
        self.num_frames, self.fps, self._seed = num_frames, fps, seed
        self._offsets = np.arange(num_frames) / fps
        self._sources = sources
        self._num_threads = num_threads or os.cpu_count() or 1
        self._video_lists = [source.videos for source in sources if len(source.videos)]
        self._picture_lists = [source.pictures for source in sources if len(source.pictures)]
        self._video_order = self._order(_CLIP, [source.videos for source in sources], weights)
        self._picture_order = self._order(_PICTURE, [source.pictures for source in sources], weights)
        self._bad_videos = BadFiles("videos", [len(items) for items in self._video_lists], max_bad_share)
        self._bad_pictures = BadFiles("pictures", [len(items) for items in self._picture_lists], max_bad_share)
        self._recent = RecentVideos(_MAX_RECENT_FRAMES)
        self._hours: float | None = None
        self._is_open = False
        opened: dict[Key, OpenedVideo] = {}
        if self._video_lists and sum(map(len, self._video_lists)) <= open_at_start:
            opened = self._open_all(progress)
        self._store = FrameStore(
            {key: footage.shape for key, footage in opened.items()}, cache_bytes, share=share_memory
        )
        self._stored = {key: opened[key] for key in self._store.keys}
        self._decode_stored(progress)
        self._is_open = True

    def video(self, number: int) -> torch.Tensor:
        """Return a clip.

        Args:
            number: which one, from 0 on.

        Returns:
            uint8 RGB, (T, H, W, 3); H and W differ from video to video as the files do.

        Raises:
            ValueError: the sources hold no video.
            VideoError: by now too many files are bad.
        """
        if self._video_order is None:
            raise ValueError(f"sources hold no video to draw clips from: {self._names}")
        return self._draw(self._video_order, _CLIP, number, self._take_clip, self._bad_videos)

    def picture(self, number: int) -> torch.Tensor:
        """Return a picture, or a frame of a video where the sources hold no picture.

        Args:
            number: which one, from 0 on.

        Returns:
            uint8 RGB, (1, H, W, 3).

        Raises:
            VideoError: by now too many files are bad.
        """
        if self._picture_order is None:
            return self._draw(self._video_order, _PICTURE, number, self._take_frame, self._bad_videos)
        return self._draw(self._picture_order, _PICTURE, number, self._take_picture, self._bad_pictures)

    @property
    def bad(self) -> dict[Path, str]:
        """The files found bad by this process so far, with the reason; a part of a file ends in its times."""
        return self._bad_videos.reasons | self._bad_pictures.reasons

    def report(self) -> str:
        """Say in a few lines how much there is, how much of it is in memory, and what is bad."""
        lines = [f"{s.name}: {len(s.videos)} videos, {len(s.pictures)} pictures" for s in self._sources]
        if self._hours is not None:
            size = self._store.num_bytes / 2**30
            lines.append(f"{self._hours:.2f} h of video; {len(self._store)} videos in memory, {size:.2f} GiB")
        for files, kind in ((self._bad_videos, "videos"), (self._bad_pictures, "pictures")):
            if files.num_opened:
                lines.append(f"{files.num_bad} of {files.num_opened} opened {kind} are bad")
        bad = list(self.bad.items())
        lines += [f"bad: {_told(name, reason)}" for name, reason in bad[:_MAX_REPORTED]]
        if len(bad) > _MAX_REPORTED:
            lines.append(f"bad: and {len(bad) - _MAX_REPORTED} more")
        return "\n".join(lines)

    @property
    def _names(self) -> str:
        return ", ".join(source.name for source in self._sources)

    def _order(self, purpose: int, lists: Sequence[Sequence], weights: Sequence[float] | None) -> SampleOrder | None:
        """Make the order of videos or pictures, of the sources that have any."""
        having = [i for i, items in enumerate(lists) if len(items)]
        if not having:
            return None
        seed = int(generator_for(_ORDER, self._seed, purpose).initial_seed())
        chosen = None if weights is None else [weights[i] for i in having]
        return SampleOrder(seed, [len(lists[i]) for i in having], chosen)

    def _draw(
        self,
        order: SampleOrder,
        purpose: int,
        number: int,
        take: Callable[[Key, torch.Generator], torch.Tensor],
        files: BadFiles,
    ) -> torch.Tensor:
        """Take a sample from the item that comes at a number, or from random others of its list while it is bad."""
        if number < 0:
            raise ValueError(f"number must be at least 0, got {number}")
        which, index = order[number]
        attempt = 0
        while True:
            generator = generator_for(purpose, self._seed, number, attempt)
            if attempt:
                index = int(torch.randint(order.sizes[which], (), generator=generator))
            files.note_opened(which, index)
            files.check()
            try:
                return take((which, index), generator)
            except _BAD as error:
                self._note_bad(files, (which, index), error)
                attempt += 1

    def _take_clip(self, key: Key, generator: torch.Generator) -> torch.Tensor:
        footage = self._open(key)
        times = footage.scan.times
        start = int(torch.randint(count_starts(times, float(self._offsets[-1])), (), generator=generator))
        return self._read(key, footage, nearest(times, times[start] + self._offsets))

    def _take_frame(self, key: Key, generator: torch.Generator) -> torch.Tensor:
        footage = self._open(key)
        return self._read(key, footage, torch.randint(len(footage.scan.times), (1,), generator=generator).numpy())

    def _take_picture(self, key: Key, generator: torch.Generator) -> torch.Tensor:
        return torch.from_numpy(read_picture(self._picture_lists[key[0]][key[1]])[None])

    def _read(self, key: Key, footage: OpenedVideo, ids: np.ndarray) -> torch.Tensor:
        if key in self._store:
            return self._store[key][torch.from_numpy(ids)]
        return torch.from_numpy(footage.read(ids))

    def _open(self, key: Key) -> OpenedVideo:
        footage = self._stored.get(key) or self._recent.get(key)
        if footage is None:
            (footage,) = open_listed([self._item(key)])
            self._recent.add(key, footage)
        return footage

    def _item(self, key: Key) -> ListedVideo:
        return self._video_lists[key[0]][key[1]]

    def _note_bad(self, files: BadFiles, key: Key, error: Exception) -> None:
        name = self._item(key).label if files is self._bad_videos else self._picture_lists[key[0]][key[1]]
        if self._is_open and name not in files.reasons:  # before, `report` is about to name them all
            logger.warning("bad file: %s", _told(name, str(error)))
        files.note_bad(*key, name, str(error))

    def _open_all(self, progress: bool) -> dict[Key, OpenedVideo]:
        """Open all videos, files that hold several of them once; check that clips can be drawn from them."""
        groups: dict[object, list[Key]] = {}
        for which, items in enumerate(self._video_lists):
            for index, item in enumerate(items):
                self._bad_videos.note_opened(which, index)
                groups.setdefault(item.path if item.start_s is not None else (which, index), []).append((which, index))
        opened: dict[Key, OpenedVideo] = {}

        def open_group(keys: list[Key]) -> list[OpenedVideo | VideoError]:
            return open_listed([self._item(key) for key in keys])

        for keys, result in self._in_threads(open_group, groups.values(), "open videos" if progress else None):
            results = [result] * len(keys) if isinstance(result, Exception) else result
            for key, footage in zip(keys, results, strict=True):
                try:
                    if isinstance(footage, Exception):
                        raise footage
                    count_starts(footage.scan.times, float(self._offsets[-1]))
                except _BAD as error:
                    self._note_bad(self._bad_videos, key, error)
                else:
                    opened[key] = footage
                    self._recent.add(key, footage)
        self._bad_videos.check()
        spans = [footage.scan.times for footage in opened.values()]
        self._hours = sum(float(times[-1] - times[0]) for times in spans) / 3600
        return dict(sorted(opened.items()))

    def _decode_stored(self, progress: bool) -> None:
        """Decode the videos that there is room for."""

        def decode(key: Key) -> None:
            self._store.put(key, self._stored[key].read_all())

        for key, error in self._in_threads(decode, self._store.keys, "decode videos" if progress else None):
            if error is not None:
                # Some of its clips may be intact; whether they are drawn must not depend on what is in memory.
                self._note_bad(self._bad_videos, key, error)
                self._store.drop(key)
        self._bad_videos.check()

    def _in_threads(self, function: Callable, items: Sequence, title: str | None) -> Iterator[tuple]:
        """Yield (item, result of the function or why the file is bad) in order."""
        with ThreadPoolExecutor(self._num_threads) as pool:
            futures = [pool.submit(function, item) for item in items]
            bar = tqdm(futures, desc=title, unit="video", disable=title is None or not futures)
            for item, future in zip(items, bar, strict=True):
                error = future.exception()
                if error is not None and not isinstance(error, _BAD):
                    raise error
                yield item, error or future.result()


def _told(name: Path, reason: str) -> str:
    """Put a file before the reason, unless that names it."""
    return reason if str(name) in reason else f"{name}: {reason}"


def _check(
    sources: Sequence[ClipSource], weights: Sequence[float] | None, num_frames: int, fps: float, max_bad_share: float
) -> None:
    if not sources:
        raise ValueError("sources must name at least one source, got none")
    if weights is not None and len(weights) != len(sources):
        raise ValueError(f"weights must be one for each of {len(sources)} sources, got {list(weights)}")
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, got {num_frames}")
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}")
    if not 0 <= max_bad_share <= 1:
        raise ValueError(f"max_bad_share must be from 0 to 1, got {max_bad_share}")
