"""Video files to uint8 frames and back.

Why this file exists: it is the only place that knows the video library. Everything here goes by the time stamp each
frame carries (pts times time base), never by the rate a file claims, because phone, screen and web videos vary theirs.

Letters: T frames, H height, W width.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

VIDEO_SUFFIXES = (".avi", ".gif", ".mkv", ".mov", ".mp4", ".webm")
TIME_TOLERANCE_S = 1e-4  # finer than any frame period, coarser than the rounding of a time stamp


class VideoError(ValueError):
    """A video file that cannot be read or is of no use; the message says why."""


def find_videos(folder: str | os.PathLike) -> list[Path]:
    """Find every video file under a folder, sorted by path.

    Args:
        folder: the folder; its sub-folders are searched too.

    Returns:
        Paths of the files ending in one of `VIDEO_SUFFIXES`.

    Raises:
        FileNotFoundError: the folder does not exist or holds no video.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"folder of videos does not exist: {folder}")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    if not paths:
        raise FileNotFoundError(f"no video ({', '.join(VIDEO_SUFFIXES)}) under {folder}")
    return paths


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
        ValueError: frames, fps or path break the rules above.
    """
    path = Path(path)
    if path.suffix != ".mp4":
        raise ValueError(f"path must end in .mp4, got {path}")
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or len(frames) == 0:
        raise ValueError(f"frames must be uint8 (T, H, W, 3) with T > 0, got {frames.dtype} {frames.shape}")
    if frames.shape[1] % 2 or frames.shape[2] % 2:
        raise ValueError(f"frames must have even height and width for 4:2:0 colour, got {frames.shape[1:3]}")
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".tmp")
    rate = Fraction(fps).limit_denominator(1001)
    # Looking ahead gains nothing in groups of two frames, and at 32 px x264 then reads memory that it never wrote, so
    # that equal frames now and then became different files.
    options = {"crf": str(crf), "g": str(gop), "bf": "0", "rc-lookahead": "0", "mbtree": "0"}
    with av.open(str(unfinished), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        stream.codec_context.time_base = 1 / rate
        stream.codec_context.thread_count = 1  # threads cost more than they give on small pictures
        for k, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
            frame.pts, frame.time_base = k, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    os.replace(unfinished, path)


def read_frames(
    path: str | os.PathLike, start_s: float | None = None, end_s: float | None = None, *, image_size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Decode the frames whose time stamps lie in [start_s, end_s).

    Args:
        path: video file.
        start_s: first time [s]; None is the beginning of the file.
        end_s: time to stop before [s]; None is the end of the file.
        image_size: length the short side is scaled to [pixels]; None keeps the size of the file.

    Returns:
        frames: uint8 RGB, (T, H, W, 3).
        times: time stamp of each frame [s], float64 (T,).

    Raises:
        FileNotFoundError: there is no such file.
        VideoError: the file cannot be decoded, or no frame lies in the range.
    """
    to_rgb = _rgb_converter(image_size)
    start = -np.inf if start_s is None else start_s - TIME_TOLERANCE_S
    end = np.inf if end_s is None else end_s - TIME_TOLERANCE_S
    frames, times = [], []
    for time, frame in _decode(Path(path), start):
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


def read_frames_at(path: str | os.PathLike, times: np.ndarray, *, image_size: int | None = None) -> np.ndarray:
    """Decode the frames that carry given time stamps, and no others.

    Args:
        path: video file.
        times: time stamps as `scan_video` or `read_frames` returned them, strictly increasing [s], (T,).
        image_size: length the short side is scaled to [pixels]; None keeps the size of the file.

    Returns:
        uint8 RGB, (T, H, W, 3).

    Raises:
        FileNotFoundError: there is no such file.
        VideoError: the file cannot be decoded, or one of the frames is not in it.
    """
    to_rgb = _rgb_converter(image_size)
    frames = []
    for time, frame in _decode(Path(path), times[0]):
        if abs(time - times[len(frames)]) <= TIME_TOLERANCE_S:
            frames.append(to_rgb(frame))
        if len(frames) == len(times):
            return np.stack(frames)
    raise VideoError(f"the frame at {times[len(frames)]:.3f} s cannot be decoded in {path}")


