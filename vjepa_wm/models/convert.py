"""Rewrite a checkpoint of any form as ours, or as a folder that Hugging Face transformers loads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro
from torch import nn

from vjepa_wm.models.checkpoint import (
    AC_PREDICTOR,
    ATTENTIVE_PROBE,
    CONFIG_FILE,
    MASKED_PREDICTOR,
    VIDEO_ENCODER,
    WEIGHTS_FILE,
    WORLD_MODEL,
    CheckpointError,
    save_model,
)
from vjepa_wm.models.inspect import list_models
from vjepa_wm.models.load import load_ac_predictor, load_encoder, load_predictor, load_probe, load_world_model
from vjepa_wm.models.official.architecture import Positions
from vjepa_wm.models.official.huggingface_export import save_huggingface
from vjepa_wm.models.official.weight_source import KINDS

_FOLDERS = {
    WORLD_MODEL: "world_model",
    VIDEO_ENCODER: "encoder",
    MASKED_PREDICTOR: "predictor",
    AC_PREDICTOR: "ac_predictor",
    ATTENTIVE_PROBE: "probe",
}
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """Rewrite a checkpoint as vjepa_wm's own, or as a folder for Hugging Face transformers."""

    source: tyro.conf.Positional[str]
    """A file or folder, or the name of a published checkpoint that lies on this machine."""
    out: Path
    """Folder to write; several models go into folders inside it. It may not hold a checkpoint yet."""
    format: Literal["vjepa_wm", "huggingface"] = "vjepa_wm"
    """Whose form to write."""
    key: str | None = None
    """Which encoder of an official file, if not the default one."""
    num_heads: int | None = None
    """Attention heads of the encoder, or of the only model, if its width is not a published one."""
    positions: Positions | None = None
    """rope or sincos, where a stored table of positions leaves it open."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Number format of the written weights; loading always gives float32."""


def run_convert(config: ConvertConfig) -> None:
    """Convert a checkpoint and print what was written.

    Raises:
        CheckpointError: the source cannot be read or not be written in this form, or `out` holds a checkpoint.
    """
    kinds = held_kinds(config.source)
    write = _write_own if config.format == "vjepa_wm" else _write_huggingface
    for folder, what in write(config, kinds):
        print(f"wrote {folder}: {what}, {config.dtype}")


def held_kinds(source: str) -> list[str]:
    """Return the kinds of models to convert; an encoder with an action-conditioned predictor is a world model."""
    kinds = list(dict.fromkeys(held.kind for held in list_models(source)))
    if VIDEO_ENCODER in kinds and AC_PREDICTOR in kinds:
        kinds = [WORLD_MODEL, *(kind for kind in kinds if kind not in (VIDEO_ENCODER, AC_PREDICTOR))]
    return kinds


def load_kind(kind: str, config: ConvertConfig, num_heads: int | None) -> nn.Module:
    """Load the model of a kind from the source."""
    if kind == WORLD_MODEL:
        if num_heads is not None or config.positions is not None:
            raise CheckpointError("num_heads and positions must be left out for a world model")
        return load_world_model(config.source, key=config.key)
    if kind == VIDEO_ENCODER:
        return load_encoder(config.source, key=config.key, num_heads=num_heads, positions=config.positions)
    if kind == MASKED_PREDICTOR:
        return load_predictor(config.source, num_heads=num_heads, positions=config.positions)
    return (load_ac_predictor if kind == AC_PREDICTOR else load_probe)(config.source, num_heads=num_heads)


def _write_own(config: ConvertConfig, kinds: list[str]) -> Iterator[tuple[Path, str]]:
    """Write our form and yield (folder, what it holds)."""
    folders = {kind: config.out / _FOLDERS[kind] if len(kinds) > 1 else config.out for kind in kinds}
    _refuse_overwriting(list(folders.values()))
    for kind, folder in folders.items():
        # One model at a time, so that only the largest has to fit into memory.
        model = load_kind(kind, config, config.num_heads if kind == VIDEO_ENCODER or len(kinds) == 1 else None)
        save_model(model, kind, model.config, folder, _DTYPES[config.dtype])
        yield folder, f'{_count(model)}, read it with vjepa_wm.{KINDS[kind].reader}("{folder}")'


def _write_huggingface(config: ConvertConfig, kinds: list[str]) -> Iterator[tuple[Path, str]]:
    """Write Hugging Face's form and yield (folder, what it holds)."""
    if WORLD_MODEL not in kinds and VIDEO_ENCODER not in kinds:
        held = " and ".join(KINDS[kind].title for kind in kinds)
        raise CheckpointError(f"transformers needs a video encoder, but {config.source} holds {held} only")
    _refuse_overwriting([config.out])
    encoder = load_kind(VIDEO_ENCODER, config, config.num_heads)
    predictor = load_kind(MASKED_PREDICTOR, config, None) if MASKED_PREDICTOR in kinds else None
    probe = load_kind(ATTENTIVE_PROBE, config, None) if ATTENTIVE_PROBE in kinds else None
    save_huggingface(config.out, encoder, predictor, probe, _DTYPES[config.dtype])
    models = [model for model in (encoder, predictor, probe) if model is not None]
    count = sum(parameter.numel() for model in models for parameter in model.parameters())
    name = "VJEPA2Model" if probe is None else "VJEPA2ForVideoClassification"
    what = f"{count:,} parameters, read it with transformers.{name}.from_pretrained"
    if WORLD_MODEL in kinds:
        what += " (without the action-conditioned predictor, which transformers does not have)"
    yield config.out, what


def _count(model: nn.Module) -> str:
    return f"{type(model).__name__}, {sum(value.numel() for value in model.parameters()):,} parameters"


def _refuse_overwriting(folders: list[Path]) -> None:
    """Raise CheckpointError if one of `folders` holds a checkpoint."""
    for folder in folders:
        if folder.is_file():
            raise CheckpointError(f"out must be a folder, but {folder} is a file")
        if (folder / CONFIG_FILE).exists() or (folder / WEIGHTS_FILE).exists():
            raise CheckpointError(f"out must not hold a checkpoint yet, but {folder} does; name another folder")
