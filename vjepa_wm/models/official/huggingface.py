"""Hugging Face's form of V-JEPA 2: its names, in both directions, and reading its configuration.

One table of names serves reading and writing: it gives our tensors, or parts of them (queries, keys and values are one
tensor here and three there), the names that transformers uses. Reading copies into those parts, writing stores them.

transformers has V-JEPA 2 encoder and masked predictor (`VJEPA2Model`), with a classification probe on top
(`VJEPA2ForVideoClassification`); there is no action-conditioned predictor.

Source: huggingface/transformers 5.23, model `vjepa2`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from vjepa_wm.models.attentive_probe import AttentiveProbeConfig
from vjepa_wm.models.checkpoint import (
    ATTENTIVE_PROBE,
    CONFIG_FILE,
    LARGEST,
    MASKED_PREDICTOR,
    VIDEO_ENCODER,
    CheckpointError,
    is_plain_number,
)
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.mlp import hidden_width
from vjepa_wm.models.official.architecture import count_blocks, heads
from vjepa_wm.models.predictor import MaskedPredictorConfig

MODEL_TYPE = "vjepa2"
HUGGINGFACE_MISFIT = "does not fit its config.json: it was cut down, or is not of transformers' vjepa2"
"""What is wrong with weights that do not fit, after their name."""
CLASSIFIER_PREFIX = "vjepa2."
MASK_TOKENS = "predictor.embeddings.mask_tokens"
POOLER_MLP_RATIO = 4.0
DEFAULTS = {
    "patch_size": 16,
    "crop_size": 256,
    "frames_per_clip": 64,
    "tubelet_size": 2,
    "hidden_size": 1024,
    "in_chans": 3,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "drop_path_rate": 0.0,
    "mlp_ratio": 4.0,
    "layer_norm_eps": 1e-6,
    "qkv_bias": True,
    "hidden_act": "gelu",
    "num_pooler_layers": 3,
    "pred_hidden_size": 384,
    "pred_num_attention_heads": 12,
    "pred_num_hidden_layers": 12,
    "pred_num_mask_tokens": 10,
    "pred_mlp_ratio": 4.0,
}
"""What a field is when `config.json` leaves it out."""

_STARTS = {
    VIDEO_ENCODER: {
        "patch_embed.": "encoder.embeddings.patch_embeddings.",
        "blocks.": "encoder.layer.",
        "norm.": "encoder.layernorm.",
    },
    MASKED_PREDICTOR: {
        "predictor_embed.": "predictor.embeddings.predictor_embeddings.",
        "mask_tokens.": f"{MASK_TOKENS}.",
        "predictor_blocks.": "predictor.layer.",
        "predictor_norm.": "predictor.layernorm.",
        "predictor_proj.": "predictor.proj.",
    },
    ATTENTIVE_PROBE: {
        "pooler.blocks.": "pooler.self_attention_layers.",
        "pooler.cross_attention_block.": "pooler.cross_attention_layer.",
        "linear.": "classifier.",
    },
}
_BLOCK = {
    ".attn.qkv.": (".attention.query.", ".attention.key.", ".attention.value."),
    ".attn.proj.": (".attention.proj.",),
}
_POOLER = {
    ".norm1.": (".layer_norm1.",),
    ".norm2.": (".layer_norm2.",),
    ".attn.qkv.": (".self_attn.q_proj.", ".self_attn.k_proj.", ".self_attn.v_proj."),
    ".attn.proj.": (".self_attn.out_proj.",),
    ".xattn.q.": (".cross_attn.q_proj.",),
    ".xattn.kv.": (".cross_attn.k_proj.", ".cross_attn.v_proj."),
}


def foreign_names(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Give the tensors of one of our models Hugging Face's names; fused ones become views of their parts.

    Mask tokens stay apart, numbered, although transformers stacks them.
    """
    result = {}
    for name, value in tensors.items():
        for ours, theirs in _STARTS[kind].items():
            if name.startswith(ours):
                name = theirs + name.removeprefix(ours)
                break
        rules = _POOLER if kind == ATTENTIVE_PROBE else _BLOCK
        fused, parts = next(((key, names) for key, names in rules.items() if key in name), ("", ("",)))
        for new, part in zip(parts, value.chunk(len(parts)), strict=True):
            result[name.replace(fused, new) if fused else name] = part
    return result


