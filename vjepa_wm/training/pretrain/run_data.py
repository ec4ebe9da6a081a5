"""What a pretraining run is trained on, in its record, so that it goes on with the same.

Names and their order decide every draw. A file of another size may be a damaged one, which is left out as always, and
no reason to lose a run: that is told and no more.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vjepa_wm.data.clips.clip_sources import ClipSource, find_clip_source
from vjepa_wm.data.trajectories.layout import INFO_PATH
from vjepa_wm.models.checkpoint import CheckpointError, read_json
from vjepa_wm.training.pretrain.action_pairs import ActionPairs
from vjepa_wm.training.pretrain.config import PretrainConfig
from vjepa_wm.training.run.run_record import CONTENT

logger = logging.getLogger(__name__)

_FILES, _SIZES, _ACTIONS = "files of data", "sizes of data", "actions of inverse.data"


def find_sources(config: PretrainConfig) -> list[ClipSource]:
    """Find the sources of clips.

    Raises:
        FileNotFoundError: if a source does not exist or holds nothing.
        ValueError: if the run would write its curves among the pictures of a source.
    """
    for path in config.data:
        _refuse_run_within(config.out, path)
    return [find_clip_source(path, frames_fps=config.frame_folders_fps) for path in config.data]


def run_data(sources: Sequence[ClipSource], pairs: ActionPairs | None) -> dict[str, list[str]]:
    """Return what tells the data of a run from others, for its record."""
    content = {_FILES: [one.files for one in sources], _SIZES: [one.sizes() for one in sources]}
    return content if pairs is None else content | {_ACTIONS: pairs.contents()}


def check_run_data(config: PretrainConfig, record: Path, content: dict[str, list[str]]) -> None:
    """Compare the data of a run with those that it began with, and log where sizes or actions are others.

    Args:
        config: the run.
        record: what it wrote down when it began, perhaps by a version that wrote less.
        content: as of `run_data`.

    Raises:
        CheckpointError: if the names of the files are others.
    """
    found = read_json(record).get(CONTENT, {}) if record.exists() else {}
    others = _others(found.get(_FILES), content[_FILES], config.data)
    if others:
        raise CheckpointError(
            f"{config.out} holds another run: the files of data {others} are not those it began with, by their names "
            f"and order; give what it began with, or choose another folder (--start-from {config.out} goes on from it)"
        )
    for what, paths in ((_SIZES, config.data), (_ACTIONS, config.inverse.data)):
        others = _others(found.get(what), content.get(what, []), paths)
        if others:
            logger.warning("%s %s are not what they were when %s began; it goes on", what, others, config.out)


def _others(before: Any, now: Sequence[str], paths: Sequence[Path]) -> str:
    """Name the paths of which something is not what it was; a record may lack it."""
    if not isinstance(before, list) or len(before) != len(now):
        return ""
    return ", ".join(str(path) for path, old, new in zip(paths, before, now, strict=True) if old != new)


def _refuse_run_within(out: Path, source: Path) -> None:
    root = source.resolve()
    if not root.is_dir() or (root / INFO_PATH).is_file() or not out.resolve().is_relative_to(root):
        return
    within = out.resolve().relative_to(root)
    if not any(part.startswith(".") for part in within.parts):  # hidden folders are left out of a source
        raise ValueError(f"out {out} must not lie in data {source}, whose pictures the run's curves would become")
