"""Lists of paths with labels: `path label` on a line, as for Kinetics in V-JEPA's recipes, or a csv with a header."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vjepa_wm.data.labelled.class_names import WrittenLabel, number_labels
from vjepa_wm.data.labelled.label_files import csv_rows, read_lines
from vjepa_wm.data.labelled.labelled_set import LabelError, LabelledSet, single_question
from vjepa_wm.data.labelled.media_index import MEDIA_SUFFIXES, MediaIndex

PATH_COLUMNS = ("path", "video_path", "file", "filename", "video", "image")
LABEL_COLUMNS = ("label", "class", "class_name", "class_id", "category")
YOUTUBE_COLUMN = "youtube_id"
SPLIT_COLUMNS = ("split", "subset", "partition")
_LINE = re.compile(
    r'^"?(?P<path>.+?(?:' + "|".join(map(re.escape, MEDIA_SUFFIXES)) + r'))"?(?:::|[\s,;])\s*"?(?P<label>[^"]+?)"?$',
    re.IGNORECASE,
)
_FOLDER_LINE = re.compile(r"^(?P<path>\S+?)(?:::|[\s,;])\s*(?P<label>\S+)$")


class Row(NamedTuple):
    """A line of a list."""

    path: str
    """As it stands there."""
    label: WrittenLabel
    """Likewise."""
    split: str
    """The split it names, in small letters; empty if it names none."""


def read_path_labels(
    path: Path, index: MediaIndex, *, class_names: Sequence[str] | None = None, frames_fps: float | None = None
) -> dict[str, LabelledSet]:
    """Read a list of paths with labels.

    Args:
        path: the list (.csv, .tsv, .txt). Without a header a line is a path, then a space, comma, tab, semicolon or
            "::", then the label. With one, a column is called `path` (or `file`, `filename`, `video`, `video_path`,
            `image`), or `youtube_id`, `time_start` and `time_end` as Kinetics' own, one `label` (or `class`,
            `class_name`, `class_id`, `category`), and maybe one `split`. Blank lines are left out.
        index: where the files lie.
        class_names: the classes by number; None: what the labels say.
        frames_fps: whether a path may be a folder of frames, as of `MediaIndex`.

    Returns:
        By the split that lines name, in small letters; those that name none under "". All have the same classes.

    Raises:
        LabelError: if a line is broken, a label unknown or of another form than the others, or there is no line.
    """
    lines = read_lines(path)
    header = _header(lines[0]) if lines else None
    rows = _rows_with_header(path, lines, header) if header else _plain_rows(path, lines, frames_fps)
    if not rows:
        raise LabelError(f"{path} names no video or picture")
    names, labels = number_labels([row.label for row in rows], class_names)
    sets = {}
    for split in dict.fromkeys(row.split for row in rows):
        chosen = [k for k, row in enumerate(rows) if row.split == split]
        items = [index.item(rows[k].path) for k in chosen]
        sets[split] = single_question(str(path), names, items, [labels[k] for k in chosen])
    return sets


def _header(line: str) -> list[str] | None:
    """Return the names of columns in small letters, if a first line is such."""
    columns = [word.strip().strip('"').lower() for word in re.split(r"[,;\t]", line)]
    known = {*PATH_COLUMNS, YOUTUBE_COLUMN} & {*columns}, {*LABEL_COLUMNS} & {*columns}
    return columns if all(known) else None


def _plain_rows(path: Path, lines: Sequence[str], frames_fps: float | None) -> list[Row]:
    rows = []
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line:
            continue
        match = _LINE.match(line) or (_FOLDER_LINE.match(line) if frames_fps is not None else None)
        if match is None:
            raise LabelError(
                f"line {number} of {path} must be the path of a video or picture and a label, got {line!r}"
            )
        label = WrittenLabel(match["label"].strip(), f"line {number} of {path}")
        rows.append(Row(match["path"], label, ""))
    return rows


def _rows_with_header(path: Path, lines: Sequence[str], header: list[str]) -> list[Row]:
    delimiter = next(mark for mark in ",;\t" if mark in lines[0])
    label_column = next(name for name in LABEL_COLUMNS if name in header)
    split_column = next((name for name in SPLIT_COLUMNS if name in header), None)
    rows = []
    for words, place in csv_rows(path, lines[1:], delimiter, first=2):
        if not any(word.strip() for word in words):
            continue
        if len(words) != len(header):
            raise LabelError(f"{place} must have {len(header)} values as the header has, got {len(words)}")
        values = dict(zip(header, (word.strip() for word in words), strict=True))
        name, label = _media_name(values, place), values[label_column]
        if not name or not label:
            raise LabelError(f"{place} must have a path and a label, got {name!r} and {label!r}")
        rows.append(Row(name, WrittenLabel(label, place), values[split_column].lower() if split_column else ""))
    return rows


def _media_name(values: Mapping[str, str], place: str) -> str:
    """Return the path in a line, or the name that Kinetics' clips have."""
    column = next((name for name in PATH_COLUMNS if name in values), None)
    if column is not None:
        return values[column]
    try:
        times = [int(float(values[name])) for name in ("time_start", "time_end")]
    except (KeyError, ValueError, OverflowError) as error:
        raise LabelError(f"{place} must have the numbers time_start and time_end beside youtube_id") from error
    return f"{values[YOUTUBE_COLUMN]}_{times[0]:06d}_{times[1]:06d}.mp4"
