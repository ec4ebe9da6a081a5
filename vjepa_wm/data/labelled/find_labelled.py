"""From a path to a training and a test set, whatever form the labels have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vjepa_wm.checks import check_at_least, check_positive, check_within
from vjepa_wm.data.clips.path_lists import LIST_SUFFIXES
from vjepa_wm.data.labelled.cifar import is_cifar, parquet_files, read_cifar, read_parquet
from vjepa_wm.data.labelled.class_folders import TEST_NAMES, find_split_folders, read_class_folders
from vjepa_wm.data.labelled.class_names import read_class_names
from vjepa_wm.data.labelled.epic_kitchens import is_epic_kitchens, label_actions, read_actions
from vjepa_wm.data.labelled.labelled_set import LabelError, LabelledSet, split_stratified
from vjepa_wm.data.labelled.media_index import MediaIndex
from vjepa_wm.data.labelled.path_labels import read_path_labels
from vjepa_wm.data.labelled.something import find_something, read_something
from vjepa_wm.data.labelled.split_files import UCF_CLASSES, hmdb51_files, read_hmdb51, read_ucf101

_WHOLE_SPLITS = ("", "train", "training")


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """How labelled data are read."""

    test: Path | None = None
    """What to measure on: a folder or an annotation file of the same form; none: the test split that the data state,
    else a share of them."""
    test_share: float = 0.2
    """Share of each class that is measured on where the data state no test split."""
    split: int = 1
    """Which split of UCF101 or HMDB51."""
    videos: Path | None = None
    """Folder of the files that an annotation names; none: its own folder."""
    class_names: Path | None = None
    """File of the names of the classes, in their order: text of one per line, or json."""
    frames_fps: float | None = None
    """Frames per second of folders of pictures that are videos; none: pictures are pictures."""
    anticipation_s: float | None = None
    """EPIC-KITCHENS: how long before an action its clip ends [s] (V-JEPA 2: 1); none: the action itself is shown."""
    context_s: float = 4.0
    """EPIC-KITCHENS: length of the clip before the action [s]."""
    annotated_fps: float = 60.0
    """EPIC-KITCHENS: frames per second that its annotations count in, where they tell no times."""
    max_bad_share: float = 0.1
    """Largest share of the files that may be unreadable; they are named and left out."""

    def __post_init__(self) -> None:
        check_within(0, 1, test_share=self.test_share, max_bad_share=self.max_bad_share)
        check_at_least(1, split=self.split)
        check_at_least(0, anticipation_s=self.anticipation_s)
        check_positive(frames_fps=self.frames_fps, context_s=self.context_s, annotated_fps=self.annotated_fps)


def find_labelled(path: Path, options: LabelOptions, seed: int) -> tuple[LabelledSet, LabelledSet]:
    """Read labels and tell which items they are of; no video or picture is opened.

    Args:
        path: one of
            a folder of folders, one for each class, or of `train` and `val` with such in them;
            a list of paths with labels (.csv, .tsv, .txt), see `read_path_labels`;
            the folder of the split files of UCF101 or HMDB51;
            the json file of Something-Something v2's training set, or the folder it lies in;
            a csv file of EPIC-KITCHENS;
            CIFAR's python archive, the folder of it, or a folder of parquet files with pictures.
        options: how.
        seed: decides what is measured on, where the data do not.

    Returns:
        Training and test set, of the same classes.

    Raises:
        FileNotFoundError: if there is no such file or folder, or nothing in the folder of a class.
        LabelError: if it is of no known form, a line is broken or a label unknown, or there is but one class.
    """
    for given in (path, options.test, options.videos, options.class_names):
        if given is not None and not given.exists():
            raise FileNotFoundError(f"labelled data do not exist: {given}")
    train, test = _read(path, options)
    train.check_classes()
    return (train, test) if test is not None else split_stratified(train, options.test_share, seed)


def _read(path: Path, options: LabelOptions) -> tuple[LabelledSet, LabelledSet | None]:
    """Return training and test set; None where neither the data nor the options state one."""
    index = MediaIndex(options.videos or (path if path.is_dir() else path.parent), options.frames_fps)
    if is_cifar(path):
        return read_cifar(path)
    something = find_something(path) if path.is_dir() or path.suffix == ".json" else None
    if something is not None:
        train_file, test_file, labels = something
        test_file = options.test or test_file
        train = read_something(train_file, labels, index)
        return train, None if test_file is None else read_something(test_file, labels, index)
    if path.is_file():
        return _read_file(path, options, index)
    if (path / UCF_CLASSES).is_file():
        return read_ucf101(path, index, options.split)
    if hmdb51_files(path):
        return read_hmdb51(path, index, options.split)
    return _read_folder(path, options)


def _read_file(path: Path, options: LabelOptions, index: MediaIndex) -> tuple[LabelledSet, LabelledSet | None]:
    if path.suffix.lower() not in LIST_SUFFIXES:
        raise LabelError(f"labels must be a folder, a list ({', '.join(LIST_SUFFIXES)}) or json, got {path}")
    if is_epic_kitchens(path):
        before = None if options.anticipation_s is None else (options.anticipation_s, options.context_s)
        train = label_actions(path, read_actions(path, options.annotated_fps), index, None, before)
        if options.test is None:
            return train, None
        actions = read_actions(options.test, options.annotated_fps)
        return train, label_actions(options.test, actions, index, train, before)
    names = None if options.class_names is None else read_class_names(options.class_names)
    sets = read_path_labels(path, index, class_names=names, frames_fps=options.frames_fps)
    train_split = next((split for split in _WHOLE_SPLITS if split in sets), None)
    if train_split is None:
        raise LabelError(f"{path} must have lines of the split train, got {', '.join(sets)}")
    train = sets[train_split]
    if options.test is None:
        test_split = next((split for split in ("val", "validate", *TEST_NAMES) if split in sets), None)
        return train, None if test_split is None else sets[test_split]
    own = MediaIndex(options.videos or options.test.parent, options.frames_fps)
    (known,) = train.classes.values()
    of_test = read_path_labels(options.test, own, class_names=known, frames_fps=options.frames_fps)
    split = next((split for split in ("val", "validate", *TEST_NAMES) if split in of_test), next(iter(of_test)))
    return train, of_test[split]


def _read_folder(path: Path, options: LabelOptions) -> tuple[LabelledSet, LabelledSet | None]:
    """Read folders of classes, or of parquet files."""
    names = None if options.class_names is None else read_class_names(options.class_names)
    tables = parquet_files(path, "train")
    if tables:
        train = read_parquet(tables, names)
        tests = next((found for part in TEST_NAMES if (found := parquet_files(path, part))), None)
        return train, None if tests is None else read_parquet(tests, train.classes["class"])
    parts = find_split_folders(path) or (path, None)
    train = read_class_folders(parts[0], class_names=names, frames_fps=options.frames_fps)
    test = options.test or parts[1]
    if test is None:
        return train, None
    return train, read_class_folders(test, class_names=train.classes["class"], frames_fps=options.frames_fps)
