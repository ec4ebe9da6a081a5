"""Checkpoints as Meta publishes them: which models are in such a file, under the names of our modules.

The files are dictionaries of state dicts: V-JEPA 1, V-JEPA 2, 2.1 and 2-AC, their probes, and what jepa-wms trained.
Our modules have the published names, so translating is a matter of prefixes. Which architecture the weights are of is
read in `vjepa_wm.models.official.architecture`; Hugging Face's names are in `vjepa_wm.models.official.huggingface`.

Source: released code of facebookresearch/vjepa2, facebookresearch/jepa and facebookresearch/jepa-wms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from torch import Tensor

from vjepa_wm.models.checkpoint import AC_PREDICTOR, ATTENTIVE_PROBE, MASKED_PREDICTOR, VIDEO_ENCODER, CheckpointError

ENCODER_KEYS = ("ema_encoder", "target_encoder", "encoder")
"""Names of encoders in a file, the preferred first: slow copies are what Meta evaluates and trains on."""
_PREFIXES = ("module.", "backbone.", "_orig_mod.")
_TABLES = ("pos_embed", "predictor_pos_embed")


@dataclass(frozen=True)
class PublishedModel:
    """One model in a file."""

    name: str
    """Its entry in the file; empty if the file is the model."""
    kind: str
    """What it is, by the names of `vjepa_wm.models.checkpoint`."""
    weights: dict[str, Tensor]
    """Its tensors under the names of our modules."""
    table: Tensor | None
    """Stored fixed positions (N, D); they are computed, not loaded, but tell the grid."""


def find_models(content: Mapping, path: Path) -> list[PublishedModel]:
    """Find the models in what `read_pt` returned; entries that are none (optimizer, epoch, ...) are passed over.

    Raises:
        CheckpointError: if two tensors of a model have the same name once prefixes are gone.
    """
    found = [_make_part(name, weights, path) for name, weights in state_dicts(content)]
    parts = [part for part in found if part is not None]
    return [_with_conditions(part, content, path) if part.kind == AC_PREDICTOR else part for part in parts]


def state_dicts(content: Mapping) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Yield (entry, state dict); the entry is empty where `content` itself is one. Of a list, the first counts."""
    if _is_state_dict(content):
        yield "", content
        return
    for name, value in content.items():
        first = value[0] if isinstance(value, list | tuple) and value else value
        if _is_state_dict(first):
            yield str(name), first


def _is_state_dict(value: object) -> TypeGuard[Mapping[str, Tensor]]:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(item, Tensor) for item in value.values())


def strip_prefixes(weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Take what training wrappers put into names out of them.

    Raises:
        CheckpointError: if two names become one.
    """
    stripped = {}
    for name, value in weights.items():
        short = str(name)
        for prefix in _PREFIXES:
            short = short.replace(prefix, "")
        if short in stripped:
            raise CheckpointError(f"{path} holds {short!r} twice, with and without {', '.join(_PREFIXES)} before it")
        stripped[short] = value
    return stripped


def recognise(names: Mapping[str, Tensor]) -> str | None:
    """Tell what kind of model has these parameters; None if none of ours."""
    if "pooler.query_tokens" in names:
        return ATTENTIVE_PROBE
    if any(name.startswith("predictor_blocks.") for name in names):
        is_masked = any(name.startswith("mask_tokens.") for name in names) or "predictor_pos_embed" in names
        return MASKED_PREDICTOR if is_masked else AC_PREDICTOR
    if "patch_embed.proj.weight" in names or any(name.startswith("blocks.") for name in names):
        return VIDEO_ENCODER
    return None


def _make_part(name: str, weights: Mapping[str, Tensor], path: Path) -> PublishedModel | None:
    short = strip_prefixes(weights, path)
    kind = recognise(short)
    if kind is None:
        return None
    tables = [short.pop(key) for key in _TABLES if key in short]
    projection = short.get("patch_embed.proj.weight")
    if projection is not None and projection.dim() == 4:  # an image model: tubelets of one frame
        short["patch_embed.proj.weight"] = projection.unsqueeze(2)
    return PublishedModel(name, kind, short, tables[0].flatten(0, -2) if tables else None)


def _with_conditions(part: PublishedModel, content: Mapping, path: Path) -> PublishedModel:
    """Put action and state encoder into the predictor, from beside it and under our name, as jepa-wms has them."""
    weights = dict(part.weights)
    for theirs, ours in (
        ("action_encoder", "action_encoder"),
        ("proprio_encoder", "state_encoder"),
        ("state_encoder", "state_encoder"),
    ):
        for leaf in ("weight", "bias"):
            if f"{theirs}.{leaf}" in weights:
                weights[f"{ours}.{leaf}"] = weights.pop(f"{theirs}.{leaf}")
        beside = content.get(theirs)
        if f"{ours}.weight" not in weights and _is_state_dict(beside):
            for name, value in strip_prefixes(beside, path).items():
                weights[f"{ours}.{name.rsplit('.', maxsplit=1)[-1]}"] = value
    return PublishedModel(part.name, part.kind, weights, part.table)


def likely_cause(part: PublishedModel) -> str:
    """Return the end of the sentence about a part whose tensors do not fit, with its likeliest cause."""
    names = part.weights
    if part.kind == VIDEO_ENCODER and not any(name.startswith("norms_block.") for name in names):
        if any(name in names for name in ("img_mod_embed", "patch_embed_img.proj.weight")):
            return "is a V-JEPA 2.1 encoder that was cut down: its norms_block.* are gone"
        return "is no V-JEPA encoder, or one that was cut down or changed"
    return f"is no {part.kind.replace('_', ' ')} as V-JEPA has them, or one that was cut down or changed"
