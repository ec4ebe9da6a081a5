"""Videos and pictures that a person names, as clips.

Why this file exists: a command takes files and folders in any mixture; here they become one list, with a short name of
their own each, and then clips by real time.

Letters: T frames of a clip, H height, W width.
"""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from vjepa_wm.checks import check_memory
from vjepa_wm.data.clips.clip_sources import find_media
from vjepa_wm.data.clips.clip_times import nearest
from vjepa_wm.data.media.pictures import PICTURE_SUFFIXES, read_picture
from vjepa_wm.data.media.random_access import read_frames_at, scan_video

logger = logging.getLogger(__name__)


def find_inputs(inputs: Sequence[str | os.PathLike]) -> list[Path]:
    """List videos and pictures, folders and lists replaced by what is in them.

    Args:
        inputs: files, folders and lists of paths, as `find_media` takes them.

    Returns:
        Files in the order given, each once.

    Raises:
        FileNotFoundError: if an input does not exist, or holds no video and no picture.
        ValueError: if a file is neither of these, or a line of a list names nothing.
    """
    found: dict[str, Path] = {}
    for given in inputs:
        root, names = find_media(given)
        for name in names:
            found.setdefault(os.path.realpath(root / name), root / name)
    return list(found.values())


def name_inputs(paths: Sequence[Path]) -> list[str]:
    """Give every file a short name of its own, also on disks that take capitals and small letters for the same.

    Args:
        paths: files, as from `find_inputs`.

    Returns:
        Their names without suffix; where two are equal with the suffix, then the folder, then both (`a_mp4`,
        `cats_a`, `cats_a_mp4`) and at last a number.
    """
    ways: tuple[Callable[[Path], str], ...] = (
        lambda path: path.stem,
        lambda path: f"{path.stem}_{path.suffix[1:]}",
        lambda path: f"{path.absolute().parent.name}_{path.stem}",
        lambda path: f"{path.absolute().parent.name}_{path.stem}_{path.suffix[1:]}",
    )
    names: dict[int, str] = {}
    taken: set[str] = set()
    for way in ways:
        left = {number: way(path) for number, path in enumerate(paths) if number not in names}
        counts = Counter(name.casefold() for name in left.values())
        fresh = {n: name for n, name in left.items() if counts[name.casefold()] == 1 and name.casefold() not in taken}
        names |= fresh
        taken |= {name.casefold() for name in fresh.values()}
    for number, path in enumerate(paths):
        count = 2
        while number not in names:
            name = f"{ways[-1](path)}_{count}"
            if name.casefold() not in taken:
                names[number] = name
                taken.add(name.casefold())
            count += 1
    return [names[number] for number in range(len(paths))]


def read_clips(
    path: Path, *, num_frames: int, fps: float, whole: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read a video's first clip, or one clip after the other, or a picture as a clip of one frame.

    Args:
        path: video or picture, told apart by the suffix.
        num_frames: frames of a clip, T.
        fps: frames per second of a clip; each frame is the one whose time stamp is nearest.
        whole: whether clips follow each other to the end of the video.

    Yields:
        frames: uint8 RGB, (T, H, W, 3); a picture is (1, H, W, 3).
        times: time stamp of each frame [s], (T,); 0 for a picture.

    Raises:
        ValueError: if a clip of the video would take more memory than there is.
        VideoError: if the video is broken.
        PictureError: if the picture is broken.
    """
    if path.suffix.lower() in PICTURE_SUFFIXES:
        yield read_picture(path)[None], np.zeros(1)
        return
    scan = scan_video(path)
    times = scan.times
    check_memory(3 * num_frames * scan.height * scan.width, f"num_frames {num_frames} of {path}")
    length_s = times[-1] - times[0]
    if length_s < (num_frames - 1) / fps / 2:
        logger.warning("%s lasts %.2f s, less than half a clip, which repeats its last frame", path, length_s)
    for ids in clip_frames(times, num_frames, fps, whole):
        wanted, positions = np.unique(times[ids], return_inverse=True)
        yield read_frames_at(path, wanted, key_times=scan.key_times)[positions], times[ids]


def clip_frames(times: np.ndarray, num_frames: int, fps: float, whole: bool) -> np.ndarray:
    """Choose the frames of a video's clips.

    The first clip starts with the first frame, each other one where the one before it ends. A remainder of at least
    half a clip is a clip too; what it lacks repeats the last frame.

    Args:
        times: time stamps of the video's frames, increasing [s], (num_video_frames,).
        num_frames: frames of a clip, T.
        fps: frames per second of a clip.
        whole: False takes the first clip only.

    Returns:
        Indices into `times`, (clips, T).
    """
    clip_s = num_frames / fps
    gap_s = float(np.median(np.diff(times))) if len(times) > 1 else 0.0  # how long the last frame is shown
    num_clips = max(1, math.floor((times[-1] + gap_s - times[0]) / clip_s + 0.5)) if whole else 1
    wanted = times[0] + np.arange(num_clips * num_frames) / fps
    return nearest(times, wanted).reshape(num_clips, num_frames)