def split_parts(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Sort the tensors of a model by our kinds, without the prefix of a classifier and with mask tokens apart.

    What belongs to neither predictor nor probe is counted as the encoder's.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in weights.items():
        name = name.removeprefix(CLASSIFIER_PREFIX)
        kind = VIDEO_ENCODER
        if name.startswith("predictor."):
            kind = MASKED_PREDICTOR
        elif name.startswith(("pooler.", "classifier.")):
            kind = ATTENTIVE_PROBE
        part = parts.setdefault(kind, {})
        if name == MASK_TOKENS:
            part |= {f"{MASK_TOKENS}.{index}": token for index, token in enumerate(value)}
        else:
            part[name] = value
    return parts


def _complete(values: dict) -> dict:
    """Return the configuration with every field we need; of a patch stated as (height, width), the height."""
    full = DEFAULTS | {field: value for field, value in values.items() if value is not None}
    if not isinstance(full["patch_size"], int):
        full["patch_size"] = full["patch_size"][0]
    return full


def _check_kinds(values: dict, folder: Path) -> None:
    """Raise CheckpointError if a field is not of the kind that its default is, or no size that a model has."""
    for field, default in DEFAULTS.items():
        value = values.get(field)
        if field == "patch_size" and isinstance(value, list) and value:
            value = value[0]
        if value is None:
            continue
        if isinstance(default, bool | str):
            fits = isinstance(value, type(default))
        else:
            fits = is_plain_number(value, whole=isinstance(default, int)) and 0 <= value <= LARGEST
        if not fits:
            raise CheckpointError(f"{folder / CONFIG_FILE}: {field} must be like {default!r}, got {str(value)[:60]!r}")


def check_folder(parts: Mapping[str, Mapping[str, Tensor]], values: dict, folder: Path) -> None:
    """Raise CheckpointError if the configuration is of another model, unsupported, or contradicts the weights."""
    if values.get("model_type") != MODEL_TYPE:
        raise CheckpointError(
            f"{folder} holds a model of type {values.get('model_type')!r}, but only {MODEL_TYPE!r} can be read"
        )
    _check_kinds(values, folder)
    full = _complete(values)
    for field, wanted in (("hidden_act", "gelu"), ("qkv_bias", True)):
        if full[field] != wanted:
            raise CheckpointError(f"{folder}: {field} must be {wanted!r} to be read, got {full[field]!r}")
    wrong = [
        f"{field} is {said} in config.json, {found} in the weights"
        for field, said, found in _facts(parts, full)
        if said != found
    ]
    if wrong:
        raise CheckpointError(f"{folder}: config.json contradicts the weights: " + "; ".join(wrong))


def _facts(parts: Mapping[str, Mapping[str, Tensor]], full: dict) -> list[tuple[str, object, object]]:
    """List (field, what the configuration says, what the weights have) as far as the weights tell."""
    encoder, predictor, probe = (parts.get(kind, {}) for kind in (VIDEO_ENCODER, MASKED_PREDICTOR, ATTENTIVE_PROBE))
    facts: list[tuple[str, object, object]] = []

    def compare(field: str, said: object, weights: Mapping[str, Tensor], name: str, axis: int) -> None:
        """Add the size of an axis, where there are such weights."""
        if name in weights:
            facts.append((field, said, weights[name].shape[axis]))

    def compare_depth(field: str, weights: Mapping[str, Tensor], prefix: str) -> None:
        """Add the number of blocks, where there are any."""
        if count := count_blocks(weights, prefix):
            facts.append((field, full[field], count))

    projection = "encoder.embeddings.patch_embeddings.proj.weight"
    compare("hidden_size", full["hidden_size"], encoder, projection, 0)
    compare("in_chans", full["in_chans"], encoder, projection, 1)
    compare("tubelet_size", full["tubelet_size"], encoder, projection, 2)
    compare("patch_size", full["patch_size"], encoder, projection, 3)
    compare_depth("num_hidden_layers", encoder, "encoder.layer.")
    hidden = hidden_width(full["hidden_size"], full["mlp_ratio"], "gelu")
    compare("hidden width of the MLP (mlp_ratio)", hidden, encoder, "encoder.layer.0.mlp.fc1.weight", 0)
    compare("pred_hidden_size", full["pred_hidden_size"], predictor, "predictor.layernorm.weight", 0)
    compare_depth("pred_num_hidden_layers", predictor, "predictor.layer.")
    compare_depth("pred_num_mask_tokens", predictor, f"{MASK_TOKENS}.")
    hidden = hidden_width(full["pred_hidden_size"], full["pred_mlp_ratio"], "gelu")
    compare(
        "hidden width of the predictor's MLP (pred_mlp_ratio)", hidden, predictor, "predictor.layer.0.mlp.fc1.weight", 0
    )
    compare_depth("num_pooler_layers", probe, "pooler.self_attention_layers.")
    compare("hidden_size (of the probe)", full["hidden_size"], probe, "pooler.query_tokens", -1)
    return facts


def _heads(full: dict, prefix: str, num_heads: int | None, folder: Path) -> int:
    width = full[f"{prefix}hidden_size"]
    return heads(width, num_heads, {width: full[f"{prefix}num_attention_heads"]}, folder)


def translate_encoder_config(values: dict, folder: Path, *, num_heads: int | None = None) -> VideoEncoderConfig:
    """Translate `config.json` for the encoder; `num_heads` overrides its heads.

    Raises:
        CheckpointError: if the heads do not divide the width.
    """
    full = _complete(values)
    return VideoEncoderConfig(
        image_size=full["crop_size"],
        num_frames=full["frames_per_clip"],
        patch_size=full["patch_size"],
        tubelet_size=full["tubelet_size"],
        in_channels=full["in_chans"],
        embed_dim=full["hidden_size"],
        depth=full["num_hidden_layers"],
        num_heads=_heads(full, "", num_heads, folder),
        mlp_ratio=full["mlp_ratio"],
        norm_eps=full["layer_norm_eps"],
        drop_path=full["drop_path_rate"],
        rope="tiled",
    )


def translate_masked_predictor_config(
    values: dict, folder: Path, *, num_heads: int | None = None
) -> MaskedPredictorConfig:
    """Translate `config.json` for the masked predictor; as `translate_encoder_config`."""
    full = _complete(values)
    return MaskedPredictorConfig(
        encoder_dim=full["hidden_size"],
        embed_dim=full["pred_hidden_size"],
        depth=full["pred_num_hidden_layers"],
        num_heads=_heads(full, "pred_", num_heads, folder),
        mlp_ratio=full["pred_mlp_ratio"],
        norm_eps=full["layer_norm_eps"],
        num_mask_tokens=full["pred_num_mask_tokens"],
        rope="tiled",
    )


def translate_probe_config(
    weights: Mapping[str, Tensor], values: dict, folder: Path, *, num_heads: int | None = None
) -> AttentiveProbeConfig:
    """Translate `config.json` for the probe; as `translate_encoder_config`.

    transformers gives a probe the encoder's heads (22 for ViT-g) and epsilon (1e-6), and so does this, to give equal
    numbers. Meta trained its probes with 16 heads and 1e-5: `num_heads` 16 restores the first.

    Raises:
        CheckpointError: if the classifier is missing, or the heads do not divide the width.
    """
    full = _complete(values)
    if "classifier.weight" not in weights:
        raise CheckpointError(f"{folder} has no 'classifier.weight', so its probe was cut down")
    return AttentiveProbeConfig(
        embed_dim=full["hidden_size"],
        num_heads=_heads(full, "", num_heads, folder),
        depth=full["num_pooler_layers"] + 1,
        mlp_ratio=POOLER_MLP_RATIO,
        norm_eps=full["layer_norm_eps"],
        num_classes=weights["classifier.weight"].shape[0],
    )
