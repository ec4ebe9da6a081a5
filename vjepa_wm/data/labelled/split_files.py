"""The three splits of UCF101 and of HMDB51, in the text files that they are published as."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from vjepa_wm.data.labelled.class_names import WrittenLabel, number_labels
from vjepa_wm.data.labelled.label_files import read_lines
from vjepa_wm.data.labelled.labelled_set import Item, LabelError, LabelledSet, single_question
from vjepa_wm.data.labelled.media_index import MediaIndex

UCF_CLASSES = "classInd.txt"
_HMDB_FILE = re.compile(r"(?P<name>.+)_test_split(?P<split>\d+)\.txt")
_HMDB_USES = ("0", "1", "2")
"""Neither, training, test."""


def read_ucf101(folder: Path, index: MediaIndex, split: int) -> tuple[LabelledSet, LabelledSet]:
    """Read training and test set of a split of UCF101.

    Args:
        folder: holds `classInd.txt`, `trainlist01.txt`, `testlist01.txt` and those of the other splits.
        index: where the videos lie.
        split: 1, 2 or 3.

    Raises:
        LabelError: if the split has no files, or a line of one is broken or names an unknown class.
    """
    names = tuple(words[1] for words, _ in _lines(folder / UCF_CLASSES, 2))
    parts = []
    for kind, num_words in (("train", 2), ("test", 1)):
        path = folder / f"{kind}list{split:02d}.txt"
        if not path.is_file():
            raise LabelError(f"split must be one that {folder} has files of, got {split}: {path.name} is missing")
        items: list[Item] = []
        labels = []
        for words, place in _lines(path, num_words):
            items.append(index.item(words[0]))
            labels.append(WrittenLabel(words[0].split("/")[0], place))
        if not labels:
            raise LabelError(f"{path} names no video")
        parts.append(single_question(str(path), names, items, number_labels(labels, names)[1]))
    return parts[0], parts[1]


def hmdb51_files(folder: Path) -> dict[int, list[Path]]:
    """Return HMDB51's files of a folder, or of the one in it that they are packed with, by the number of the split."""
    found: dict[int, list[Path]] = {}
    for path in sorted((*folder.glob("*_test_split*.txt"), *folder.glob("*/*_test_split*.txt"))):
        match = _HMDB_FILE.fullmatch(path.name)
        if match:
            found.setdefault(int(match["split"]), []).append(path)
    return found


def read_hmdb51(folder: Path, index: MediaIndex, split: int) -> tuple[LabelledSet, LabelledSet]:
    """Read training and test set of a split of HMDB51.

    Args:
        folder: holds `CLASS_test_split1.txt` of every class and those of the other splits, maybe in a folder of their
            own; a line is a video and 1 for training, 2 for the test or 0 for neither.
        index: where the videos lie.
        split: 1, 2 or 3.

    Raises:
        LabelError: if the split has no files, or a line of one is broken.
    """
    files = hmdb51_files(folder)
    if split not in files:
        raise LabelError(f"split must be one that {folder} has files of, {sorted(files)}, got {split}")
    names = [str(_HMDB_FILE.fullmatch(path.name)["name"]) for path in files[split]]  # type: ignore[index]
    items: dict[str, list[Item]] = {use: [] for use in _HMDB_USES}
    labels: dict[str, list[int]] = {use: [] for use in _HMDB_USES}
    for number, path in enumerate(files[split]):
        for (name, use), place in _lines(path, 2):
            if use not in _HMDB_USES:
                raise LabelError(f"{place} must be a video and 0, 1 or 2, got {use!r}")
            items[use].append(index.item(f"{names[number]}/{name}"))
            labels[use].append(number)
    sets = [single_question(f"{folder}, split {split}", names, items[use], labels[use]) for use in ("1", "2")]
    return sets[0], sets[1]


def _lines(path: Path, num_words: int) -> Iterator[tuple[list[str], str]]:
    """Yield the words of each line that is not blank, and where it stands.

    Raises:
        LabelError: if a line has another number of words.
    """
    for number, line in enumerate(read_lines(path), start=1):
        words, place = line.split(), f"line {number} of {path}"
        if words and len(words) != num_words:
            raise LabelError(f"{place} must have {num_words} word{'s' * (num_words > 1)}, got {line.strip()!r}")
        if words:
            yield words, place
