"""What labelled data is once it is read: items, questions, and the answer of each item to each question.

Why this file exists: folders, lists, split files and tables all become this, so that whoever trains or measures on
labels knows one form. No file is opened.

Letters: M items, Q questions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vjepa_wm.checks import check_within
from vjepa_wm.data.clips.file_lists import ListedVideo
from vjepa_wm.data.randomness import generator_for

CLASS = "class"
"""The question of classification; anticipation asks for `verb`, `noun` and `action`."""
_SPLIT = int.from_bytes(b"spli")  # purpose of a draw


class LabelError(ValueError):
    """Labels that cannot be used; the message names the file, and the line where there is one."""


@dataclass(frozen=True, kw_only=True)
class TablePicture:
    """A picture that lies in a file with others, as those of CIFAR."""

    path: Path
    """The file."""
    index: int
    """Its number in the file, from 0."""
    read: Callable[[int], np.ndarray]
    """Returns the picture of a number, uint8 RGB (H, W, 3)."""

    @property
    def label(self) -> Path:
        """What messages call it."""
        return self.path.with_name(f"{self.path.name}#{self.index}")


Item = ListedVideo | Path | TablePicture
"""A video, the path of a picture, or a picture in a table."""


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """Items with their labels."""

    name: str
    """Where it was read."""
    classes: Mapping[str, tuple[str, ...]]
    """Names of the classes, by question."""
    items: Sequence[Item]
    """Videos and pictures, M of them."""
    labels: np.ndarray
    """Class of each item by question, in the order of `classes`, int64 (M, Q)."""

    def take(self, numbers: Sequence[int] | np.ndarray) -> LabelledSet:
        """Return the items of these numbers, in this order."""
        return replace(self, items=[self.items[int(k)] for k in numbers], labels=self.labels[np.asarray(numbers, int)])

    def check_classes(self) -> None:
        """Raise a LabelError unless at least two classes (of the last question) occur."""
        names, found = list(self.classes.values())[-1], np.unique(self.labels[:, -1])
        if len(found) < 2:
            raise LabelError(
                f"{self.name} must have items of at least two classes to tell apart, got {len(self.items)} items "
                f"of {[names[label] for label in found]}"
            )


def single_question(name: str, class_names: Sequence[str], items: Sequence[Item], labels: Sequence[int]) -> LabelledSet:
    """Return a set of which the class is asked; arguments as its fields."""
    return LabelledSet(
        name=name, classes={CLASS: tuple(class_names)}, items=items, labels=np.array(labels, np.int64).reshape(-1, 1)
    )


def split_stratified(data: LabelledSet, share: float, seed: int) -> tuple[LabelledSet, LabelledSet]:
    """Split a set at random, every class (of the last question) by itself in the same proportion.

    Args:
        data: what is split.
        share: of each class's items in the second part, above 0 and below 1; rounded, but at least one and not all.
        seed: decides which.

    Returns:
        First and second part, each in the order of the set.

    Raises:
        LabelError: if a class has a single item, or the share is not above 0 and below 1.
    """
    check_within(0, 1, share=share)
    question, column = list(data.classes)[-1], data.labels[:, -1]
    for label, count in zip(*np.unique(column, return_counts=True), strict=True):
        if count < 2 or not 0 < share < 1:
            raise LabelError(
                f"{data.name} cannot be split with the share {share:g}: class {data.classes[question][label]!r} has "
                f"{count} item{'s' * int(count > 1)}; give files of its own for the test, or more items"
            )
    chosen = choose_stratified(column, share, seed)
    return data.take(np.flatnonzero(~chosen)), data.take(np.flatnonzero(chosen))


def choose_stratified(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose items at random, of every class the same share, but at least one and not all; none of a single item.

    Args:
        labels: class of each item, (M,).
        share: how many.
        seed: decides which.

    Returns:
        Whether an item is chosen, bool (M,).
    """
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order = torch.randperm(len(members), generator=generator_for(_SPLIT, seed, int(label))).numpy()
        chosen[members[order[: min(max(round(share * len(members)), 1), len(members) - 1)]]] = True
    return chosen
