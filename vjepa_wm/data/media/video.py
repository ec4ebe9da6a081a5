"""Video files to uint8 frames and back.

Why this file exists: with its neighbours in this folder it is the only place that knows the video library. Everything
here goes by the time stamp each frame carries (pts times time base), never by the rate a file claims, because phone,
screen and web videos vary theirs.

Letters: T frames, H height, W width.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from io import BytesIO
from itertools import dropwhile
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.stream import Disposition

from vjepa_wm.data.media.rgb_frames import rgb_converter
from vjepa_wm.data.media.time_stamps import Stamps, does_count, find_stamps, stamped_packets
from vjepa_wm.safe_files import describe_start, write_bytes

VIDEO_SUFFIXES = (".3gp", ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
# What a file may be whatever its name: one that holds its own frames. Lists that name other files are none.
_FORMATS = "asf,avi,flv,gif,m4v,matroska,mov,mpeg,mpegts,mpegvideo,ogg"
LAST_STAMP = 2**62  # the largest that can be looked for
TIME_TOLERANCE_S = 1e-4  # finer than any frame period, coarser than the rounding of a time stamp


class VideoError(ValueError):
    """A video file that cannot be read or is of no use; the message says why."""


def write_video(path: str | os.PathLike, frames: np.ndarray, fps: float, *, crf: int = 18, gop: int = 2) -> None:
    """Write frames as an H.264 mp4 file whose frame k is shown at exactly k / fps seconds.

    The file appears under its name only when it is complete.

    Args:
        path: file to write, ending in .mp4; its folder is made when missing.
        frames: uint8 RGB, (T, H, W, 3); H and W even, as 4:2:0 colour needs.
        fps: frames per second.
        crf: x264 quality, 0 lossless to 51 worst.
        gop: frames from one key frame to the next; small makes random access cheap.

    Raises:
        ValueError: if frames, fps or path break the rules above.
    """
    path = Path(path)
    if path.suffix != ".mp4":
        raise ValueError(f"path must end in .mp4, got {path}")
    write_bytes(path, encode_video(frames, fps, crf=crf, gop=gop))


def encode_video(frames: np.ndarray, fps: float, *, crf: int = 18, gop: int = 2) -> bytes:
    """Return what `write_video` writes; equal frames give equal bytes.

    Args:
        frames: uint8 RGB, (T, H, W, 3); H and W even, as 4:2:0 colour needs.
        fps: frames per second.
        crf: x264 quality, 0 lossless to 51 worst.
        gop: frames from one key frame to the next; small makes random access cheap.

    Raises:
        ValueError: if frames or fps break the rules above.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or len(frames) == 0:
        raise ValueError(f"frames must be uint8 (T, H, W, 3) with T > 0, got {frames.dtype} {frames.shape}")
    if frames.shape[1] % 2 or frames.shape[2] % 2:
        raise ValueError(f"frames must have even height and width for 4:2:0 colour, got {frames.shape[1:3]}")
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}")
    rate = Fraction(fps).limit_denominator(1001)
    # Looking ahead gains nothing in groups of two frames, and at 32 px x264 then reads memory that it never wrote, so
    # that equal frames now and then became different files.
    options = {"crf": str(crf), "g": str(gop), "bf": "0", "rc-lookahead": "0", "mbtree": "0"}
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        stream.codec_context.time_base = 1 / rate
        stream.codec_context.thread_count = 1  # threads cost more than they give on small pictures
        for k, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
            frame.pts, frame.time_base = k, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def read_frames(
    path: str | os.PathLike, start_s: float | None = None, end_s: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Decode the frames whose time stamps lie in [start_s, end_s).

    Args:
        path: video file.
        start_s: first time [s]; None is the beginning of the file.
        end_s: time to stop before [s]; None is the end of the file.

    Returns:
        frames: uint8 RGB, (T, H, W, 3).
        times: time stamp of each frame [s], float64 (T,).

    Raises:
        FileNotFoundError: if there is no such file.
        VideoError: if the file cannot be decoded, or no frame lies in the range.
    """
    to_rgb = rgb_converter()
    start = -np.inf if start_s is None else start_s - TIME_TOLERANCE_S
    end = np.inf if end_s is None else end_s - TIME_TOLERANCE_S
    frames, times = [], []
    for time, _, frame in decode_video(path, start):
        if time >= end:
            break
        if time >= start:
            frames.append(to_rgb(frame))
            times.append(time)
    if not frames:
        raise VideoError(f"no frame between {start_s} s and {end_s} s in {path}")
    if len({frame.shape for frame in frames}) > 1:
        raise VideoError(f"frames change their size within {path}")
    return np.stack(frames), np.array(times)


def read_last_frame(path: str | os.PathLike) -> np.ndarray:
    """Decode the last frame of a video, reading no more of it than from the last key frame on.

    Args:
        path: video file.

    Returns:
        uint8 RGB, (H, W, 3).

    Raises:
        FileNotFoundError: if there is no such file.
        VideoError: if the file cannot be decoded.
    """
    last = None
    with open_video(path) as (container, stream):
        if can_seek(stream):
            container.seek(stream.duration or 0, stream=stream)
        for packet in whole_packets(container, stream, path):
            for frame in stream.decode(packet):
                last = frame
    if last is None or last.is_corrupt:
        raise VideoError(f"no whole frame at the end of {path}")
    return rgb_converter()(last)


@contextmanager
def open_video(path: str | os.PathLike) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a file's first video stream; turn every decoding error within the context into a VideoError.

    Raises:
        FileNotFoundError: if there is no such file.
        VideoError: if the file cannot be decoded or has no video.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"video does not exist: {path}")
    try:
        # Titles and the like are often in another encoding than they should be.
        with av.open(str(path), metadata_errors="replace", options={"format_whitelist": _FORMATS}) as container:
            stream = _shown_stream(container)
            if stream is None:
                raise VideoError(f"no video stream in {path}")
            if stream.codec_context is None:
                raise VideoError(f"no decoder for the video in {path}")
            stream.thread_type = "NONE"  # frame threads delay the first frame and fight the other workers
            yield container, stream
    except av.FFmpegError as error:
        why = "it is in no format that is read" if isinstance(error, av.ArgumentError) else error.strerror
        raise VideoError(f"cannot decode {path}{describe_start(Path(path)) or f': {why}'}") from error


def _shown_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """Choose the video that players show: of several the default one, and no cover picture."""
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    default = (stream for stream in streams if stream.disposition & Disposition.default)
    return next(default, streams[0] if streams else None)


def can_seek(stream: av.VideoStream) -> bool:
    """Tell whether decoding can begin with any key frame; a palette stands at the beginning alone."""
    return stream.codec_context.pix_fmt != "pal8"


def whole_packets(
    container: av.container.InputContainer, stream: av.VideoStream, path: str | os.PathLike
) -> Iterator[av.Packet]:
    """Yield what `stamped_packets` does.

    Raises:
        VideoError: if the file holds less of a packet than it says.
    """
    for packet in stamped_packets(container, stream):
        if packet.is_corrupt:
            raise VideoError(f"a part of a frame is missing in {path}")
        yield packet


def decode_stamped(
    stream: av.VideoStream, packets: Iterable[av.Packet | None], path: str | os.PathLike, stamps: Stamps
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decode packets from the first key frame on; what is shown before it cannot be decoded rightly.

    Args:
        stream: what they belong to.
        packets: as `demux` returns them; None asks the decoder for what it still holds.
        path: their file, for messages.
        stamps: what `find_stamps` returned of it, for these packets alone.

    Yields:
        Time stamp and frame, in the order in which they are shown.

    Raises:
        VideoError: if time stamps are missing, cannot be told or run backwards, or a frame is damaged.
    """
    last = None
    base = cast(Fraction, stream.time_base)
    for packet in dropwhile(lambda packet: packet is not None and not packet.is_keyframe, packets):
        if packet is not None and packet.size:
            stamps.give(packet)
        for frame in stream.decode(packet):
            stamp = stamps.take(frame)
            if stamp is None or stamps.first is None:
                raise VideoError(f"nothing says when frames are shown in {path}")
            if last is not None and stamp < last:
                raise VideoError(f"time stamps run backwards after {float(last * base):.3f} s in {path}")
            if stamp == last or stamp < stamps.first:
                continue  # who goes by moments sees one frame at each
            last = stamp
            if frame.is_corrupt:  # the decoder made up what it could not read
                raise VideoError(f"the frame at {float(stamp * base):.3f} s is damaged in {path}")
            yield stamp, frame
        if stamps.num_left and (packet is None or not packet.size):
            raise VideoError(
                f"{stamps.num_left} frames cannot be decoded, so nothing says when others are shown in {path}"
            )


def decode_video(path: str | os.PathLike, start_s: float = -np.inf) -> Iterator[tuple[float, int, av.VideoFrame]]:
    """Yield (time [s], time stamp, frame) from the last key frame at or before start_s on.

    Raises:
        FileNotFoundError: if there is no such file.
        VideoError: if the file cannot be decoded, or its time stamps are missing or run backwards.
    """
    with open_video(path) as (container, stream):
        base = cast(Fraction, stream.time_base)
        seeking = start_s > 0 and can_seek(stream) and not does_count(container, stream)
        if seeking:
            container.seek(int(min(start_s / base, LAST_STAMP)), stream=stream, backward=True)
        for stamp, frame in decode_stamped(
            stream, whole_packets(container, stream, path), path, find_stamps(container, stream)
        ):
            time = float(stamp * base)
            if seeking and time > start_s + TIME_TOLERANCE_S:
                break
            seeking = False
            yield time, stamp, frame
        if not seeking:
            return
    # The file's index led past the wanted time, so its whole length is decoded instead.
    yield from decode_video(path)
