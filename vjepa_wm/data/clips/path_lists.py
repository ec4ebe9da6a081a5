"""Text files that list the paths of videos and pictures.

Why this file exists: data sets of millions of files come as lists, and those of V-JEPA's recipes give every path a
label, after a space or a comma, which pretraining has no use for.
"""

from __future__ import annotations

import codecs
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

LIST_SUFFIXES = (".csv", ".tsv", ".txt")
logger = logging.getLogger(__name__)
_MAX_SHOWN = 200


def read_path_list(path: Path, suffixes: tuple[str, ...], *, folders: bool = False) -> Iterator[str]:
    """Yield the paths that a list names, one per line; whether they exist is not looked up.

    Behind a path may stand anything after a space, tab, comma, semicolon or "::". A path may itself hold all of these,
    since its ending tells where it stops, and may be put in double quotes. A first line that names nothing is taken
    for a header. A number in front of the path, as tables have that were saved with their index, is left out where the
    first path exists without it only. Blank lines are skipped, and lines that begin with # unless there is such a file.

    Args:
        path: the list.
        suffixes: how paths end, in small letters, such as ".mp4".
        folders: whether a line may name a folder, by its first word; it is yielded with "/" at its end.

    Yields:
        Paths as they stand in the list.

    Raises:
        ValueError: if a line names nothing of this kind; the message has its number and text. If the list is in UTF-16
            and damaged.
    """
    ending = re.compile("(?:" + "|".join(map(re.escape, suffixes)) + r")(?=(\s|,|;|::|$))", re.IGNORECASE)
    is_first = True
    has_index: bool | None = None
    for number, line in _lines(path):
        if not line or (line.startswith("#") and not _exists(path, _named_file(line, ending))):
            continue
        if has_index is None:
            whole, rest = _named_file(line, ending), _named_file(_without_index(line), ending)
            has_index = None if not whole and not rest else not _exists(path, whole) and _exists(path, rest)
        line = _without_index(line) if has_index else line
        name = _named_file(line, ending)
        if not name and folders:
            name = _named_folder(line, path.parent, is_first)
        if name:
            yield name
        elif not (is_first and _is_header(line)):
            kinds, shown = ", ".join(suffixes), repr(line[:_MAX_SHOWN])
            raise ValueError(f"line {number} of {path} must begin with a path ending in {kinds}, got {shown}")
        is_first = False


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number of each line, from 1, and what stands in it."""
    # File names may be in any encoding; what is no UTF-8 is passed on as Python spells it.
    with path.open(encoding=_encoding(path), errors="surrogateescape") as lines:
        try:
            for number, line in enumerate(lines, start=1):
                yield number, line.strip()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} begins as UTF-16 does and goes on as no text: {error}") from error


def _encoding(path: Path) -> str:
    """Tell UTF-16, as spreadsheets save text, from UTF-8 by the mark that it begins with."""
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _exists(path: Path, name: str | None) -> bool:
    return name is not None and os.path.lexists(path.parent / name)


def _without_index(line: str) -> str:
    return re.sub(r'^"?\d+"?\s*[,;\t]\s*', "", line)


def _named_file(line: str, ending: re.Pattern) -> str | None:
    """Find the path of a file at the beginning of a line."""
    quoted = re.match(r'"((?:[^"]|"")*)"', line)
    if quoted:
        name = quoted[1].replace('""', '"')
        return name if any(match.end() == len(name) for match in ending.finditer(name)) else None
    # "a.mp4 b.mp4" is one path with a space, of which endings before the last one are part; "a.mp4,b.mp4" is two.
    found = None
    for match in ending.finditer(line):
        if match.start() > 0:
            found = line[: match.end()]
            if match[1] != " ":
                break
    return found


def _named_folder(line: str, root: Path, is_first: bool) -> str | None:
    """Find the path of a folder at the beginning of a line; a first line is one only if the folder exists."""
    word = re.split(r"\s|,|;|::", line, maxsplit=1)[0]
    name = word.rstrip("/")
    is_file = "." in name.rsplit("/", 1)[-1] and name == word
    return None if not name or is_file or (is_first and not os.path.isdir(root / name)) else name + "/"


def _is_header(line: str) -> bool:
    """Tell whether a line looks like names of columns rather than like a path."""
    return "/" not in line and "\\" not in line and not re.search(r"\.\w", line)
