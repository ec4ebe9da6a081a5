"""Text, json and numbers of classes, as the files of labels have them.

Why this file exists: label files are made by spreadsheets and by hand, and what is wrong with one must be told with its
name wherever it is met, not end in an error of a decoder.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vjepa_wm.data.labelled.labelled_set import LabelError
from vjepa_wm.safe_files import describe_start

MAX_CLASSES = 1_000_000
"""More than any data set has; a larger number is a mistake, and naming so many classes would fill the memory."""


def read_text(path: Path) -> str:
    """Read a text file, in UTF-8, or in UTF-16 as spreadsheets save it.

    Raises:
        FileNotFoundError: if there is no such file.
        LabelError: if it is no text.
    """
    content = path.read_bytes()
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelError(f"{path} is no text in UTF-8 or UTF-16{describe_start(path) or f': {error}'}") from error


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, without their ends; errors as of `read_text`."""
    return read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")


def read_json(path: Path) -> Any:
    """Read a json file.

    Raises:
        FileNotFoundError: if there is no such file.
        LabelError: if it is damaged.
    """
    try:
        return json.loads(read_text(path))
    except LabelError:
        raise
    except (ValueError, RecursionError) as error:
        raise LabelError(f"{path} is not valid json{describe_start(path) or f': {error}'}") from error


def csv_rows(path: Path, lines: Iterable[str], delimiter: str = ",", first: int = 1) -> Iterator[tuple[list[str], str]]:
    """Yield the cells of each row, and where it stands.

    Args:
        path: the file.
        lines: of it.
        delimiter: between cells.
        first: number of the first of the lines.

    Raises:
        LabelError: if quotes or cells are none that csv has.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for words in reader:
            yield words, f"line {reader.line_num + first - 1} of {path}"
    except csv.Error as error:
        raise LabelError(f"line {reader.line_num + first - 1} of {path} is no csv: {error}") from error


def class_number(text: str, place: str) -> int:
    """Return the number of a class.

    Args:
        text: as a file has it.
        place: where it stands.

    Raises:
        LabelError: if it is no whole number from 0 to below `MAX_CLASSES`.
    """
    digits = text.strip().lstrip("0") or "0"
    if not digits.isdecimal() or len(digits) > len(str(MAX_CLASSES)) or int(digits) >= MAX_CLASSES:
        raise LabelError(f"{place}: the number of a class must be from 0 to below {MAX_CLASSES}, got {text[:20]!r}")
    return int(digits)
