"""Any frames of a video, without decoding more of it than they need.

Why this file exists: a clip takes a few frames out of hundreds. What lies between them is skipped: as far as the next
key frame (a frame that needs no other one to be decoded), and frames that no other one needs; and only wanted frames
are turned into colours.

Letters: T frames, H height, W width.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, dropwhile, groupby
from pathlib import Path
from typing import cast

import av
import numpy as np

from vjepa_wm.data.media.media_files import stated_size
from vjepa_wm.data.media.rgb_frames import rgb_converter
from vjepa_wm.data.media.time_stamps import SortedStamps, does_count, find_stamps
from vjepa_wm.data.media.video import (
    LAST_STAMP,
    TIME_TOLERANCE_S,
    VideoError,
    can_seek,
    decode_stamped,
    decode_video,
    open_video,
    whole_packets,
)


@dataclass(frozen=True, kw_only=True)
class VideoScan:
    """What a file holds, found without decoding it."""

    times: np.ndarray
    """Time stamp of every frame, increasing [s], float64 (T,)."""
    key_times: np.ndarray
    """Time stamp of every key frame that decoding can begin with, increasing [s]."""
    height: int
    """Height its frames decode to [pixels]."""
    width: int
    """Width its frames decode to [pixels]."""

    def between(self, start_s: float | None, end_s: float | None) -> VideoScan:
        """Return what scanning only the part from start_s to before end_s would have found (it may hold no frame)."""
        low, high = -np.inf if start_s is None else start_s, np.inf if end_s is None else end_s
        begin, end = np.searchsorted(self.times, [low - TIME_TOLERANCE_S, high - TIME_TOLERANCE_S])
        return replace(self, times=self.times[begin:end])


def scan_video(path: str | os.PathLike, start_s: float | None = None, end_s: float | None = None) -> VideoScan:
    """Read the time stamps of a file, or of a part of it, decoding only one frame.

    Args:
        path: video file.
        start_s: time at which the part begins [s]; None is the beginning of the file.
        end_s: time before which it ends [s]; None is the end of the file.

    Returns:
        Time stamps and frame size.

    Raises:
        FileNotFoundError: if there is no such file.
        VideoError: if the file cannot be decoded, has no video or no frame, or ends before the length it states.
    """
    path = Path(path)
    whole = start_s is None and end_s is None
    _check_size(path)
    with open_video(path) as (container, stream):
        base = cast(Fraction, stream.time_base)
        low, high = (
            bound if time is None else math.ceil((time - TIME_TOLERANCE_S) / base)
            for time, bound in ((start_s, -math.inf), (end_s, math.inf))
        )
        if does_count(container, stream):
            shown, keys, first = _count_frames(path, container, stream, high)
        else:
            num_stated = 0 if container.format.name == "avi" or not whole else _num_stated(stream)
            if low > 0:
                container.seek(int(min(low, LAST_STAMP)), stream=stream, backward=True)
            shown, keys, first = _read_packets(path, container, stream, high, num_stated)
    if first is None:
        raise VideoError(f"no frame can be decoded in {path}")
    stamps = [stamp for stamp in shown if low <= stamp < high]
    if not stamps:
        raise VideoError(f"no frame between {start_s} s and {end_s} s in {path}")
    height, width, _ = rgb_converter()(first).shape
    return VideoScan(times=_seconds(stamps, base), key_times=_seconds(keys, base), height=height, width=width)


def _check_size(path: Path) -> None:
    """Compare the length of a file with the one it states."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"video does not exist: {path}")
    size = path.stat().st_size
    if not size:
        raise VideoError(f"empty file: {path}")
    try:
        stated = stated_size(path)
    except OSError as error:
        raise VideoError(f"cannot read {path}: {error.strerror}") from error
    if stated is not None and size < stated:
        raise VideoError(f"cut short, {size} of {stated} bytes are left in {path}")


def _num_stated(stream: av.VideoStream) -> int:
    """Return how many frames the index lists that are read; an edit list leaves out what was trimmed away."""
    return min(stream.frames, len(stream.index_entries))


def _read_packets(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream, high: float, num_stated: int
) -> tuple[list[int], list[int], av.VideoFrame | None]:
    """Return the stamps of shown packets up to one, from the first key frame on, those of key frames, and a frame.

    Raises:
        VideoError: if stamps are missing, or there are fewer packets than stated.
    """
    shown: list[int] = []
    keys: list[int] = []
    first, number = None, 0
    for packet in whole_packets(container, stream, path):
        if first is None and (keys or packet.is_keyframe):
            first = next(iter(packet.decode()), None)
        if not packet.size:  # the last packet is empty: it asks the decoder for what it still holds
            break
        if packet.dts is not None and packet.dts >= high:
            first = first or next(iter(stream.decode(None)), None)
            break
        if packet.pts is None:
            raise VideoError(f"packets without time stamps in {path}")
        number += 1
        if packet.is_keyframe:
            keys.append(packet.pts)
        if not packet.is_discard and keys and packet.pts >= keys[0]:
            shown.append(packet.pts)
    if number < num_stated:
        raise VideoError(f"cut short, {number} of {num_stated} frames are left in {path}")
    return shown, keys, first


