"""EPIC-KITCHENS: actions in long videos, as verb, noun and the pair of both, to be told or to be anticipated.

Source: V-JEPA 2 (arXiv 2506.09985), section 5: the clip that is seen ends some time before the action starts.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vjepa_wm.data.labelled.label_files import class_number, csv_rows, read_lines
from vjepa_wm.data.labelled.labelled_set import LabelError, LabelledSet
from vjepa_wm.data.labelled.media_index import MediaIndex

logger = logging.getLogger(__name__)
EPIC_COLUMNS = ("video_id", "verb_class", "noun_class")
TIME_COLUMNS = ("start_timestamp", "stop_timestamp")
QUESTIONS = ("verb", "noun", "action")


class Action(NamedTuple):
    """A line of the annotations."""

    video: str
    """Id of its video."""
    start_s: float
    """When it begins [s]."""
    stop_s: float
    """When it ends [s]."""
    verb: int
    """Class of the verb."""
    noun: int
    """Class of the noun."""
    words: tuple[str, str]
    """Verb and noun as they were told."""


def is_epic_kitchens(path: Path) -> bool:
    """Tell whether a csv file is of EPIC-KITCHENS, by the names of its columns."""
    return set(EPIC_COLUMNS) <= set(read_lines(path)[0].strip().split(","))


def read_actions(path: Path, fps: float) -> list[Action]:
    """Read annotations.

    Args:
        path: csv with the columns `video_id`, `verb_class`, `noun_class`, and `start_timestamp` and `stop_timestamp`
            or `start_frame` and `stop_frame`; `verb` and `noun` name the classes.
        fps: frames per second of the videos, where only frames are told.

    Raises:
        LabelError: if a line is broken, or there is none.
    """
    actions = []
    rows = csv_rows(path, read_lines(path))
    header, _ = next(rows, ([], ""))
    for cells, place in rows:
        if not cells:
            continue
        row = dict(zip(header, cells, strict=False))
        try:
            start_s, stop_s = _times(row, fps)
            verb, noun = (class_number(row[name], place) for name in EPIC_COLUMNS[1:])
            if not row["video_id"] or not 0 <= start_s < stop_s < math.inf or len(cells) != len(header):
                raise ValueError("an action must have a video, and stop after it starts, and a cell for each column")
        except LabelError:
            raise
        except (KeyError, ValueError, OverflowError) as error:
            raise LabelError(f"{place} is no annotation of an action: {error}") from error
        words = row.get("verb") or str(verb), row.get("noun") or str(noun)
        actions.append(Action(row["video_id"], start_s, stop_s, verb, noun, words))
    if not actions:
        raise LabelError(f"{path} names no action")
    return actions


def _times(row: dict[str, str], fps: float) -> tuple[float, float]:
    """Return start and stop [s]."""
    if all(row.get(name) for name in TIME_COLUMNS):
        start, stop = (_seconds(row[name]) for name in TIME_COLUMNS)
        return start, stop
    return int(row["start_frame"]) / fps, int(row["stop_frame"]) / fps


def _seconds(text: str) -> float:
    hours, minutes, seconds = text.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def label_actions(
    path: Path,
    actions: Sequence[Action],
    index: MediaIndex,
    known: LabelledSet | None,
    before: tuple[float, float] | None,
) -> LabelledSet:
    """Make a set of which verb, noun and action are asked.

    Args:
        path: where the actions were read.
        actions: what happens.
        index: where the videos lie, called by their ids.
        known: the training set, whose classes count; actions of a pair of verb and noun that it lacks are left out,
            and counted. None: this is the training set.
        before: None shows the action itself; else how long before it starts the clip ends [s], and how long it is [s].

    Raises:
        LabelError: if no action is left.
    """
    if known is None:
        pairs = sorted({(one.verb, one.noun) for one in actions})
        verbs, nouns = (_names(actions, which) for which in range(2))
        classes = {
            "verb": verbs,
            "noun": nouns,
            "action": tuple(f"{verbs[verb]} {nouns[noun]}" for verb, noun in pairs),
        }
    else:
        classes = dict(known.classes)
        pairs = [(int(verb), int(noun)) for verb, noun in known.labels[np.unique(known.labels[:, 2], True)[1], :2]]
    numbers = {pair: number for number, pair in enumerate(pairs)}
    kept = [one for one in actions if (one.verb, one.noun) in numbers]
    if len(kept) < len(actions):
        logger.warning(
            "%d of %d actions of %s are left out: the training set has none of their verb and noun",
            len(actions) - len(kept),
            len(actions),
            path,
        )
    if not kept:
        raise LabelError(f"{path} holds no action that the training set has")
    return LabelledSet(
        name=str(path),
        classes=classes,
        items=[index.item(one.video, *_part(one, before)) for one in kept],
        labels=np.array([(one.verb, one.noun, numbers[one.verb, one.noun]) for one in kept], np.int64),
    )


def _part(action: Action, before: tuple[float, float] | None) -> tuple[float, float]:
    """Return the part of the video that is seen [s]; one that would begin before the video does begins with it."""
    if before is None:
        return action.start_s, action.stop_s
    gap_s, clip_s = before
    end_s = max(action.start_s - gap_s, 0.1)
    return max(end_s - clip_s, 0.0), end_s


def _names(actions: Sequence[Action], which: int) -> tuple[str, ...]:
    """Return the names of verbs or nouns: the first word that was told of each class."""
    words: dict[int, str] = {}
    for one in actions:
        words.setdefault((one.verb, one.noun)[which], one.words[which])
    names = [words.get(number, str(number)) for number in range(max(words) + 1)]
    return tuple(names)
