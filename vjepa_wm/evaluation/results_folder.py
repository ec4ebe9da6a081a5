"""The folder of an evaluation: what was played, episode by episode, so that it goes on after a kill and never mixes.

evaluation.json                      what is measured and with what; another evaluation is refused
episodes/<policy>/000.json           the record of an episode, there as soon as it was played
videos/<policy>/episode_000.mp4      what was seen
results.json, report.html, energy_and_distance.png   made from the records
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vjepa_wm.evaluation.evaluated_episode import EpisodeResult
from vjepa_wm.evaluation.protocol import EvaluationProtocol
from vjepa_wm.evaluation.protocol_files import protocol_content, protocol_from
from vjepa_wm.safe_files import FolderLock, load_json, write_bytes, write_json

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

    def check(self) -> None:
        """Make sure that nobody deleted the folder meanwhile.

        Raises:
            OSError: if somebody did, so that results are missing in what is there now.
        """
        self._lock.check()

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
        return load_record(self.folder, policy, k)

    def _claim(self, protocol: EvaluationProtocol, settings: dict[str, Any]) -> None:
        path = self.folder / SETTINGS_FILE
        asked = {"protocol": protocol_content(protocol), **settings}
        if path.exists():
            try:
                found = load_json(path)
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


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredEvaluation:
    """What a folder says of the evaluation it holds, finished or not."""

    folder: Path
    """Where it lies."""
    protocol: EvaluationProtocol
    """What is measured."""
    settings: Mapping[str, Any]
    """Everything else that results depend on, json values by name."""

    def policies(self) -> list[str]:
        """Return who has played any episode: in the order of the last table, then by name.

        Raises:
            ValueError: if the table is damaged.
        """
        played = {path.parent.name for path in self.folder.glob("episodes/*/*.json")}
        path = self.folder / "results.json"
        try:
            last = [str(row["policy"]) for row in load_json(path)["rows"]]
        except FileNotFoundError:  # it was stopped before its end
            last = []
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is damaged: {error}; evaluate writes it again") from error
        return [policy for policy in last if policy in played] + sorted(played - set(last))

    def records(self, policy: str) -> dict[int, EpisodeResult]:
        """Return what a policy has played, by the number of the episode.

        Raises:
            ValueError: if a record is damaged.
        """
        numbers = [k for k in range(len(self.protocol.episodes)) if record_path(self.folder, policy, k).exists()]
        return {k: load_record(self.folder, policy, k) for k in numbers}


def read_evaluation(folder: Path) -> StoredEvaluation:
    """Read what a folder holds, whoever may be writing into it.

    Raises:
        FileNotFoundError: if it holds no evaluation.
        ValueError: if its description is damaged.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no evaluation: there is no {path}")
    try:
        settings = load_json(path)
        protocol = protocol_from(settings.pop("protocol"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return StoredEvaluation(folder=folder, protocol=protocol, settings=settings)


def load_record(folder: Path, policy: str, k: int) -> EpisodeResult:
    """Read the record of an episode.

    Args:
        folder: of the evaluation.
        policy: who played it.
        k: its number.

    Raises:
        ValueError: if it is damaged.
    """
    path = record_path(folder, policy, k)
    try:
        return EpisodeResult.from_json(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}; delete it to have the episode played again") from error


def save_episode(folder: Path, policy: str, k: int, result: EpisodeResult, video: bytes) -> None:
    """Write what was played; the record comes last, so that an episode with a record is whole.

    Args:
        folder: of the evaluation.
        policy: who played it.
        k: number of the episode.
        result: its record.
        video: content of its mp4.
    """
    write_bytes(video_path(folder, policy, k), video)
    write_bytes(record_path(folder, policy, k), result.to_json().encode())


def record_path(folder: Path, policy: str, k: int) -> Path:
    """Return where the record of an episode lies."""
    return folder / "episodes" / policy / f"{k:03d}.json"


def video_path(folder: Path, policy: str, k: int) -> Path:
    """Return where the video of an episode lies."""
    return folder / "videos" / policy / f"episode_{k:03d}.mp4"


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