def _count_frames(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream, high: float
) -> tuple[list[int], list[int], av.VideoFrame | None]:
    """Return what `_read_packets` does for a file whose frames have to be decoded to know their order."""
    shown: list[int] = []
    keys: list[int] = []
    first = None
    stamps = find_stamps(container, stream)
    for stamp, frame in decode_stamped(stream, whole_packets(container, stream, path), path, stamps):
        if stamp >= high:
            break
        first = first or frame
        shown.append(stamp)
        if frame.key_frame and stamps.can_begin(stamp, frame):
            keys.append(stamp)
    return shown, keys, first


def _seconds(stamps: list[int], base: Fraction) -> np.ndarray:
    return np.array(sorted(set(stamps))) * base.numerator / base.denominator


def _stamps(times: np.ndarray, base: Fraction) -> list[int]:
    """Undo `_seconds`."""
    return np.rint(times * base.denominator / base.numerator).astype(np.int64).tolist()


def read_frames_at(path: str | os.PathLike, times: np.ndarray, *, key_times: np.ndarray | None = None) -> np.ndarray:
    """Decode the frames that carry given time stamps, and no others.

    Args:
        path: video file.
        times: time stamps as `scan_video` or `read_frames` returned them, strictly increasing [s], (T,).
        key_times: those of the key frames, as `scan_video` returned them; without them all frames from the first wanted
            one to the last are decoded.

    Returns:
        uint8 RGB, (T, H, W, 3).

    Raises:
        FileNotFoundError: if there is no such file.
        VideoError: if the file cannot be decoded, or one of the frames is not in it.
    """
    with open_video(path) as (container, stream):
        base = cast(Fraction, stream.time_base)
        wanted = _stamps(np.asarray(times), base)
        keys = [] if key_times is None or not can_seek(stream) else _stamps(key_times, base)
        runs = (_decode_run(path, container, stream, key, run) for key, run in _runs(wanted, keys))
        found = _pick(chain.from_iterable(runs), wanted)
    if len(found) < len(wanted):
        # The file's index led to a wrong place, so its whole length is decoded instead.
        found = _pick(((stamp, frame) for _, stamp, frame in decode_video(path)), wanted)
    for time, stamp in zip(times, wanted, strict=True):
        if stamp not in found:
            raise VideoError(f"the frame at {time:.3f} s cannot be decoded in {path}")
    if len({frame.shape for frame in found.values()}) > 1:
        raise VideoError(f"frames change their size within {path}")
    return np.stack([found[stamp] for stamp in wanted])


def _pick(frames: Iterable[tuple[int, av.VideoFrame]], wanted: list[int]) -> dict[int, np.ndarray]:
    """Turn the frames with wanted stamps into colours, by stamp."""
    to_rgb, left, found = rgb_converter(), set(wanted), {}
    for stamp, frame in frames:
        if stamp in left:
            left.discard(stamp)
            found[stamp] = to_rgb(frame)
    return found


def _runs(wanted: list[int], keys: list[int]) -> Iterator[tuple[int | None, list[int]]]:
    """Group increasing stamps by the last key frame before them; without one, or any, it is None."""
    places = np.searchsorted(keys, wanted, side="right").tolist() if keys else [0] * len(wanted)
    for place, run in groupby(zip(places, wanted, strict=True), key=lambda pair: pair[0]):
        yield keys[place - 1] if place else None, [stamp for _, stamp in run]


def _decode_run(
    path: str | os.PathLike,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    key: int | None,
    wanted: list[int],
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield (time stamp, frame) from a key frame on until the wanted ones have been among them."""
    stamps = find_stamps(container, stream)
    if can_seek(stream):
        container.seek(wanted[0] if key is None else key, stream=stream, backward=True)
    packets = whole_packets(container, stream, path)
    from_key = dropwhile(lambda packet: packet.dts != key, packets)
    needed: Iterator[av.Packet | None] = from_key if isinstance(stamps, SortedStamps) else packets
    if not does_count(container, stream):  # of places, one packet too few, and they are off
        needed = _packets_needed(packets, stream, key, set(wanted))
    for stamp, frame in decode_stamped(stream, needed, path, stamps):
        yield stamp, frame
        if stamp >= wanted[-1]:
            return


def _packets_needed(
    packets: Iterable[av.Packet], stream: av.VideoStream, key: int | None, left: set[int]
) -> Iterator[av.Packet | None]:
    """Yield the packets to decode, from a key frame on, until all that are left to find have been among them."""
    context, begun = stream.codec_context, key is None
    # Only of H.264 is it known that what it marks so is never needed by others.
    can_skip = context.name == "h264"
    for packet in packets:
        begun = begun or packet.pts == key
        if begun and packet.size:
            if can_skip:
                context.skip_frame = "DEFAULT" if packet.pts in left else "NONREF"
            yield packet
            left.discard(packet.pts)
        if not left or not packet.size:
            break
    yield None  # the decoder holds frames back to put them in order; asked for all of them, it needs no more packets
