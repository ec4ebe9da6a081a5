"""Clips and pictures drawn from a mixture of sources, by number.

Why this file exists: pretraining wants an endless supply of samples that does not depend on who asks for them, in which
order, or after how many interruptions: each sample follows from the seed and its number. Real data holds broken, short
and oddly timed files; one that cannot be used is replaced and named, never silently.

Letters: T frames of a clip, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vjepa_wm.checks import check_at_least, check_positive, check_within
from vjepa_wm.data.clips.bad_files import UNUSABLE, tell_bad
from vjepa_wm.data.clips.clip_sources import ClipSource
from vjepa_wm.data.clips.clip_times import count_starts, nearest
from vjepa_wm.data.clips.file_pools import PicturePool, VideoPool
from vjepa_wm.data.clips.opened_video import OpenedVideo
from vjepa_wm.data.clips.sample_order import SampleOrder
from vjepa_wm.data.randomness import generator_for

_ORDER, _CLIP, _PICTURE = (int.from_bytes(word) for word in (b"orde", b"clip", b"pict"))  # purposes of a draw
_MAX_REPORTED = 20


class ClipMixture:
    """Random clips and pictures of some sources; files are opened when they are drawn (`open_mixture`: ahead).

    Sources take turns by their weights, exactly so over every 10,000 numbers; the files of a source come in a random
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
        videos: the videos.
    """

    def __init__(
        self,
        sources: Sequence[ClipSource],
        weights: Sequence[float] | None = None,
        *,
        num_frames: int,
        fps: float,
        seed: int,
        max_bad_share: float = 0.1,
    ):
        """Fix what comes at which number; no file is opened.

        Args:
            sources: where to draw from, as from `find_clip_source`.
            weights: share of each source, positive; videos are dealt out among the sources that have any, and so are
                pictures. None is by the number of files.
            num_frames: frames of a clip, T.
            fps: frames per second of a clip.
            seed: decides everything that is drawn.
            max_bad_share: largest share of bad files that is only reported, 0 to 1, judged from 100 opened ones on.

        Raises:
            ValueError: if an argument breaks its rule.
        """
        _check(sources, weights, num_frames, fps, max_bad_share)
        self.num_frames, self.fps, self._seed = num_frames, fps, seed
        self._offsets = np.arange(num_frames) / fps
        self._sources = sources
        videos, pictures = [source.videos for source in sources], [source.pictures for source in sources]
        self.videos = VideoPool([files for files in videos if len(files)], max_bad_share)
        self._pictures = PicturePool([files for files in pictures if len(files)], max_bad_share)
        self._video_order = self._order(_CLIP, videos, weights)
        self._picture_order = self._order(_PICTURE, pictures, weights)

    @property
    def clip_s(self) -> float:
        """Time from the first to the last frame of a clip [s]."""
        return float(self._offsets[-1])

    def video(self, number: int) -> torch.Tensor:
        """Return a clip.

        Args:
            number: which one, from 0 on.

        Returns:
            uint8 RGB, (T, H, W, 3); H and W differ from video to video as the files do.

        Raises:
            ValueError: if the sources hold no video.
            VideoError: if by now too many files are bad.
        """
        if self._video_order is None:
            raise ValueError(f"sources hold no video to draw clips from: {self._names()}")
        return self._draw(self.videos, self._video_order, _CLIP, number, self._take_clip)

    def picture(self, number: int) -> torch.Tensor:
        """Return a picture, or a frame of a video where the sources hold no picture.

        Args:
            number: which one, from 0 on.

        Returns:
            uint8 RGB, (1, H, W, 3).

        Raises:
            ValueError: if the sources hold nothing.
            VideoError: if by now too many files are bad.
        """
        if self._picture_order is not None:
            return self._draw(self._pictures, self._picture_order, _PICTURE, number, lambda picture, generator: picture)
        if self._video_order is not None:
            return self._draw(self.videos, self._video_order, _PICTURE, number, _take_frame)
        raise ValueError(f"sources hold nothing to draw pictures from: {self._names()}")

    @property
    def bad(self) -> dict[Path, str]:
        """The files found bad by this process so far, with the reason; a part of a file ends in its times."""
        return self.videos.bad.reasons | self._pictures.bad.reasons

    def report(self) -> str:
        """Say in a few lines how much there is, how much of it is in memory, and what is bad."""
        lines = [f"{s.name}: {len(s.videos)} videos, {len(s.pictures)} pictures" for s in self._sources]
        if self.videos.hours is not None:
            decoded = self.videos.decoded
            size = decoded.num_bytes / 2**30
            lines.append(f"{self.videos.hours:.2f} h of video; {len(decoded)} videos in memory, {size:.2f} GiB")
        lines += self.videos.bad.report() + self._pictures.bad.report()
        bad = list(self.bad.items())
        lines += [f"bad: {tell_bad(name, reason)}" for name, reason in bad[:_MAX_REPORTED]]
        if len(bad) > _MAX_REPORTED:
            lines.append(f"bad: and {len(bad) - _MAX_REPORTED} more")
        return "\n".join(lines)

    def _names(self) -> str:
        return ", ".join(source.name for source in self._sources)

    def _order(self, purpose: int, lists: Sequence[Sequence], weights: Sequence[float] | None) -> SampleOrder | None:
        """Make the order of videos or pictures, of the sources that have any."""
        having = [i for i, files in enumerate(lists) if len(files)]
        if not having:
            return None
        seed = int(generator_for(_ORDER, self._seed, purpose).initial_seed())
        chosen = None if weights is None else [weights[i] for i in having]
        return SampleOrder(seed, [len(lists[i]) for i in having], chosen)

    def _draw(
        self,
        pool: VideoPool | PicturePool,
        order: SampleOrder,
        purpose: int,
        number: int,
        take: Callable[[Any, torch.Generator], torch.Tensor],
    ) -> torch.Tensor:
        """Take a sample from what the pool has at a number, or from random others of its list while it is bad."""
        check_at_least(0, number=number)
        which, index = order[number]
        attempt = 0
        while True:
            generator = generator_for(purpose, self._seed, number, attempt)
            if attempt:
                index = int(torch.randint(order.sizes[which], (), generator=generator))
            pool.bad.note_opened((which, index))
            pool.bad.check()
            try:
                return take(pool[which, index], generator)
            except UNUSABLE as error:
                pool.bad.note_bad((which, index), error, warn=True)
                attempt += 1

    def _take_clip(self, video: OpenedVideo, generator: torch.Generator) -> torch.Tensor:
        times = video.scan.times
        start = int(torch.randint(count_starts(times, self.clip_s), (), generator=generator))
        return torch.from_numpy(video.read(nearest(times, times[start] + self._offsets)))


def _take_frame(video: OpenedVideo, generator: torch.Generator) -> torch.Tensor:
    ids = torch.randint(len(video.scan.times), (1,), generator=generator)
    return torch.from_numpy(video.read(ids.numpy()))


def _check(
    sources: Sequence[ClipSource], weights: Sequence[float] | None, num_frames: int, fps: float, max_bad_share: float
) -> None:
    if not sources:
        raise ValueError("sources must name at least one source, got none")
    if weights is not None and len(weights) != len(sources):
        raise ValueError(f"weights must be one for each of {len(sources)} sources, got {list(weights)}")
    check_at_least(1, num_frames=num_frames)
    check_positive(fps=fps)
    check_within(0, 1, max_bad_share=max_bad_share)
