"""When the frames that come out of a decoder are shown, for files that say it and for those that do not.

Why this file exists: avi stores frames in the order in which they are decoded, each with a place in that order, and no
word of when it is shown. Decoders put them in order; which moment is whose then follows from what they were given.

The decoding stamp (dts) of a packet is its place; the presentation stamp (pts) says when its frame is shown.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Protocol

import av


class Stamps(Protocol):
    """Tells the time stamp of each frame that a decoder returns, beginning with a key frame."""

    first: int | None
    """Stamp of the key frame; what is shown before it cannot be decoded rightly."""

    def give(self, packet: av.Packet) -> None:
        """Note a packet, before it is decoded."""

    def take(self, frame: av.VideoFrame) -> int | None:
        """Return when a frame is shown, frames in the order in which they are decoded; None: nobody knows."""

    def can_begin(self, stamp: int, frame: av.VideoFrame) -> bool:
        """Tell whether from a key frame on stamps can be told without what was before it."""

    @property
    def num_left(self) -> int:
        """Packets whose frames are still to come, where that is known; 0 where it is not."""


def stamped_packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """Yield a stream's packets, the last of them empty; those of avi files with their places as the only stamps."""
    is_avi = container.format.name == "avi"
    for packet in container.demux(stream):
        if is_avi and packet.size:
            packet.pts = packet.dts  # what the video library guesses instead is off where frames are missing
        yield packet


def does_count(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """Tell whether a file stores frames out of order and does not say when they are shown, as avi does."""
    return container.format.name == "avi" and bool(stream.codec_context.has_b_frames)


def find_stamps(container: av.container.InputContainer, stream: av.VideoStream) -> Stamps:
    """Return what tells the stamps of a file's frames, for decoding from one place on."""
    if not does_count(container, stream):
        return StoredStamps()
    return SortedStamps() if stream.codec_context.name == "h264" else DelayedStamps()


class StoredStamps:
    """Stamps that the file says."""

    num_left = 0

    def __init__(self) -> None:
        """Begin with nothing given."""
        self.first: int | None = None
        self._begun = False

    def give(self, packet: av.Packet) -> None:
        """Note the stamp of the key frame."""
        if not self._begun:
            self._begun, self.first = True, packet.pts

    def take(self, frame: av.VideoFrame) -> int | None:
        """Return the frame's own stamp."""
        return frame.pts

    def can_begin(self, stamp: int, frame: av.VideoFrame) -> bool:
        """Return True, as nothing is counted."""
        return True


class DelayedStamps:
    """Places of a codec that returns a frame as soon as the next that is not stored out of order was given (MPEG-4).

    The place of what the decoder was given when a frame came out then is the frame's own. A packet may hold two frames,
    and another none.
    """

    num_left = 0

    def __init__(self) -> None:
        """Begin with nothing given."""
        self.first: int | None = None
        self._given: int | None = None
        self._last: int | None = None

    def give(self, packet: av.Packet) -> None:
        """Note the place of the packet."""
        self.first = packet.dts if self.first is None else self.first
        self._given = packet.dts

    def take(self, frame: av.VideoFrame) -> int | None:
        """Return the place of what was given last, or the next where that was nothing."""
        stamp = frame.dts
        if stamp is None and self._given is not None:
            stamp = max(self._given, self._given if self._last is None else self._last) + 1
        self._last = stamp
        return stamp

    def can_begin(self, stamp: int, frame: av.VideoFrame) -> bool:
        """Return True, as each place stands in its packet."""
        return True


class SortedStamps:
    """Places of a codec whose frames are put in order over any distance, each from a packet of its own (H.264).

    The frame that is shown as the k-th since a key frame has the k-th place since then.
    """

    def __init__(self) -> None:
        """Begin with nothing given."""
        self.first: int | None = None
        self._left: list[int] = []
        self._keys: set[int] = set()
        self._begun = False

    def give(self, packet: av.Packet) -> None:
        """Note the place of the packet."""
        if packet.dts is None:
            return
        self.first = packet.dts if self.first is None else self.first
        heapq.heappush(self._left, packet.dts)
        if packet.is_keyframe:
            self._keys.add(packet.dts)

    def take(self, frame: av.VideoFrame) -> int | None:
        """Return the first place that is left; None if another frame than the key frame is shown first."""
        if not self._left or (not self._begun and frame.pts != self.first):
            return None
        self._begun = True
        return heapq.heappop(self._left)

    def can_begin(self, stamp: int, frame: av.VideoFrame) -> bool:
        """Tell whether a key frame that can be looked for has one place in both orders, so that none crosses it."""
        return stamp == frame.pts and stamp in self._keys

    @property
    def num_left(self) -> int:
        """Packets that were given and whose frames are still to come."""
        return len(self._left)
