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
from vjepa_wm.models.load import load_from
from vjepa_wm.models.official.architecture import Positions
from vjepa_wm.models.official.huggingface_export import save_huggingface
from vjepa_wm.models.read_checkpoint import read_checkpoint
from vjepa_wm.models.stored_model import KINDS, Checkpoint

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
        CheckpointError: if the source cannot be read or not be written in this form, or `out` holds a checkpoint.
    """
    checkpoint = read_checkpoint(config.source)
    write = _write_own if config.format == "vjepa_wm" else _write_huggingface
    for folder, what in write(config, checkpoint):
        print(f"wrote {folder}: {what}, {config.dtype}")


def load_kind(checkpoint: Checkpoint, kind: str, config: ConvertConfig, num_heads: int | None) -> nn.Module:
    """Load the model of a kind, with the options that concern it."""
    has_encoder = kind in (VIDEO_ENCODER, WORLD_MODEL)
    has_positions = has_encoder or kind == MASKED_PREDICTOR
    return load_from(
        checkpoint,
        kind,
        key=config.key if has_encoder else None,
        num_heads=num_heads,
        positions=config.positions if has_positions else None,
    )


def _write_own(config: ConvertConfig, checkpoint: Checkpoint) -> Iterator[tuple[Path, str]]:
    """Write our form and yield (folder, what it holds)."""
    kinds = checkpoint.kinds
    folders = {kind: config.out / _FOLDERS[kind] if len(kinds) > 1 else config.out for kind in kinds}
    _refuse_overwriting(list(folders.values()))
    for kind, folder in folders.items():
        # One model at a time, so that only the largest has to fit into memory.
        num_heads = config.num_heads if kind in (VIDEO_ENCODER, WORLD_MODEL) or len(kinds) == 1 else None
        model = load_kind(checkpoint, kind, config, num_heads)
        save_model(model, kind, model.config, folder, _DTYPES[config.dtype])
        yield folder, f'{_count(model)}, read it with vjepa_wm.{KINDS[kind].reader}("{folder}")'


def _write_huggingface(config: ConvertConfig, checkpoint: Checkpoint) -> Iterator[tuple[Path, str]]:
    """Write Hugging Face's form and yield (folder, what it holds)."""
    held = {model.kind for model in checkpoint.models}
    if VIDEO_ENCODER not in held:
        titles = " and ".join(KINDS[kind].title for kind in checkpoint.kinds)
        raise CheckpointError(f"transformers needs a video encoder, but {config.source} holds {titles} only")
    _refuse_overwriting([config.out])
    encoder = load_kind(checkpoint, VIDEO_ENCODER, config, config.num_heads)
    predictor = load_kind(checkpoint, MASKED_PREDICTOR, config, None) if MASKED_PREDICTOR in held else None
    probe = load_kind(checkpoint, ATTENTIVE_PROBE, config, None) if ATTENTIVE_PROBE in held else None
    save_huggingface(config.out, encoder, predictor, probe, _DTYPES[config.dtype])
    models = [model for model in (encoder, predictor, probe) if model is not None]
    count = sum(parameter.numel() for model in models for parameter in model.parameters())
    name = "VJEPA2Model" if probe is None else "VJEPA2ForVideoClassification"
    what = f"{count:,} parameters, read it with transformers.{name}.from_pretrained"
    if AC_PREDICTOR in held:
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
