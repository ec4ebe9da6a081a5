"""From a path or name to the models that lie there: locate, then read. Nothing is built and no tensor is read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vjepa_wm.models.checkpoint import (
    AC_PREDICTOR,
    CONFIG_FILE,
    MISFIT,
    PROPOSAL,
    VIDEO_ENCODER,
    WEIGHTS_FILE,
    CheckpointError,
    build_config,
    check_weights,
    read_json,
    read_tensors,
)
from vjepa_wm.models.official.foreign_models import read_huggingface_folder, read_official_file
from vjepa_wm.models.official.releases import resolve
from vjepa_wm.models.stored_model import KINDS, Checkpoint, Form, PartConfig, StoredModel
from vjepa_wm.models.world_model import WorldModelConfig


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where a checkpoint lies."""

    path: Path
    """A file, or the folder of a `config.json`."""
    form: Form
    """Whose form it has."""
    values: dict
    """Content of its `config.json`; empty for a file."""


def read_checkpoint(source: str | Path) -> Checkpoint:
    """Find a checkpoint and tell what it holds.

    Args:
        source: folder or file, or the name of a published checkpoint that lies on this machine (see
            `vjepa_wm.models.official.releases.resolve`).

    Raises:
        CheckpointError: if it is missing or broken, or holds no model that is known here.
    """
    place = locate(source)
    if place.form == "official":
        return read_official_file(place.path)
    if place.form == "huggingface":
        return read_huggingface_folder(place.path, place.values)
    return _read_own_folder(place.path, place.values)


def locate(source: str | Path) -> Location:
    """Return the path that `source` means, and which form its checkpoint has.

    Raises:
        CheckpointError: if there is no such checkpoint.
    """
    path = resolve(source)
    if path.is_file() and path.suffix == ".safetensors" and (path.parent / CONFIG_FILE).is_file():
        path = path.parent
    if path.is_file():
        return Location(path=path, form="official", values={})
    if not (path / CONFIG_FILE).is_file():
        inside = [found.parent.name for found in sorted(path.glob(f"*/{CONFIG_FILE}"))]
        inside += [found.name for found in sorted(path.glob("*.pt*"))]
        hint = f"; but it contains {', '.join(inside)}: name one of them" if inside else ""
        raise CheckpointError(f"no checkpoint at {path}: {CONFIG_FILE} is missing{hint}")
    values = read_json(path / CONFIG_FILE)
    if "kind" in values:
        return Location(path=path, form="vjepa_wm", values=values)
    if "model_type" in values:
        return Location(path=path, form="huggingface", values=values)
    raise CheckpointError(f"{path / CONFIG_FILE} names neither a 'kind' (vjepa_wm) nor a 'model_type' (Hugging Face)")


def _read_own_folder(path: Path, values: dict) -> Checkpoint:
    """Read a folder that this package wrote.

    Raises:
        CheckpointError: if its kind is unknown, or its configuration or its weights are broken.
    """
    fields = {name: value for name, value in values.items() if name != "kind"}
    kind = values["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise CheckpointError(f"{path} holds a {kind!r}, known are {', '.join(KINDS)}")
    config = build_config(KINDS[kind].config, fields, path / CONFIG_FILE)
    weights = read_tensors(path / WEIGHTS_FILE)
    if not isinstance(config, WorldModelConfig):
        model = _own_model("", kind, weights, config, str(path / WEIGHTS_FILE))
        return Checkpoint(path=path, form="vjepa_wm", models=(model,))
    own = ("encoder.", "predictor.") if config.proposal is None else ("encoder.", "predictor.", "proposal.")
    outside = {name: value for name, value in weights.items() if not name.startswith(own)}
    check_weights({}, outside, path / WEIGHTS_FILE, MISFIT)
    parts: list[tuple[str, str, PartConfig]] = [
        ("encoder", VIDEO_ENCODER, config.encoder),
        ("predictor", AC_PREDICTOR, config.predictor),
    ]
    if config.proposal is not None:
        parts.append(("proposal", PROPOSAL, config.proposal))
    models = tuple(
        _own_model(name, of, _below(weights, f"{name}."), inner, f"{path / WEIGHTS_FILE} ({name})")
        for name, of, inner in parts
    )
    return Checkpoint(path=path, form="vjepa_wm", models=models, antialias=config.antialias)


def _own_model(name: str, kind: str, weights: Mapping[str, Tensor], config: PartConfig, label: str) -> StoredModel:
    return StoredModel(name=name, kind=kind, weights=weights, label=label, misfit=MISFIT, read_config=lambda: config)


def _below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
