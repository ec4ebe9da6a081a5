"""The checkpoint format: a folder with `model.safetensors` and a `config.json` that rebuilds the model.

`config.json` names the kind of model, so that a file of another kind is refused by its name.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vjepa_wm.safe_files import describe_start, load_json, write_json, write_whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
VIDEO_ENCODER = "video_encoder"
MASKED_PREDICTOR = "masked_predictor"
AC_PREDICTOR = "ac_predictor"
ATTENTIVE_PROBE = "attentive_probe"
LINEAR_CLASSIFIER = "linear_classifier"
WORLD_MODEL = "world_model"
PROPOSAL = "proposal"
MISFIT = f"does not fit its {CONFIG_FILE}, so it is a checkpoint of another architecture"
"""What is wrong with weights that do not fit the configuration beside them, after their name."""
LARGEST = 10_000_000
"""No single number of a configuration is larger."""
Config = TypeVar("Config", bound="DataclassInstance")
Model = TypeVar("Model", bound=nn.Module)


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or of another architecture."""


def save_model(
    model: nn.Module, kind: str, config: DataclassInstance, folder: str | Path, dtype: torch.dtype | None = None
) -> None:
    """Write a model's weights and configuration.

    Args:
        model: the module; its state dict is written.
        kind: what the model is, checked on loading.
        config: the dataclass that rebuilds it.
        folder: where to, made if missing.
        dtype: floating type of the stored weights; None keeps theirs.
    """
    write_folder(model.state_dict(), {"kind": kind, **dataclasses.asdict(config)}, folder, dtype)


def write_folder(
    weights: Mapping[str, Tensor], values: dict, folder: str | Path, dtype: torch.dtype | None = None
) -> None:
    """Write weights and the json beside them, the weights in one move, so that no half file is left.

    Args:
        weights: tensors by name.
        values: content of `config.json`.
        folder: where to, made if missing.
        dtype: floating type of the stored weights; None keeps theirs.
    """
    folder = Path(folder)
    stored = {name: value.detach().to("cpu", dtype).contiguous() for name, value in weights.items()}
    # transformers refuses files that do not say which framework wrote them.
    write_tensors(folder / WEIGHTS_FILE, stored, {"format": "pt"})
    write_json(folder / CONFIG_FILE, values)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file, whole or not at all.

    Args:
        path: of the file; its folder is made if missing.
        tensors: contiguous, in CPU memory, by name.
        metadata: text by name.

    Raises:
        OSError: if it cannot be written.
    """

    def write(unfinished: Path) -> None:
        # The library writes to a hidden name of its own making first, which a kill leaves behind: in a folder that the
        # next writing of this file removes.
        folder = unfinished.with_name(f"{unfinished.name}.d")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            save_file(dict(tensors), folder / path.name, metadata=metadata)
            os.replace(folder / path.name, unfinished)
        except SafetensorError as error:
            number = re.search(r"\(os error (\d+)\)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    write_whole(path, write)


def build_config(cls: type[Config], values: dict, path: Path) -> Config:
    """Build a (nested) configuration dataclass from json values.

    Raises:
        CheckpointError: if a field is unknown or missing, naming each, or the class refuses a value.
    """
    hints = {name: _without_none(hint) for name, hint in typing.get_type_hints(cls).items()}
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(fields))
    required = {
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    missing = sorted(required - set(values))
    if unknown or missing:
        raise CheckpointError(
            f"{path} is not a {cls.__name__}: unknown fields {unknown or 'none'}, missing fields {missing or 'none'}"
        )
    built = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]) and isinstance(value, dict):
            value = build_config(hints[name], value, path)
        built[name] = tuple(value) if isinstance(value, list) else value
        if not _fits(built[name], typing.get_type_hints(cls)[name]):
            raise CheckpointError(f"{path} does not describe a {cls.__name__}: {name} must not be {_shown(value)}")
    try:
        return cls(**built)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(f"{path} does not describe a {cls.__name__}: {error}") from error


def _fits(value: object, hint: typing.Any) -> bool:
    """Tell whether a value is of a type; numbers are finite, and single ones neither negative nor above `LARGEST`."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return any(type(value) is type(choice) and value == choice for choice in inner)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, option) for option in inner)
    if origin is tuple:
        kinds = inner[:1] * len(value) if isinstance(value, tuple) and inner[-1] is Ellipsis else inner
        return (
            isinstance(value, tuple)
            and len(value) == len(kinds)
            and all(is_plain_number(one, whole=kind is int) for one, kind in zip(value, kinds, strict=True))
        )
    if hint in (int, float):
        return is_plain_number(value, whole=hint is int) and 0 <= typing.cast(float, value) <= LARGEST
    return isinstance(value, hint)


