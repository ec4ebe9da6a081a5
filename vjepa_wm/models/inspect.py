"""Tell what a checkpoint holds, in words for somebody who sees it for the first time.

Only names, shapes and number formats are looked at, so the largest file takes seconds and no memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tyro
from torch import Tensor

from vjepa_wm.models.ac_predictor import ActionConditionedPredictorConfig
from vjepa_wm.models.attentive_probe import AttentiveProbeConfig
from vjepa_wm.models.checkpoint import (
    AC_PREDICTOR,
    ATTENTIVE_PROBE,
    CONFIG_FILE,
    MASKED_PREDICTOR,
    MISFIT,
    VIDEO_ENCODER,
    WEIGHTS_FILE,
    WORLD_MODEL,
    CheckpointError,
    build_meta,
    check_weights,
    read_config,
    read_json,
    read_tensors,
)
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.layers import hidden_width
from vjepa_wm.models.official import huggingface
from vjepa_wm.models.official.parts import Part, likely_cause, read_parts
from vjepa_wm.models.official.reading import read_huggingface, read_pt
from vjepa_wm.models.official.releases import release_of
from vjepa_wm.models.official.weight_source import (
    KINDS,
    find_source,
    huggingface_config,
    label,
    official_config,
    official_parts,
)
from vjepa_wm.models.predictor import MaskedPredictorConfig

_SIZES = {
    (192, 12): "ViT-T",
    (384, 12): "ViT-S",
    (768, 12): "ViT-B",
    (1024, 24): "ViT-L",
    (1280, 32): "ViT-H",
    (1408, 40): "ViT-g",
    (1664, 48): "ViT-G",
}
_USES = {
    VIDEO_ENCODER: "turns clips and pictures into features; train-ac and probe build on it",
    MASKED_PREDICTOR: "estimates the features of hidden places of a clip from those of the visible ones",
    AC_PREDICTOR: "estimates the features after an action; with its encoder it is a world model",
    ATTENTIVE_PROBE: "answers questions about a clip from its encoder's features",
    WORLD_MODEL: "imagines what actions lead to; plan and evaluate use it",
}
_FORMS = {
    "vjepa_wm": "a checkpoint folder of vjepa_wm",
    "huggingface": "a model folder of Hugging Face transformers",
    "official": "a PyTorch file, as Meta publishes its models",
}


@dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """Tell what a checkpoint holds: its models, their sizes, and which functions read them."""

    file: tyro.conf.Positional[str]
    """A file or folder, or the name of a published checkpoint that lies on this machine."""


@dataclass(frozen=True)
class Held:
    """One model in a checkpoint."""

    name: str
    """Where in the checkpoint; empty if it is all of it."""
    kind: str
    """What it is, by the names of `vjepa_wm.models.checkpoint`."""
    weights: Mapping[str, Tensor]
    """Its tensors, unread."""
    config: object | None
    """Its configuration; None if it cannot be told."""
    trouble: str = ""
    """Why it cannot be loaded as it is; empty if it can."""


def run_inspect(config: InspectConfig) -> None:
    """Print what a checkpoint holds; errors as `describe`."""
    print(describe(config.file))


def describe(source: str | Path) -> str:
    """Tell what a checkpoint holds.

    Args:
        source: as of `vjepa_wm.models.load.load_encoder`.

    Returns:
        Several lines of text.

    Raises:
        CheckpointError: the source is missing or broken, or holds no model that is known here.
    """
    path, form = find_source(source)
    release = release_of(path)
    lines = [f"{path}: {_FORMS[form]}"]
    if release is not None:
        lines.append(f"by its name it is {release.name}, {release.holds}")
    models = list_models(source)
    for held in models:
        lines += ["", *describe_model(held, path)]
    if {VIDEO_ENCODER, AC_PREDICTOR} <= {held.kind for held in models}:
        lines += ["", f"both together are {KINDS[WORLD_MODEL].title}: {_USES[WORLD_MODEL]}"]
        lines.append(f'  read it with vjepa_wm.{KINDS[WORLD_MODEL].reader}("{path}")')
    if form == "official":
        lines += _other_entries(path)
    return "\n".join(lines)


def list_models(source: str | Path) -> list[Held]:
    """Return the models in a checkpoint without building any; errors as `describe`."""
    path, form = find_source(source)
    if form == "official":
        return [_hold_official(part, path) for part in official_parts(path)]
    if form == "huggingface":
        return _list_huggingface(path)
    return _list_own(path)


def _hold_official(part: Part, path: Path) -> Held:
    try:
        config = official_config(part, path)
    except CheckpointError as error:
        return Held(part.name, part.kind, part.weights, None, str(error))
    targets = build_meta(KINDS[part.kind].model, config).state_dict()
    trouble = _misfit(targets, part.weights, label(part, path), likely_cause(part))
    return Held(part.name, part.kind, part.weights, config, trouble)


def _misfit(targets: Mapping[str, Tensor], weights: Mapping[str, Tensor], name: object, likely: str) -> str:
    """Return what loading would say of weights that do not fit; empty if they do."""
    try:
        check_weights(targets, weights, name, likely)
    except CheckpointError as error:
        return str(error)
    return ""


def _list_huggingface(path: Path) -> list[Held]:
    weights, values = read_huggingface(path)
    parts = huggingface.split_parts(weights)
    huggingface.check_folder(parts, values, path)
    models = []
    for kind, part in parts.items():
        config = huggingface_config(kind, parts, values, path)
        targets = huggingface.foreign_names(build_meta(KINDS[kind].model, config).state_dict(), kind)
        models.append(Held("", kind, part, config, _misfit(targets, part, path, huggingface.MISFIT)))
    return models


def _list_own(path: Path) -> list[Held]:
    kind = read_json(path / CONFIG_FILE)["kind"]
    if kind not in KINDS:
        raise CheckpointError(f"{path} holds a {kind!r}, known are {', '.join(KINDS)}")
    weights, config = read_tensors(path / WEIGHTS_FILE), read_config(path, kind, KINDS[kind].config)
    trouble = _misfit(build_meta(KINDS[kind].model, config).state_dict(), weights, path / WEIGHTS_FILE, MISFIT)
    if kind != WORLD_MODEL:
        return [Held("", kind, weights, config, trouble)]
    halves = (("encoder", VIDEO_ENCODER, config.encoder), ("predictor", AC_PREDICTOR, config.predictor))
    return [
        Held(half, of, {name: value for name, value in weights.items() if name.startswith(f"{half}.")}, inner, trouble)
        for half, of, inner in halves
    ]


def describe_model(held: Held, path: Path) -> list[str]:
    """Return what there is to say of one model, a line each."""
    kind = KINDS[held.kind]
    count = sum(value.numel() for value in held.weights.values())
    types = dict.fromkeys(str(value.dtype).removeprefix("torch.") for value in held.weights.values())
    names = list(held.weights)
    lines = [f"{held.name}: {kind.title}" if held.name else kind.title]
    if held.config is not None:
        lines = [f"{lines[0]}, {family(held.config)}", f"  {', '.join(form_of(held.config))}"]
    lines.append(f"  {count:,} parameters in {len(names)} tensors ({', '.join(types)}): {names[0]} ... {names[-1]}")
    if held.trouble:
        return [*lines, f"  as it is it cannot be loaded: {held.trouble}"]
    key = f', key="{held.name}"' if held.kind == VIDEO_ENCODER and held.name and path.is_file() else ""
    return [*lines, f"  {_USES[held.kind]}", f'  read it with vjepa_wm.{kind.reader}("{path}"{key})']


def family(config: object) -> str:
    """Return generation and size of a model, as far as its configuration tells."""
    if isinstance(config, AttentiveProbeConfig):
        return "for anticipation" if config.num_actions else f"for {config.num_classes} classes"
    if config.rope is None:
        form = "with fixed positions (V-JEPA 1)"
    elif isinstance(config, ActionConditionedPredictorConfig):
        form = "V-JEPA 2-AC" if config.rope == "tiled" else "of vjepa_wm"
    else:
        form = "V-JEPA 2" if config.rope == "tiled" else "V-JEPA 2.1" if config.rope_grid else "of vjepa_wm"
    size = _SIZES.get((config.embed_dim, config.depth)) if isinstance(config, VideoEncoderConfig) else None
    return f"{form} {size}" if size else form


def form_of(config: object) -> list[str]:
    """Return widths and depths in words."""
    has_choice = isinstance(config, VideoEncoderConfig | MaskedPredictorConfig)
    activation = config.activation if has_choice else "gelu"
    words = [
        f"width {config.embed_dim}, {config.depth} blocks, {config.num_heads} heads",
        f"MLP {hidden_width(config.embed_dim, config.mlp_ratio, activation)} ({activation})",
    ]
    if isinstance(config, VideoEncoderConfig):
        words.append(f"tubelets of {config.tubelet_size} x {config.patch_size} x {config.patch_size}")
        words.append(f"made for {config.num_frames} frames of {config.image_size} px")
    elif not isinstance(config, AttentiveProbeConfig):
        words.append(f"for an encoder of width {config.encoder_dim}")
    if isinstance(config, MaskedPredictorConfig):
        words.append(f"{config.num_mask_tokens} mask tokens")
    if isinstance(config, ActionConditionedPredictorConfig):
        state = f"states of {config.state_dim}" if config.use_state else "no states"
        words.append(f"actions of {config.action_dim} numbers, {state}")
    return words


def _other_entries(path: Path) -> list[str]:
    """List what else stands in an official file."""
    content = read_pt(path)
    models = {part.name for part in read_parts(content, path)}
    others = [f"{name} ({type(value).__name__})" for name, value in content.items() if name not in models]
    return ["", f"other entries, not needed here: {', '.join(others)}"] if others and "" not in models else []
