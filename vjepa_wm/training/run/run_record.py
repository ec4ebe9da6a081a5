"""What a run is, in a file beside its state: for people to read, and so that no other run goes on with it.

What was read, such as an encoder, counts by its content: the same at another place is the same run, another at the same
place is not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vjepa_wm.checks import differences
from vjepa_wm.models.checkpoint import CheckpointError

CONTENT = "content"
"""Key of what tells the contents of what was read from others."""


def run_record(options: Mapping[str, Any], content: Mapping[str, object]) -> dict[str, Any]:
    """Return the record of a run, as json has it.

    Args:
        options: all its options by name.
        content: by the name of an option that says where something is read, what tells its content from others; also
            of one side of it, such as "pictures of data".
    """
    return json.loads(json.dumps({**options, CONTENT: content}, default=_text))


def told_apart(found: dict[str, Any], asked: dict[str, Any], free: Iterable[str]) -> list[str]:
    """Say in what a recorded run and one that is asked for differ; nothing if the second may go on with the first.

    Args:
        found: the record of the first, which may be of a version that knew fewer options.
        asked: the record of the second.
        free: options that may differ; a name with a dot is an option of a part.
    """
    told = []
    theirs, ours = ({**record.get(CONTENT, {})} for record in (found, asked))
    for option in ours:
        if theirs.get(option, ours[option]) != ours[option]:
            name = option.rpartition(" of ")[2]
            told.append(_other_content(option, (found.get(name), theirs[option]), (asked.get(name), ours[option])))
    may_differ = {CONTENT, *free, *(theirs.keys() & ours.keys())}
    if asked["steps"] >= found.get("steps", 0):
        may_differ.add("steps")
    return told + differences(*(_placed(_without(record, may_differ)) for record in (found, asked)))


def refuse_another_run(folder: Path, told: Sequence[str]) -> None:
    """Raise a CheckpointError if the run in a folder differs from the one that is asked for, as `told_apart` says."""
    if told:
        raise CheckpointError(
            f"{folder} holds another run: {'; '.join(told)}; give what it began with, or choose another folder"
        )


def _other_content(option: str, found: tuple[Any, Any], asked: tuple[Any, Any]) -> str:
    """Say that what an option names is not what it was; names and contents may be lists, one item each.

    Args:
        option: its name.
        found: names and contents of the recorded run.
        asked: those of the run that is asked for.
    """
    (were, before), (names, now) = found, asked
    if isinstance(before, list) and isinstance(names, list) and len(names) == len(before) == len(now):
        names = ", ".join(name for name, old, new in zip(names, before, now, strict=True) if old != new)
    elif _placed(were) != _placed(names):
        return f"{option} {were} (content {before}), asked for {names} (content {now})"
    return f"{option} {names} has another content than before"


def _without(record: Mapping[str, Any], names: Iterable[str], within: str = "") -> dict[str, Any]:
    """Return a record without some names; one with a dot stands in a part of it."""
    return {
        name: _without(value, names, f"{within}{name}.") if isinstance(value, Mapping) else value
        for name, value in record.items()
        if within + name not in names
    }


def _placed(value: Any) -> Any:
    """Return json values with the whole path of all that lies here; older records have paths as they were given."""
    if isinstance(value, dict):
        return {name: _placed(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_placed(part) for part in value]
    return _text(value) if isinstance(value, str) else value


def _text(value: object) -> str:
    """Return a value as text: of what lies here the whole path, which holds in every folder."""
    text = str(value)
    return os.path.realpath(text) if text and os.path.exists(text) else text