def is_plain_number(value: object, *, whole: bool = False) -> bool:
    """Tell whether a value out of json is a finite number, maybe a whole one; True and False are none."""
    kinds = int if whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and abs(value) < float("inf")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:60] + "..."


def _without_none(hint: object) -> typing.Any:
    """Return what a type is besides None, if that is one thing; else the type as it is."""
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    return options[0] if isinstance(hint, types.UnionType) and len(options) == 1 else hint


def read_json(path: Path) -> dict:
    """Read a json object.

    Raises:
        CheckpointError: if the file is missing or holds something else.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path.parent}: {path.name} is missing")
    try:
        values = load_json(path)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold a json object, got a {type(values).__name__}")
    return values


def build_meta(build: Callable[[Config], Model], config: Config) -> Model:
    """Build a model without memory for its parameters: only names and shapes.

    Raises:
        RuntimeError: if the model has buffers that are not in its state dict; loading would leave them without values.
    """
    with torch.device("meta"):
        model = build(config)
    computed = {name for name, _ in model.named_buffers()} - set(model.state_dict())
    if computed:
        raise RuntimeError(f"{type(model).__name__} must not hold buffers outside its state dict, has {computed}")
    return model


def check_weights(targets: Mapping[str, Tensor], weights: Mapping[str, Tensor], label: object, likely: str) -> None:
    """Raise CheckpointError with every key that does not fit; arguments as of `copy_weights`."""
    missing = sorted(set(targets) - set(weights))
    unexpected = sorted(set(weights) - set(targets))
    shapes = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(targets[name].shape)}"
        for name in sorted(set(targets) & set(weights))
        if weights[name].shape != targets[name].shape
    ]
    whole = sorted(
        name
        for name in set(targets) & set(weights)
        if targets[name].dtype.is_floating_point and not weights[name].dtype.is_floating_point
    )
    if missing or unexpected or shapes or whole:
        groups = (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", shapes),
            ("not of floating-point numbers", whole),
        )
        lines = [
            f"{len(keys)} {title}: {', '.join(keys[:6])}{', ...' * (len(keys) > 6)}" for title, keys in groups if keys
        ]
        raise CheckpointError(f"{label} {likely}; keys: " + "; ".join(lines))


@torch.no_grad()
def copy_weights(targets: Mapping[str, Tensor], weights: Mapping[str, Tensor], label: object, likely: str) -> None:
    """Copy weights into a model's tensors one by one, after checking that names and shapes agree.

    Args:
        targets: where to, by the names that `weights` uses; views of parameters will do.
        weights: what to copy, of any floating type.
        label: what the message calls their source.
        likely: rest of the sentence that `label` begins: what is wrong and the likeliest cause.

    Raises:
        CheckpointError: if a key does not fit, with all of them, or numbers are not finite.
    """
    check_weights(targets, weights, label, likely)
    for name, target in targets.items():
        target.copy_(weights[name])
        # Largest and smallest tell it without a copy: NaN is the largest and the smallest of any numbers.
        if target.numel() and not torch.isfinite(torch.stack(torch.aminmax(target))).all():
            raise CheckpointError(f"{label} holds numbers that are infinite or none at all, the first in {name}")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; its tensors stay on the disk until they are used.

    Raises:
        CheckpointError: if the file is missing or damaged.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path.parent}: {path.name} is missing")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        why = describe_start(path) or (f": {error} (it has {path.stat().st_size} bytes; copy or download it again)")
        raise CheckpointError(f"{path} is damaged or not a safetensors file{why}") from error
