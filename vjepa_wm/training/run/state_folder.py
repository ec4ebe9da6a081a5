"""The states of a run on disk: which are whole, and how one gets its name only when all of it is there.

RUN/state/step-00000100/       a whole state: `state.json` and a shard of each process
RUN/state/step-00000200.tmp/   one that is being written, or that a killed run left half-written or half-deleted
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.safe_files import write_json
from vjepa_wm.training.run.shards import sync

STATE_FOLDER = "state"
"""Folder of the states in the folder of a run."""
DESCRIPTION_FILE = "state.json"
MOST_SHARDS = 100_000
"""As many as their names have room for."""


def has_training_state(folder: str | Path) -> bool:
    """Tell whether the folder of a run holds a whole state."""
    return bool(StateFolder(Path(folder) / STATE_FOLDER).steps())


def shard_name(rank: int) -> str:
    """Return the file of what a process holds."""
    return f"rank-{rank:05d}.safetensors"


class StateFolder:
    """The folder of the states of one run."""

    def __init__(self, root: Path, keep: int = 1) -> None:
        """Remember where it is.

        Args:
            root: the folder.
            keep: number of newest states that stay when one is published.
        """
        self.root = root
        self._keep = keep

    def steps(self) -> list[int]:
        """Return the steps of the states whose writing has come to its end."""
        matches = (re.fullmatch(r"step-(\d{8,})", path.name) for path in self.root.glob("step-*"))
        return [int(match[1]) for match in matches if match]

    def path(self, step: int) -> Path:
        """Return the folder of the whole state of a step."""
        return self.root / f"step-{step:08d}"

    def unfinished(self, step: int) -> Path:
        """Return the folder of the state of a step while it is written."""
        return self.root / f"{self.path(step).name}.tmp"

    def make_room(self, step: int) -> None:
        """Make the folder to write the state of a step in.

        Raises:
            CheckpointError: if there is a state of that step or a later one.
        """
        newest = max(self.steps(), default=-1)
        if newest >= step:
            raise CheckpointError(
                f"{self.root} already holds a state of step {newest}, so one of step {step} would never be loaded; "
                f"load() it first, or choose another folder"
            )
        self.remove_halves()
        self.unfinished(step).mkdir(parents=True)

    def remove_halves(self) -> None:
        """Remove states that killed runs left half-written or half-deleted."""
        for path in self.root.glob("*.tmp"):
            shutil.rmtree(path)

    def publish(self, step: int, description: dict[str, Any]) -> None:
        """Describe a state whose shards are all written, give it its name, and then delete the old ones."""
        temporary = self.unfinished(step)
        write_json(temporary / DESCRIPTION_FILE, description)
        sync(temporary / DESCRIPTION_FILE)
        sync(temporary)
        temporary.rename(self.path(step))
        sync(self.root)
        for old in sorted(self.steps())[: -self._keep]:
            # Renamed first, so that none that is deleted by half looks whole.
            shutil.rmtree(self.path(old).rename(self.unfinished(old)))
