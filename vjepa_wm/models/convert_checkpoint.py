"""Rewrite a checkpoint of any form as ours, or as a folder that Hugging Face transformers loads."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from torch import nn

from vjepa_wm.models.attentive_probe import AttentiveProbe
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
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.load import load_from
from vjepa_wm.models.official.architecture import Positions
from vjepa_wm.models.official.huggingface_export import save_huggingface
from vjepa_wm.models.predictor import MaskedPredictor
from vjepa_wm.models.stored_model import KINDS, Checkpoint, LoadedModel
from vjepa_wm.safe_files import load_json, remove_file, write_json

_FOLDERS = {
    WORLD_MODEL: "world_model",
    VIDEO_ENCODER: "encoder",
    MASKED_PREDICTOR: "predictor",
    AC_PREDICTOR: "ac_predictor",
    ATTENTIVE_PROBE: "probe",
}
_NOTE = ".convert.json"
"""Stands in `out` as long as it is not whole, and says what is being written there."""
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class ConversionConfig:
    """How a checkpoint is rewritten, and where to."""

    out: Path
    """Folder to write; several models go into folders inside it. It may not hold a checkpoint yet, but what this very
    conversion left when it was stopped."""
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


@dataclass(frozen=True, kw_only=True)
class WrittenFolder:
    """One folder that was written."""

    folder: Path
    """Where it is."""
    model: str
    """The class that it is a checkpoint of."""
    num_parameters: int
    """Numbers in its weights."""
    reader: str
    """The call that reads it."""
    note: str = ""
    """What the source had and this has not."""


def convert_checkpoint(checkpoint: Checkpoint, config: ConversionConfig) -> Iterator[WrittenFolder]:
    """Write a checkpoint in another form.

    Args:
        checkpoint: as `vjepa_wm.models.read_checkpoint.read_checkpoint` returns it.
        config: what to write.

    Yields:
        Each folder as soon as it is written.

    Raises:
        CheckpointError: if it cannot be loaded or not be written in this form, or `out` holds a checkpoint.
    """
    if config.format == "huggingface":
        yield _write_huggingface(checkpoint, config)
        return
    kinds = checkpoint.kinds
    folders = {kind: config.out / _FOLDERS[kind] if len(kinds) > 1 else config.out for kind in kinds}
    with _claimed(list(folders.values()), checkpoint, config):
        for kind, folder in folders.items():
            # One model at a time, so that only the largest has to fit into memory.
            model = _load_kind(checkpoint, kind, config, is_only=len(kinds) == 1)
            save_model(model, kind, model.config, folder, _DTYPES[config.dtype])
            reader = f'vjepa_wm.{KINDS[kind].reader}("{folder}")'
            yield WrittenFolder(folder=folder, model=type(model).__name__, num_parameters=_count(model), reader=reader)


def _write_huggingface(checkpoint: Checkpoint, config: ConversionConfig) -> WrittenFolder:
    held = {model.kind for model in checkpoint.models}
    if VIDEO_ENCODER not in held:
        titles = " and ".join(KINDS[kind].title for kind in checkpoint.kinds)
        raise CheckpointError(f"transformers needs a video encoder, but {checkpoint.path} holds {titles} only")
    with _claimed([config.out], checkpoint, config):
        models = {
            kind: _load_kind(checkpoint, kind, config)
            for kind in (VIDEO_ENCODER, MASKED_PREDICTOR, ATTENTIVE_PROBE)
            if kind in held
        }
        encoder = cast(VideoEncoder, models[VIDEO_ENCODER])
        predictor = cast(MaskedPredictor | None, models.get(MASKED_PREDICTOR))
        probe = cast(AttentiveProbe | None, models.get(ATTENTIVE_PROBE))
        save_huggingface(config.out, encoder, predictor, probe, _DTYPES[config.dtype])
    name = "VJEPA2Model" if probe is None else "VJEPA2ForVideoClassification"
    left_out = "without the action-conditioned predictor, which transformers does not have"
    return WrittenFolder(
        folder=config.out,
        model=name,
        num_parameters=sum(_count(model) for model in models.values()),
        reader=f"transformers.{name}.from_pretrained",
        note=left_out if AC_PREDICTOR in held else "",
    )


def _load_kind(checkpoint: Checkpoint, kind: str, config: ConversionConfig, *, is_only: bool = False) -> LoadedModel:
    """Load the model of a kind with those of the options that concern it."""
    has_encoder = kind in (VIDEO_ENCODER, WORLD_MODEL)
    return load_from(
        checkpoint,
        kind,
        key=config.key if has_encoder else None,
        num_heads=config.num_heads if has_encoder or is_only else None,
        positions=config.positions if has_encoder or kind == MASKED_PREDICTOR else None,
    )


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@contextmanager
def _claimed(folders: Sequence[Path], checkpoint: Checkpoint, config: ConversionConfig) -> Iterator[None]:
    """Leave a note in `out` until all is written, so that the same conversion, stopped, can be given again."""
    request = json.loads(json.dumps({"source": checkpoint.path.resolve(), **dataclasses.asdict(config)}, default=str))
    note = config.out / _NOTE
    _refuse_overwriting(folders, is_ours=_is_of(note, request))
    is_new = not config.out.exists()
    try:
        write_json(note, request)
        yield
    except CheckpointError:  # it cannot be converted, so there is nothing to go on with
        remove_file(note)
        if is_new and not any(config.out.iterdir()):
            config.out.rmdir()
        raise
    remove_file(note)


def _is_of(note: Path, request: dict[str, object]) -> bool:
    try:
        return load_json(note) == request
    except (OSError, ValueError):
        return False


def _refuse_overwriting(folders: Sequence[Path], *, is_ours: bool) -> None:
    """Raise CheckpointError if one of `folders` is a file, or holds a checkpoint that this conversion did not leave."""
    for folder in folders:
        if folder.is_file():
            raise CheckpointError(f"out must be a folder, but {folder} is a file")
        if is_ours:
            continue
        if (folder / CONFIG_FILE).exists() or (folder / WEIGHTS_FILE).exists():
            raise CheckpointError(f"out must not hold a checkpoint yet, but {folder} does; name another folder")
