"""Files under a folder, and whether a file is whole.

Why this file exists: data folders hold millions of files, other programs' hidden ones among them, and copies that were
cut short, which video libraries read up to the cut without a word.
"""

from __future__ import annotations

import logging
import mimetypes
import os
import re
import struct
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

logger = logging.getLogger(__name__)

# The boxes that an mp4 or mov file is made of; behind them other programs may have put anything.
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"mfra", b"sidx", b"styp", b"uuid", b"meta")
_MAX_KINDS = 5
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # begin mkv and webm files


def files_under(folder: str | os.PathLike, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Yield the files under a folder whose names end in certain ways, sorted by path.

    Names that begin with a dot, of files and of folders, are other programs' and are skipped. So is a folder that
    cannot be read, with a warning. Another warning counts videos and pictures of kinds that are not asked for.

    Args:
        folder: where to search, sub-folders and links to folders included.
        suffixes: endings in small letters, such as ".mp4"; capitals in a file's name do not matter.

    Yields:
        Paths relative to the folder, with "/" between the parts.
    """
    others: Counter[str] = Counter()
    yield from _files_under(os.fspath(folder), "", suffixes, (_identity(folder),), others)
    if others:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(_MAX_KINDS))
        logger.warning("files of kinds that are not read are left out of %s: %s", folder, kinds)


def _files_under(
    folder: str, prefix: str, suffixes: tuple[str, ...], above: tuple, others: Counter[str]
) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            shown = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        logger.warning("folder cannot be read and is skipped: %s (%s)", folder, error.strerror)
        return
    for entry in shown:
        name = entry.name.lower()
        if _is_folder(entry):
            identity = _identity(entry.path)
            if identity not in above:  # a link to a folder that it lies in would lead round in circles
                yield from _files_under(entry.path, f"{prefix}{entry.name}/", suffixes, (*above, identity), others)
        elif name.endswith(suffixes):
            yield prefix + entry.name
        elif (mimetypes.guess_type(name)[0] or "").startswith(("video/", "image/")):
            others[os.path.splitext(name)[1]] += 1


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _identity(folder: str | os.PathLike) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def natural_key(name: str) -> list[str | int]:
    """Return what to sort names by so that 2 comes before 10."""
    return [int(part) if k % 2 else part for k, part in enumerate(re.split(r"(\d+)", name))]


def stated_size(path: str | os.PathLike) -> int | None:
    """Read how long a video file says it is, which tells whether its end is missing.

    Args:
        path: the file.

    Returns:
        Bytes up to the end of the last part that is announced; None where the kind of file does not say.
    """
    with open(path, "rb") as file:
        head = file.read(64)
        if head[4:8] in _BOXES:
            return _boxes_end(file)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            (size,) = struct.unpack("<I", head[4:8])
            return size + 8 if size else None  # recorders that stream leave 0
        if head[:4] == _EBML and len(head) > 4:
            return _segment_end(head)
        if head[:4] == b"GIF8":
            end = file.seek(-1, os.SEEK_END) + 1
            return end if file.read(1) == b";" else end + 1
    return None


def _boxes_end(file: BinaryIO) -> int:
    """Walk over the boxes of an mp4 file: each begins with its size and its name."""
    end = 0
    while True:
        file.seek(end)
        head = file.read(16)
        if head[4:8] not in _BOXES:
            return end
        (size,) = struct.unpack(">I", head[:4])
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack(">Q", head[8:])
        if size < 8:  # 0 stands for all that follows
            return end
        end += size


def _segment_end(head: bytes) -> int | None:
    """Read the size of the one segment that follows the head of a mkv or webm file."""
    after_head = 4 + _number_length(head[4])
    start = after_head + _number(head[4:after_head])
    if head[start : start + 4] != _SEGMENT or start + 5 > len(head):
        return None
    length = _number_length(head[start + 4])
    digits = head[start + 4 : start + 4 + length]
    size = _number(digits)
    if len(digits) < length or size == 2 ** (7 * length) - 1:  # all ones: written as it was recorded, size unknown
        return None
    return start + 4 + length + size


def _number_length(first: int) -> int:
    """Return how many bytes a number of a mkv file has: one more than zeros lead its first byte."""
    return 9 - first.bit_length()


def _number(digits: bytes) -> int:
    """Read a number of a mkv file: the first one among its bits says how long it is and does not count."""
    return int.from_bytes(digits) & (2 ** (7 * len(digits)) - 1)
