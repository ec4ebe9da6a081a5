"""Labels as they stand in files, as numbers of classes.

Why this file exists: some lists write numbers, some write names, and one wrong word among ten thousand must be told by
its line, not become a class of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vjepa_wm.checks import did_you_mean
from vjepa_wm.data.labelled.label_files import class_number, read_json, read_lines
from vjepa_wm.data.labelled.labelled_set import LabelError


@dataclass(frozen=True)
class WrittenLabel:
    """A label as a file has it."""

    text: str
    """The label itself."""
    place: str
    """Where it stands, such as "line 3 of train.csv"."""


def number_labels(labels: Sequence[WrittenLabel], known: Sequence[str] | None) -> tuple[tuple[str, ...], list[int]]:
    """Return the names of the classes, and the class of each label.

    Args:
        labels: at least one.
        known: names of the classes by number; None: they are what the labels say. If all of these are numbers, the
            classes go from 0 to the largest and are named so; else they are the different names, sorted.

    Raises:
        LabelError: if a label is none of the known classes, or numbers and names are mixed.
    """
    if known is not None:
        numbers = {name: number for number, name in enumerate(known)}
        return tuple(known), [_known_number(label, numbers) for label in labels]
    if labels[0].text.isdecimal():
        for label in labels:
            if not label.text.isdecimal():
                raise LabelError(
                    f"{label.place}: the label must be a number, as that of {labels[0].place} is, got {label.text!r}"
                )
        classes = [class_number(label.text, label.place) for label in labels]
        return tuple(str(number) for number in range(max(classes) + 1)), classes
    names = sorted({label.text for label in labels})
    stray = next((label for label in labels if label.text.isdecimal()), None)
    if stray is not None:
        raise LabelError(
            f"{stray.place}: the label must be a name, as {labels[0].text!r} of {labels[0].place} is, "
            f"got {stray.text!r}"
        )
    numbers = {name: number for number, name in enumerate(names)}
    return tuple(names), [numbers[label.text] for label in labels]


def _known_number(label: WrittenLabel, numbers: dict[str, int]) -> int:
    if label.text in numbers:
        return numbers[label.text]
    number = class_number(label.text, label.place) if label.text.isdecimal() else len(numbers)
    if number < len(numbers):
        return number
    raise LabelError(
        f"{label.place}: unknown label {label.text!r}{did_you_mean(label.text, numbers)} "
        f"there are {len(numbers)} classes"
    )


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read the names of classes by number.

    Args:
        path: a text file of one name per line, or json: a list of names, `{"name": number}` as that of
            Something-Something v2, or `{"number": "name"}` as Hugging Face's `id2label`.

    Raises:
        FileNotFoundError: if there is no such file.
        LabelError: if it is none of these, names occur twice, or numbers are missing.
    """
    if path.suffix.lower() != ".json":
        names = [line.strip() for line in read_lines(path) if line.strip()]
    else:
        names = _names_of_json(read_json(path), path)
    if len(names) < 1 or len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise LabelError(f"{path} must name each class once, got {f'{twice[0]!r} twice' if twice else 'no name'}")
    return tuple(names)


def _names_of_json(content: object, path: Path) -> list[str]:
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return content
    if isinstance(content, dict):
        pairs = [(str(key), str(value)) for key, value in content.items()]
        if all(key.isdecimal() for key, _ in pairs):
            pairs = [(value, key) for key, value in pairs]
        if all(number.isdecimal() for _, number in pairs):
            by_number = {class_number(number, str(path)): name for name, number in pairs}
            if sorted(by_number) == list(range(len(pairs))):
                return [by_number[number] for number in range(len(pairs))]
    raise LabelError(f"{path} must be a list of names, or names and the numbers 0, 1, ... of the classes")
