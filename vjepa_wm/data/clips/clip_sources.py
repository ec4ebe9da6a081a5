"""Where clips and pictures can be drawn from: folders, lists, LeRobot data sets, folders of frames, single files.

Why this file exists: pretraining takes data as it lies on the disk. Here every form becomes a list of videos and a
list of pictures, without opening any of the files, as there may be millions.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from vjepa_wm.data.clips.file_lists import ListedVideo, Names, PictureList, VideoList
from vjepa_wm.data.clips.path_lists import LIST_SUFFIXES, read_path_list
from vjepa_wm.data.media.media_files import files_under
from vjepa_wm.data.media.pictures import PICTURE_SUFFIXES
from vjepa_wm.data.media.video import VIDEO_SUFFIXES
from vjepa_wm.data.trajectories.layout import (
    INFO_PATH,
    TrajectoryError,
    episode_video,
    read_episode_rows,
    read_info,
    video_cameras,
    video_columns,
)

_SUFFIXES = (*VIDEO_SUFFIXES, *PICTURE_SUFFIXES)
_MEASURED = 10_000  # about how many files are asked for their sizes, a message each where they lie on another machine


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """What clips and pictures can be drawn from."""

    name: str
    """The path it was found at."""
    videos: Sequence[ListedVideo]
    """Those in it that clips come from; empty: none."""
    pictures: Sequence[Path]
    """Those in it; empty: none."""

    files: str
    """Text that tells the names of its files, their order and parts from others, as they stand in the source."""

    def sizes(self) -> str:
        """Return text that tells the sizes of its videos, of up to 10,000 of them, from others."""
        digest = hashlib.blake2b(digest_size=8)
        for i in range(0, len(self.videos), len(self.videos) // _MEASURED + 1):
            digest.update(f"{_size(self.videos[i].path)} ".encode())
        return digest.hexdigest()


def find_media(path: str | os.PathLike, *, folders: bool = False) -> tuple[Path, Iterator[str]]:
    """Find the video and picture files that a path stands for, without opening them.

    Args:
        path: one of
            a folder: all videos and pictures under it, hidden ones left out, sorted by path;
            a list (.csv, .tsv, .txt) of one path per line, as `read_path_list` takes it, relative to its own folder;
            a video or a picture.
        folders: whether a line of a list may name a folder; it is yielded with "/" at its end.

    Returns:
        root: the folder that the names are relative to.
        names: paths of the files, at least one; whether a list's exist is not looked up.

    Raises:
        FileNotFoundError: if there is no such file or folder, or nothing of use in the folder or list.
        ValueError: if the file is of another kind, or a line of the list names nothing.
    """
    path = Path(path)
    if not os.path.exists(path):  # False also for links that lead round in circles
        raise FileNotFoundError(f"source of videos and pictures does not exist: {path}")
    root = path.parent
    if path.is_dir():
        root, names = path, files_under(path, _SUFFIXES)
    elif not path.is_file():
        raise ValueError(f"source must be a folder or a file, got neither: {path}")
    elif path.suffix.lower() in LIST_SUFFIXES:
        names = read_path_list(path, _SUFFIXES, folders=folders)
    elif path.suffix.lower() in _SUFFIXES:
        names = iter([path.name])
    else:
        raise ValueError(
            f"source must be a folder, a list ({', '.join(LIST_SUFFIXES)}) or a file ending in one of "
            f"{', '.join(_SUFFIXES)}, got {path}"
        )
    first = next(names, None)
    if first is None:
        raise FileNotFoundError(f"no video or picture ({', '.join(_SUFFIXES)}) in {path}")
    return root, chain([first], names)


def find_clip_source(path: str | os.PathLike, *, frames_fps: float | None = None) -> ClipSource:
    """Find the videos and pictures that a path stands for, without opening them.

    Args:
        path: what `find_media` takes, or the folder of a LeRobot v3 data set: every episode of every camera is a video.
        frames_fps: None, or what makes every folder that directly holds pictures (in a list: every folder) one video
            of so many frames per second, its frames in the natural order of their names, 2 before 10.

    Returns:
        The source, with at least one video or picture.

    Raises:
        FileNotFoundError: if there is no such file or folder, or nothing of use in the folder or list.
        ValueError: if the file is of another kind, a line of the list names nothing, or frames_fps is not positive.
        TrajectoryError: if it is a LeRobot data set of another version, or one that stores no video.
    """
    if frames_fps is not None and not frames_fps > 0:
        raise ValueError(f"frames_fps must be positive or None, got {frames_fps}")
    path = Path(path)
    if (path / INFO_PATH).is_file():
        return _episodes(path)
    root, names = find_media(path, folders=frames_fps is not None)
    videos, pictures = _sort_out(names, folders_are_videos=path.is_dir() and frames_fps is not None)
    return ClipSource(
        name=str(path),
        videos=VideoList(root, videos, frames_fps=frames_fps),
        pictures=PictureList(root, pictures),
        files=_digest(videos.content, b"/", pictures.content),
    )


def _digest(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _size(path: Path) -> int:
    """Return a file's size, of a folder how many visible files are in it, and -1 of what is not there."""
    try:
        status = os.stat(path)
        if not stat.S_ISDIR(status.st_mode):
            return status.st_size
        return sum(not name.startswith(".") for name in os.listdir(path))
    except OSError:
        return -1


def _sort_out(names: Iterable[str], *, folders_are_videos: bool) -> tuple[Names, Names]:
    """Tell videos from pictures by their names; pictures may stand for the folder that holds them."""
    videos, pictures = Names(), Names()
    known_folders = set()
    for name in names:
        if not name.lower().endswith(PICTURE_SUFFIXES):
            videos.append(name)
        elif not folders_are_videos:
            pictures.append(name)
        else:
            folder = name.rpartition("/")[0] + "/" if "/" in name else "./"
            if folder not in known_folders:
                known_folders.add(folder)
                videos.append(folder)
    return videos, pictures


def _episodes(root: Path) -> ClipSource:
    """List every episode of every camera of a LeRobot data set."""
    info = read_info(root)
    cameras = video_cameras(root, info)
    columns = [column for camera in cameras for column in video_columns(camera)]
    rows = read_episode_rows(root, info["total_episodes"], columns=columns)
    if not rows:
        raise TrajectoryError(f"no episode in {root}")
    numbers: dict[str, int] = {}  # of the files, which episodes may share
    files, times = [], []
    for camera in cameras:
        for row in rows:
            name, start_s, end_s = episode_video(info, camera, row)
            files.append(numbers.setdefault(name, len(numbers)))
            times.append((start_s, end_s))
    names, parts = Names(numbers), (np.array(files), np.array(times))
    return ClipSource(
        name=str(root),
        videos=VideoList(root, names, parts=parts),
        pictures=(),
        files=_digest(names.content, *(part.tobytes() for part in parts)),
    )
