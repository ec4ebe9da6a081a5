"""Folders of classes, as torchvision and ImageNet have them: the name of a folder is the class of what lies in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vjepa_wm.checks import did_you_mean
from vjepa_wm.data.clips.clip_sources import find_clip_source
from vjepa_wm.data.labelled.labelled_set import Item, LabelError, LabelledSet, single_question

TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("val", "valid", "validation", "test")
"""In this order: the labels of a test folder are often kept back."""


def child_folders(root: Path) -> list[Path]:
    """Return the folders directly below one, hidden ones left out, sorted."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def find_split_folders(root: Path) -> tuple[Path, Path | None] | None:
    """Return the folders of training and test below one, if there are such with folders of classes in them."""
    found = {path.name.lower(): path for path in child_folders(root)}
    train = next((found[name] for name in TRAIN_NAMES if name in found and child_folders(found[name])), None)
    test = next((found[name] for name in TEST_NAMES if name in found and child_folders(found[name])), None)
    return None if train is None else (train, test)


def read_class_folders(
    root: Path, *, class_names: Sequence[str] | None = None, frames_fps: float | None = None
) -> LabelledSet:
    """List the videos and pictures in folders of classes.

    Args:
        root: the folder above those of the classes.
        class_names: the classes by number, of which not all need a folder; None: the names of the folders, sorted.
        frames_fps: as of `find_clip_source`.

    Raises:
        FileNotFoundError: if the folder of a class holds no video and no picture.
        LabelError: if there are no folders, or one is of no known class.
    """
    folders = child_folders(root)
    if not folders:
        raise LabelError(f"{root} must hold a folder of videos or pictures for each class, got none")
    known = {name: number for number, name in enumerate(class_names or [folder.name for folder in folders])}
    items: list[Item] = []
    labels: list[int] = []
    for folder in folders:
        if folder.name not in known:
            raise LabelError(
                f"{folder}: unknown label {folder.name!r}{did_you_mean(folder.name, known)} "
                f"there are {len(known)} classes"
            )
        source = find_clip_source(folder, frames_fps=frames_fps)
        found: list[Item] = [*source.videos, *source.pictures]
        items += found
        labels += [known[folder.name]] * len(found)
    return single_question(str(root), tuple(known), items, labels)
