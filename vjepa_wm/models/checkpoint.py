"""The checkpoint format: a folder with ``model.safetensors`` and a ``config.json`` that rebuilds the model.

``config.json`` names the kind of model (``video_encoder``, ``masked_predictor``, ``world_model``), so a file of another
kind is refused before its weights are read.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
Config = TypeVar("Config")
Model = TypeVar("Model", bound=nn.Module)


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or of another architecture."""


def save_model(
    model: nn.Module, kind: str, config: object, folder: str | Path, dtype: torch.dtype | None = None
) -> None:
    """Write a model's weights and configuration.

    Args:
        model: the module; its state dict is written.
        kind: what the model is, checked on loading.
        config: the dataclass that rebuilds it.
        folder: where to, made if missing.
        dtype: floating type of the stored weights; None keeps theirs.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().to("cpu", dtype).contiguous() for name, value in model.state_dict().items()}
    temporary = folder / (WEIGHTS_FILE + ".tmp")
    save_file(weights, temporary)
    temporary.replace(folder / WEIGHTS_FILE)
    text = json.dumps({"kind": kind, **dataclasses.asdict(config)}, indent=2)
    (folder / CONFIG_FILE).write_text(text + "\n")


def build_config(cls: type[Config], values: dict, path: Path) -> Config:
    """Build a (nested) configuration dataclass from json values, naming every unknown or missing field."""
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(fields))
    required = {n for n, f in fields.items() if f.default is dataclasses.MISSING}
    missing = sorted(required - set(values))
    if unknown or missing:
        raise CheckpointError(
            f"{path} is not a {cls.__name__}: unknown fields {unknown or 'none'}, missing fields {missing or 'none'}"
        )
    built = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            value = build_config(hints[name], value, path)
        built[name] = tuple(value) if isinstance(value, list) else value
    return cls(**built)


def read_config(folder: str | Path, kind: str, cls: type[Config]) -> Config:
    """Read the configuration of a checkpoint folder.

    Raises:
        CheckpointError: there is no checkpoint, or it is one of another kind.
    """
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {folder}: {CONFIG_FILE} is missing")
    try:
        values = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is not valid json: {error}") from error
    found = values.pop("kind", None)
    if found != kind:
        raise CheckpointError(f"{folder} holds a {found or 'checkpoint of unknown kind'}, but a {kind} is needed")
    return build_config(cls, values, path)


def load_model(folder: str | Path, kind: str, config_class: type[Config], build: Callable[[Config], Model]) -> Model:
    """Rebuild a model from a checkpoint folder.

    Raises:
        CheckpointError: the folder holds no checkpoint, one of another kind, a damaged file, or weights that do not
            fit their configuration.
    """
    model = build(read_config(folder, kind, config_class))
    load_weights(model, Path(folder) / WEIGHTS_FILE)
    return model


def load_weights(model: nn.Module, path: Path) -> None:
    """Read weights into `model`, raising CheckpointError with every key that does not fit."""
    weights = read_tensors(path)
    wanted = model.state_dict()
    missing = sorted(set(wanted) - set(weights))
    unexpected = sorted(set(weights) - set(wanted))
    shapes = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in sorted(set(wanted) & set(weights))
        if weights[name].shape != wanted[name].shape
    ]
    if missing or unexpected or shapes:
        groups = (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        lines = [
            f"{len(keys)} {title}: {', '.join(keys[:6])}{', ...' * (len(keys) > 6)}" for title, keys in groups if keys
        ]
        raise CheckpointError(
            f"{path} does not fit its {CONFIG_FILE}, so it is a checkpoint of another architecture; keys: "
            + "; ".join(lines)
        )
    model.load_state_dict(weights)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path.parent}: {path.name} is missing")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {error}") from error
