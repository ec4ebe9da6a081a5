"""Something-Something v2: annotations in json, whose classes are templates with a place for what is handled."""

from __future__ import annotations

from pathlib import Path

from vjepa_wm.data.labelled.class_names import WrittenLabel, number_labels, read_class_names
from vjepa_wm.data.labelled.label_files import read_json
from vjepa_wm.data.labelled.labelled_set import Item, LabelError, LabelledSet, single_question
from vjepa_wm.data.labelled.media_index import MediaIndex


def plain_template(template: str) -> str:
    """Return a template as the list of labels has it, without brackets around what is handled."""
    return template.replace("[", "").replace("]", "")


def find_something(path: Path) -> tuple[Path, Path | None, Path] | None:
    """Return the files of training, validation and labels that a folder holds, or that lie beside an annotation.

    Args:
        path: a folder, or the json file of the training set.
    """
    folder = path if path.is_dir() else path.parent
    found = {}
    for part in ("labels", "train", "validation"):
        fitting = sorted(folder.glob(f"*{part}.json"))
        found[part] = fitting[0] if len(fitting) == 1 else None
    train = path if path.is_file() else found["train"]
    if train is None or found["labels"] is None or train == found["labels"]:
        return None
    return train, None if found["validation"] == train else found["validation"], found["labels"]


def read_something(path: Path, labels_path: Path, index: MediaIndex) -> LabelledSet:
    """Read an annotation file.

    Args:
        path: json list of `{"id": "78687", "template": "Holding [something] next to [something]", ...}`.
        labels_path: json of the plain templates and their numbers.
        index: where the videos lie, called by their ids.

    Raises:
        LabelError: if the file is broken, or an entry is, or its template is unknown.
    """
    names = read_class_names(labels_path)
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise LabelError(f"{path} must be a list of annotations, got {'an empty one' if entries == [] else 'none'}")
    items: list[Item] = []
    labels = []
    for number, entry in enumerate(entries, start=1):
        place = f"entry {number} of {path}"
        if not isinstance(entry, dict) or not {"id", "template"} <= set(entry):
            raise LabelError(f"{place} must have an id and a template, got {str(entry)[:80]}")
        items.append(index.item(str(entry["id"])))
        labels.append(WrittenLabel(plain_template(str(entry["template"])), place))
    return single_question(str(path), names, items, number_labels(labels, names)[1])
