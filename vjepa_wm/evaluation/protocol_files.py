"""Protocols as files: the ones that come with the package, and everybody's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from vjepa_wm.checks import did_you_mean
from vjepa_wm.evaluation.protocol import Episode, EvaluationProtocol
from vjepa_wm.safe_files import load_json, write_bytes

FOLDER = Path(__file__).with_name("protocols")
"""Where the shipped protocols lie."""


def protocol_content(protocol: EvaluationProtocol) -> dict[str, Any]:
    """Return a protocol as json has it."""
    return json.loads(json.dumps(asdict(protocol)))


def save_protocol(protocol: EvaluationProtocol, path: str | Path) -> None:
    """Write a protocol as json, an episode a line; floats keep every digit.

    Args:
        protocol: what to write.
        path: the file; its folder is made if missing.
    """
    content = asdict(protocol)
    episodes = ",\n  ".join(json.dumps(episode) for episode in content.pop("episodes"))
    head = json.dumps(content, indent=1).removesuffix("\n}")
    write_bytes(Path(path), f'{head},\n "episodes": [\n  {episodes}\n ]\n}}\n'.encode())


def load_protocol(source: str | Path) -> EvaluationProtocol:
    """Read a protocol.

    Args:
        source: a file as `save_protocol` writes it, or the name of a shipped protocol.

    Returns:
        The protocol.

    Raises:
        FileNotFoundError: if there is no such file or name.
        ValueError: if the file is not json, lacks a field, has one too many or holds a value out of range.
    """
    path = FOLDER / f"{source}.json" if str(source) in shipped_protocols() else Path(source)
    if not path.is_file():
        shipped = shipped_protocols()
        raise FileNotFoundError(
            f"no protocol at {path}{did_you_mean(str(source), shipped)} shipped are {', '.join(shipped)}"
        )
    try:
        return protocol_from(load_json(path))
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # also what json raises
        raise ValueError(f"{path} is not a protocol: {error}") from error


def shipped_protocols() -> tuple[str, ...]:
    """Return the names of the protocols that come with the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


def protocol_from(content: Any) -> EvaluationProtocol:
    """Return the protocol that json holds as `protocol_content` gives it.

    Raises:
        ValueError: if it lacks a field, has one too many or holds a value out of range.
        TypeError: if a value is of another kind.
    """
    parts = _fields_of(EvaluationProtocol, content)
    if not isinstance(parts["episodes"], list):
        raise ValueError(f"episodes must be a list, got {type(parts['episodes']).__name__}")
    parts["episodes"] = tuple(_read_episode(index, entry) for index, entry in enumerate(parts["episodes"]))
    parts["goal_steps"] = tuple(parts["goal_steps"])
    return EvaluationProtocol(**parts)


def _read_episode(index: int, entry: Any) -> Episode:
    try:
        episode = Episode(**_fields_of(Episode, entry))
        episode.reset_options()
    except (ValueError, TypeError) as error:
        raise ValueError(f"episode {index}: {error}") from error
    return episode


def _fields_of(kind: type, content: Any) -> dict[str, Any]:
    """Check that a json object has exactly the fields of a dataclass."""
    if not isinstance(content, Mapping):
        raise ValueError(f"{kind.__name__} must be a json object, got {type(content).__name__}")
    names = [part.name for part in fields(kind)]
    missing = [name for name in names if name not in content]
    unknown = [name for name in content if name not in names]
    if missing or unknown:
        raise ValueError(
            f"{kind.__name__} must have the fields {', '.join(names)}; "
            f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
        )
    return dict(content)