def _rgb_converter(image_size: int | None) -> Callable[[av.VideoFrame], np.ndarray]:
    """Make a function from a decoded frame to uint8 RGB (H, W, 3)."""
    # One converter kept over all frames: setting one up per frame costs twenty times the conversion itself.
    reformatter = VideoReformatter()

    def to_rgb(frame: av.VideoFrame) -> np.ndarray:
        height, width = _scaled_size(frame.height, frame.width, image_size)
        array = reformatter.reformat(frame, width, height, "rgb24", interpolation="BICUBIC").to_ndarray()
        # A telephone held upright stores lying pictures and a note to turn them, in degrees counter-clockwise.
        return np.rot90(array, frame.rotation // 90)

    return to_rgb


def _scaled_size(height: int, width: int, image_size: int | None) -> tuple[int, int]:
    """Scale a size so that its short side becomes image_size."""
    if image_size is None:
        return height, width
    scale = image_size / min(height, width)
    return round(height * scale), round(width * scale)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a file's first video stream; turn every decoding error into a VideoError."""
    if not path.is_file():
        raise FileNotFoundError(f"video does not exist: {path}")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError(f"no video stream in {path}")
            stream = container.streams.video[0]
            stream.thread_type = "NONE"  # frame threads delay the first frame and fight the other workers
            yield container, stream
    except av.FFmpegError as error:
        raise VideoError(f"cannot decode {path}: {error.strerror}") from error


def _decode(path: Path, start_s: float = -np.inf) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yield (time stamp [s], frame) from the last key frame at or before start_s on."""
    with _opened(path) as (container, stream):
        seeking, last = start_s > 0, -np.inf
        if seeking:
            container.seek(int(start_s / stream.time_base), stream=stream, backward=True)
        for frame in container.decode(stream):
            if frame.pts is None:
                raise VideoError(f"frames without time stamps in {path}")
            time = float(frame.pts * frame.time_base)
            if seeking and time > start_s + TIME_TOLERANCE_S:
                break
            if time < last:
                raise VideoError(f"time stamps run backwards after {last:.3f} s in {path}")
            seeking, last = False, time
            yield time, frame
        if not seeking:
            return
    # The file's index led past the wanted time, so its whole length is decoded instead.
    yield from _decode(path)


@dataclass(frozen=True, kw_only=True)
class VideoScan:
    """What a file holds, found without decoding it.

    Attributes:
        times: time stamp of every frame, increasing [s], float64 (T,).
        height: height its frames decode to [pixels].
        width: width its frames decode to [pixels].
    """

    times: np.ndarray
    height: int
    width: int


def scan_video(path: str | os.PathLike, *, image_size: int | None = None) -> VideoScan:
    """Read every time stamp of a file, decoding only its first frame.

    Args:
        path: video file.
        image_size: length the short side will be scaled to [pixels]; None keeps the size of the file.

    Returns:
        Time stamps and frame size.

    Raises:
        FileNotFoundError: there is no such file.
        VideoError: the file cannot be decoded, has no video or no frame, or ends before the length it states.
    """
    path = Path(path)
    stamps, first, num_packets = [], None, 0
    with _opened(path) as (container, stream):
        for packet in container.demux(stream):
            num_packets += packet.size > 0  # the last packet is empty: it asks the decoder for what it still holds
            if packet.size and not packet.is_discard:
                stamps.append(packet.pts)
            if first is None:
                first = next(iter(packet.decode()), None)
        time_base, num_stated = stream.time_base, stream.frames
    if first is None:
        raise VideoError(f"no frame can be decoded in {path}")
    if num_packets < num_stated:
        raise VideoError(f"cut short, {num_packets} of {num_stated} frames are left in {path}")
    if None in stamps:
        raise VideoError(f"packets without time stamps in {path}")
    times = np.array([float(stamp * time_base) for stamp in sorted(stamps)])
    height, width, _ = _rgb_converter(image_size)(first).shape
    return VideoScan(times=times, height=height, width=width)
