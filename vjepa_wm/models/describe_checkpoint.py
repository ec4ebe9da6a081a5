"""Tell what a checkpoint holds, in words for somebody who sees it for the first time.

Only names, shapes and number formats are looked at, so the largest file takes seconds and no memory.
"""

from __future__ import annotations

from pathlib import Path

from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.attentive_probe import AttentiveProbeConfig
from vjepa_wm.models.checkpoint import (
    AC_PREDICTOR,
    ATTENTIVE_PROBE,
    LINEAR_CLASSIFIER,
    MASKED_PREDICTOR,
    PROPOSAL,
    VIDEO_ENCODER,
    WORLD_MODEL,
    CheckpointError,
    build_meta,
    check_weights,
)
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.linear_classifier import LinearClassifierConfig
from vjepa_wm.models.mlp import Activation, hidden_width
from vjepa_wm.models.official.releases import release_of
from vjepa_wm.models.predictor import MaskedPredictorConfig
from vjepa_wm.models.proposal import ProposalConfig
from vjepa_wm.models.read_checkpoint import read_checkpoint
from vjepa_wm.models.stored_model import KINDS, PartConfig, StoredModel

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
    LINEAR_CLASSIFIER: "tells classes from one vector of its encoder",
    PROPOSAL: "proposes the next action on the way to a goal picture",
    WORLD_MODEL: "imagines what actions lead to; plan and evaluate use it",
}
_FORMS = {
    "vjepa_wm": "a checkpoint folder of vjepa_wm",
    "huggingface": "a model folder of Hugging Face transformers",
    "official": "a PyTorch file, as Meta publishes its models",
}


def describe_checkpoint(source: str | Path) -> str:
    """Tell what a checkpoint holds.

    Args:
        source: as of `vjepa_wm.models.load.load_encoder`.

    Returns:
        Several lines of text.

    Raises:
        CheckpointError: if the source is missing or broken, or holds no model that is known here.
    """
    checkpoint = read_checkpoint(source)
    path = checkpoint.path
    release = release_of(path)
    lines = [f"{path}: {_FORMS[checkpoint.form]}"]
    if release is not None:
        lines.append(f"by its name it is {release.name}, {release.holds}")
    for model in checkpoint.models:
        lines += ["", *describe_model(model, path)]
    if WORLD_MODEL in checkpoint.kinds:
        lines += ["", f"together they are {KINDS[WORLD_MODEL].title}: {_USES[WORLD_MODEL]}"]
        lines.append(f'  read it with vjepa_wm.{KINDS[WORLD_MODEL].reader}("{path}")')
    if checkpoint.other_entries:
        lines += ["", f"other entries, not needed here: {', '.join(checkpoint.other_entries)}"]
    return "\n".join(lines)


def describe_model(model: StoredModel, path: Path) -> list[str]:
    """Return what there is to say of one model, a line each.

    Args:
        model: one of a checkpoint.
        path: where the checkpoint is.
    """
    kind, names = KINDS[model.kind], list(model.weights)
    count = sum(value.numel() for value in model.weights.values())
    types = dict.fromkeys(str(value.dtype).removeprefix("torch.") for value in model.weights.values())
    config, trouble = try_on(model)
    lines = [f"{model.name}: {kind.title}" if model.name else kind.title]
    if config is not None:
        lines = [f"{lines[0]}, {family(config)}", f"  {', '.join(form_of(config))}"]
    lines.append(f"  {count:,} parameters in {len(names)} tensors ({', '.join(types)}): {names[0]} ... {names[-1]}")
    if trouble:
        return [*lines, f"  as it is it cannot be loaded: {trouble}"]
    key = f', key="{model.name}"' if model.kind == VIDEO_ENCODER and model.name and path.is_file() else ""
    return [*lines, f"  {_USES[model.kind]}", f'  read it with vjepa_wm.{kind.reader}("{path}"{key})']


def try_on(model: StoredModel) -> tuple[PartConfig | None, str]:
    """Tell whether a stored model could be loaded, without loading it.

    Args:
        model: one of a checkpoint.

    Returns:
        Its configuration, None if it cannot be told, and what loading it would complain of, empty if of nothing.
    """
    config = None
    try:
        config = model.read_config()
        targets = model.targets(build_meta(KINDS[model.kind].model, config))
        check_weights(targets, model.weights, model.label, model.misfit)
    except CheckpointError as error:
        return config, str(error)
    return config, ""


def family(config: PartConfig) -> str:
    """Return generation and size of a model, as far as its configuration tells."""
    if isinstance(config, AttentiveProbeConfig):
        return "for anticipation" if config.num_actions else f"for {config.num_classes} classes"
    if isinstance(config, LinearClassifierConfig):
        return f"for {config.num_classes} classes"
    if isinstance(config, ProposalConfig):
        return "trained with labels" if config.object_dim else "trained without labels"
    if config.rope is None:
        form = "with fixed positions (V-JEPA 1)"
    elif isinstance(config, ActionConditionedPredictorConfig):
        form = "V-JEPA 2-AC" if config.rope == "tiled" else "of vjepa_wm"
    else:
        form = "V-JEPA 2" if config.rope == "tiled" else "V-JEPA 2.1" if config.rope_grid else "of vjepa_wm"
    size = _SIZES.get((config.embed_dim, config.depth)) if isinstance(config, VideoEncoderConfig) else None
    return f"{form} {size}" if size else form


def form_of(config: PartConfig) -> list[str]:
    """Return widths and depths in words."""
    if isinstance(config, ProposalConfig):
        return [
            f"width {config.hidden_dim}, {config.depth} hidden layers, {config.num_tokens} tokens read to "
            f"{config.reader_dim} numbers each",
            f"{config.num_modes} modes over actions of {config.action_dim} numbers",
        ]
    if isinstance(config, LinearClassifierConfig):
        return [f"width {config.embed_dim}, reads the {config.readout.replace('_', ' ')}"]
    activation: Activation = "gelu"
    if isinstance(config, VideoEncoderConfig | MaskedPredictorConfig):
        activation = config.activation
    words = [
        f"width {config.embed_dim}, {config.depth} blocks, {config.num_heads} heads",
        f"MLP {hidden_width(config.embed_dim, config.mlp_ratio, activation)} ({activation})",
    ]
    if isinstance(config, VideoEncoderConfig):
        words.append(f"tubelets of {config.tubelet_size} x {' x '.join(map(str, config.patch_shape))}")
        words.append(f"made for {config.num_frames} frames of {config.image_size} px")
    elif not isinstance(config, AttentiveProbeConfig):
        words.append(f"for an encoder of width {config.encoder_dim}")
    if isinstance(config, MaskedPredictorConfig):
        words.append(f"{config.num_mask_tokens} mask tokens")
    if isinstance(config, ActionConditionedPredictorConfig):
        state = f"states of {config.state_dim}" if config.use_state else "no states"
        words.append(f"actions of {config.action_dim} numbers, {state}")
    return words
