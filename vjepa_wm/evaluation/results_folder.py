"""The folder of an evaluation: what was played, episode by episode, so that it goes on after a kill and never mixes.

evaluation.json                      what is measured and with what; another evaluation is refused
episodes/<policy>/000.json           the record of an episode, there as soon as it was played
videos/<policy>/episode_000.mp4      what was seen
results.json, energy_and_distance.png   made from the records
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vjepa_wm.evaluation.evaluated_episode import EpisodeResult
from vjepa_wm.evaluation.protocol import EvaluationProtocol
from vjepa_wm.evaluation.protocol_files import protocol_content
from vjepa_wm.safe_files import FolderLock, write_bytes, write_json

SETTINGS_FILE = "evaluation.json"


class ResultsFolder:
    """Claims a folder for one evaluation, which no other process may write into meanwhile."""

    def __init__(self, folder: Path, protocol: EvaluationProtocol, settings: Mapping[str, Any]) -> None:
        """Begin in an empty folder, or go on in that of the same evaluation.

        Args:
            folder: where; made if missing.
            protocol: what is measured; a longer or shorter list of the same episodes is the same evaluation.
            settings: everything else that results depend on, json values by name.

        Raises:
            FolderInUseError: if another process is writing there.
            ValueError: if the folder holds another evaluation, or its description is damaged.
        """
        self.folder = folder
        self._lock = FolderLock(folder)
        with ExitStack() as on_error:
            on_error.callback(self._lock.release)
            self._claim(protocol, dict(settings))
            on_error.pop_all()

    def __enter__(self) -> ResultsFolder:
        """Return the folder itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Let others write."""
        self._lock.release()

    def is_played(self, policy: str, k: int) -> bool:
        """Tell whether an episode has been played."""
        return record_path(self.folder, policy, k).exists()

    def load(self, policy: str, k: int) -> EpisodeResult:
        """Read the record of an episode.

        Args:
            policy: who played it.
            k: its number.

        Raises:
            ValueError: if it is damaged.
        """
        path = record_path(self.folder, policy, k)
        try:
            return EpisodeResult.from_json(path.read_text(encoding="utf-8"))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is damaged: {error}; delete it to have the episode played again") from error

    def _claim(self, protocol: EvaluationProtocol, settings: dict[str, Any]) -> None:
        path = self.folder / SETTINGS_FILE
        asked = {"protocol": protocol_content(protocol), **settings}
        if path.exists():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
                differing = _differing(found, asked)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ValueError(f"{path} is damaged: {error}; choose another folder") from error
            if differing:
                raise ValueError(
                    f"{self.folder} holds another evaluation: {'; '.join(differing)}; choose another or delete it"
                )
            longer = max(found["protocol"], asked["protocol"], key=lambda content: len(content["episodes"]))
            asked = {**found, **asked, "protocol": longer}
            if asked == found:
                return
        write_json(path, asked)


def save_episode(folder: Path, policy: str, k: int, result: EpisodeResult, video: bytes) -> None:
    """Write what was played; the record comes last, so that an episode with a record is whole.

    Args:
        folder: of the evaluation.
        policy: who played it.
        k: number of the episode.
        result: its record.
        video: content of its mp4.
    """
    write_bytes(folder / "videos" / policy / f"episode_{k:03d}.mp4", video)
    write_bytes(record_path(folder, policy, k), result.to_json().encode())


def record_path(folder: Path, policy: str, k: int) -> Path:
    """Return where the record of an episode lies."""
    return folder / "episodes" / policy / f"{k:03d}.json"


def _differing(found: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Name what two evaluations differ in.

    Of their episodes, the first ones that both have must be the same. What only one has a setting for, such as a
    planner, the other does not depend on.
    """
    theirs, ours = dict(found["protocol"]), dict(asked["protocol"])
    common = min(len(theirs["episodes"]), len(ours["episodes"]))
    pairs = {
        name: (found[name], asked[name]) for name in {*found, *asked} - {"protocol"} if name in found and name in asked
    }
    pairs |= {f"protocol {name}": (theirs[name], ours[name]) for name in ours if name not in ("episodes", "origin")}
    lines = [f"{name} {there}, asked for {here}" for name, (there, here) in sorted(pairs.items()) if there != here]
    if theirs["episodes"][:common] != ours["episodes"][:common]:
        lines.append("other episodes")
    return lines
