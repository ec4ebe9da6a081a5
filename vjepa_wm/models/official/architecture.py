"""Which architecture weights are of: official files hold no configuration, so it is read from names and shapes.

What shapes do not tell comes from the published sizes (heads), from the file's name (picture size), or from a stored
table of positions (V-JEPA 1); what stays open has to be said by the caller.

Sources: V-JEPA 2 (arXiv 2506.09985), V-JEPA 2.1 (arXiv 2603.14482), V-JEPA (arXiv 2404.08471) and their released code.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.attentive_probe import AttentiveProbeConfig
from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.models.encoder_config import VideoEncoderConfig, level_blocks
from vjepa_wm.models.mlp import Activation, hidden_width
from vjepa_wm.models.official.published_models import PublishedModel
from vjepa_wm.models.official.releases import release_of
from vjepa_wm.models.predictor import MaskedPredictorConfig
from vjepa_wm.models.sincos import FixedForm, fixed_positions

logger = logging.getLogger(__name__)

Positions = Literal["rope", "sincos"]
ENCODER_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 22, 1664: 26}
PREDICTOR_HEADS = {384: 12}
AC_PREDICTOR_HEADS = {1024: 16}
PROBE_HEADS = 16
_ROPE_GRID = 16
_VJEPA1_GRIDS = ((8, 14, 14), (8, 24, 24))
_VJEPA2_COUNTS = (8 * 16 * 16, 32 * 16 * 16, 32 * 24 * 24)
_TABLE_TOLERANCE = 5e-3  # a table stored in half precision still agrees
_ANSWERS = {
    "linear": "num_classes",
    "verb_classifier": "num_verbs",
    "noun_classifier": "num_nouns",
    "action_classifier": "num_actions",
}


def infer_encoder_config(
    part: PublishedModel, path: Path, *, num_heads: int | None = None, positions: Positions | None = None
) -> VideoEncoderConfig:
    """Read the form of a video encoder from its weights.

    Args:
        part: the encoder.
        path: its file, whose name may be that of a release.
        num_heads: attention heads; None takes those of the published sizes.
        positions: `rope` or `sincos` where a stored position table leaves it open.

    Raises:
        CheckpointError: if the weights leave heads or positions open, or they are of no encoder.
    """
    weights = part.weights
    projection = need(weights, "patch_embed.proj.weight", path)
    if projection.dim() != 5 or projection.shape[3] != projection.shape[4]:
        raise CheckpointError(
            f"{path}: patch_embed.proj.weight must be (D, 3, t, p, p), got {tuple(projection.shape)}; "
            "this is no V-JEPA encoder"
        )
    width, channels, tubelet, patch, _ = projection.shape
    depth = count_blocks(weights, "blocks.")
    mlp_ratio, activation = mlp_form(weights, "blocks.0.mlp.", width, path)
    levels = _levels(weights, depth, path)
    fixed = fixed_grid(part, path, positions, class_token="cls_token" in weights, image=tubelet == 1)
    size, frames = picture_size(path, patch, "V-JEPA 2.1" if levels else "V-JEPA 2")
    if fixed is not None:
        size, frames = fixed.grid[1] * patch, fixed.grid[0] * tubelet
    return VideoEncoderConfig(
        image_size=size,
        num_frames=1 if tubelet == 1 and fixed is None else frames,
        patch_size=patch,
        tubelet_size=tubelet,
        in_channels=channels,
        embed_dim=width,
        depth=depth,
        num_heads=heads(width, num_heads, ENCODER_HEADS, path),
        mlp_ratio=mlp_ratio,
        activation=activation,
        rope=None if fixed is not None else "true" if levels else "tiled",
        rope_grid=_ROPE_GRID if levels else None,
        uniform_power=fixed is not None and fixed.uniform_power,
        short_time=fixed is not None and fixed.short_time,
        class_token="cls_token" in weights,
        levels=levels,
        image_tokenizer="patch_embed_img.proj.weight" in weights,
        modality_embedding="img_mod_embed" in weights,
    )


def infer_masked_predictor_config(
    part: PublishedModel, path: Path, *, num_heads: int | None = None, positions: Positions | None = None
) -> MaskedPredictorConfig:
    """Read the form of a masked predictor from its weights; arguments and errors as of `infer_encoder_config`."""
    weights = part.weights
    num_levels = 1
    if "predictor_embed.0.weight" in weights:
        encoder_dim, fused = weights["predictor_embed.0.weight"].shape
        width, num_levels = need(weights, "predictor_embed.2.weight", path).shape[0], fused // encoder_dim
    else:
        width, encoder_dim = need(weights, "predictor_embed.weight", path).shape
    mlp_ratio, activation = mlp_form(weights, "predictor_blocks.0.mlp.", width, path)
    if activation == "swiglu" and num_levels > 1:
        raise CheckpointError(f"{path}: a masked predictor with SwiGLU and {num_levels} levels is not supported")
    target_dim = need(weights, "predictor_proj.weight", path).shape[0]
    is_21 = "img_mod_embed" in weights or "predictor_proj_context.weight" in weights
    fixed = fixed_grid(part, path, positions)
    return MaskedPredictorConfig(
        encoder_dim=encoder_dim,
        embed_dim=width,
        depth=count_blocks(weights, "predictor_blocks."),
        num_heads=heads(width, num_heads, PREDICTOR_HEADS, path),
        mlp_ratio=mlp_ratio,
        activation=activation,
        num_mask_tokens=sum(name.startswith("mask_tokens.") for name in weights),
        rope=None if fixed is not None else "true" if is_21 else "tiled",
        rope_grid=_ROPE_GRID if is_21 and fixed is None else None,
        grid=fixed.grid if fixed is not None else None,
        uniform_power=fixed is not None and fixed.uniform_power,
        short_time=fixed is not None and fixed.short_time,
        num_levels=num_levels,
        target_dim=None if target_dim == num_levels * encoder_dim else target_dim,
        predict_context="predictor_proj_context.weight" in weights,
        modality_embedding="img_mod_embed" in weights,
    )


def infer_ac_predictor_config(
    part: PublishedModel, path: Path, *, num_heads: int | None = None
) -> ActionConditionedPredictorConfig:
    """Read the form of an action-conditioned predictor from its weights; the rest as `infer_encoder_config`.

    All published ones have tiled rotary positions and raw actions and states.
    """
    weights = part.weights
    width, encoder_dim = need(weights, "predictor_embed.weight", path).shape
    mlp_ratio, activation = mlp_form(weights, "predictor_blocks.0.mlp.", width, path)
    if activation != "gelu":
        raise CheckpointError(f"{path}: an action-conditioned predictor with {activation} is not supported")
    state = weights.get("state_encoder.weight")
    return ActionConditionedPredictorConfig(
        encoder_dim=encoder_dim,
        embed_dim=width,
        depth=count_blocks(weights, "predictor_blocks."),
        num_heads=heads(width, num_heads, AC_PREDICTOR_HEADS, path),
        mlp_ratio=mlp_ratio,
        action_dim=need(weights, "action_encoder.weight", path).shape[1],
        state_dim=7 if state is None else state.shape[1],
        use_state=state is not None,
        use_extrinsics="extrinsics_encoder.weight" in weights,
        rope="tiled",
    )


def infer_probe_config(part: PublishedModel, path: Path, *, num_heads: int | None = None) -> AttentiveProbeConfig:
    """Read the form of an attentive probe from its weights; arguments and errors as of `infer_encoder_config`.

    The official probes have 16 heads at every width.
    """
    weights = part.weights
    width = weights["pooler.query_tokens"].shape[-1]
    classes = {name: weights[f"{name}.weight"].shape[0] for name in _ANSWERS if f"{name}.weight" in weights}
    return AttentiveProbeConfig(
        embed_dim=width,
        num_heads=heads(width, num_heads, {width: PROBE_HEADS} if width % (2 * PROBE_HEADS) == 0 else {}, path),
        depth=count_blocks(weights, "pooler.blocks.") + 1,
        mlp_ratio=mlp_form(weights, "pooler.cross_attention_block.mlp.", width, path)[0],
        **{_ANSWERS[name]: count for name, count in classes.items()},
    )


def need(weights: Mapping[str, Tensor], name: str, path: Path) -> Tensor:
    """Return a tensor without which the form of a model cannot be told.

    Raises:
        CheckpointError: if it is not there.
    """
    if name not in weights:
        some = ", ".join(sorted(weights)[:4])
        raise CheckpointError(
            f"{path} has no {name!r} among its {len(weights)} tensors ({some}, ...): it was cut down or is another"
        )
    return weights[name]


def count_blocks(weights: Mapping[str, Tensor], prefix: str) -> int:
    """Return the depth that the numbers after `prefix` tell; 0 if there are none."""
    numbers = {name.removeprefix(prefix).split(".", 1)[0] for name in weights if name.startswith(prefix)}
    return max((int(number) + 1 for number in numbers if number.isdigit()), default=0)


def heads(width: int, num_heads: int | None, known: Mapping[int, int], path: Path) -> int:
    """Return the number of attention heads, which no shape tells.

    Raises:
        CheckpointError: if the width is not a published one and `num_heads` is not given, or does not divide the width.
    """
    if num_heads is None and width not in known:
        published = ", ".join(map(str, known)) or "none"
        raise CheckpointError(
            f"{path} holds a model of width {width}, which is not a published one ({published}), and its weights do "
            "not tell how many attention heads it has: give num_heads"
        )
    count = known[width] if num_heads is None else num_heads
    if count < 1 or width % count or (width // count) % 2:
        raise CheckpointError(f"num_heads must divide the width {width} into heads of an even size, got {count}")
    return count


def mlp_form(weights: Mapping[str, Tensor], prefix: str, width: int, path: Path) -> tuple[float, Activation]:
    """Return the MLP ratio and activation of the blocks.

    Raises:
        CheckpointError: if no ratio gives this hidden width.
    """
    hidden = need(weights, f"{prefix}fc1.weight", path).shape[0]
    activation: Activation = "swiglu" if f"{prefix}fc3.weight" in weights else "gelu"
    ratio = hidden / width if activation == "gelu" else 1.5 * hidden / width
    if hidden_width(width, ratio, activation) != hidden:
        raise CheckpointError(f"{path}: a SwiGLU must have a hidden width that is a multiple of 8, got {hidden}")
    return ratio, activation


def _levels(weights: Mapping[str, Tensor], depth: int, path: Path) -> tuple[int, ...]:
    """Return the blocks with norms of their own, which V-JEPA 2.1 has."""
    count = count_blocks(weights, "norms_block.")
    levels = level_blocks(depth) if count else ()
    if len(levels) != count:
        raise CheckpointError(f"{path} has {count} norms_block, but V-JEPA 2.1 has {len(levels)} for {depth} blocks")
    return levels


def picture_size(path: Path, patch_size: int, family: str) -> tuple[int, int]:
    """Return side [px] and frames of the clips a file was made for, by its name; they matter for preprocessing only."""
    release = release_of(path)
    size, frames = 384 if "384" in path.stem or family == "V-JEPA 2.1" else 256, 64
    if release is not None:
        size, frames = release.image_size, release.num_frames
    return size - size % patch_size, frames


def fixed_grid(
    part: PublishedModel, path: Path, positions: Positions | None, *, class_token: bool = False, image: bool = False
) -> FixedForm | None:
    """Return the form of the fixed positions a model was trained with; None if they are rotary.

    Raises:
        CheckpointError: if the file leaves it open.
    """
    table = part.table
    if positions == "rope" or (positions is None and table is None):
        return None
    if table is None:
        raise CheckpointError(f"{path} has no pos_embed that tells the grid, which positions='sincos' needs")
    if class_token and bool((table[0] == 0).all()):
        table = table[1:]
    release = release_of(path)
    is_vjepa2 = release.family != "V-JEPA 1" if release is not None else len(table) in _VJEPA2_COUNTS
    if positions is None and is_vjepa2:
        logger.info("%s: its table of %d positions is not used, V-JEPA 2 has rotary ones", path, len(table))
        return None
    found = match_table(table, image=image)
    if found is not None and (positions == "sincos" or found.grid in _VJEPA1_GRIDS):
        return found
    if positions == "sincos":
        raise CheckpointError(f"{path}: its pos_embed {tuple(table.shape)} is no sine-cosine table of a square grid")
    raise CheckpointError(
        f"{path} stores {len(table)} positions, and neither V-JEPA 1 nor V-JEPA 2 has such a grid: say "
        'positions="rope" (V-JEPA 2: the table is not used) or positions="sincos" (V-JEPA 1: it is)'
    )


def match_table(table: Tensor, *, image: bool = False) -> FixedForm | None:
    """Find the form whose fixed positions a table (N, D) holds; None if no grid of squares does."""
    count, width = table.shape
    forms = [] if width % (4 if image else 8) else [(False, False)]
    forms += [] if image or width % 2 else [(True, False), (True, True)]
    sides = [side for side in range(1, math.isqrt(count) + 1) if count % side**2 == 0]
    for side in reversed(sides):
        grid = (count // side**2, side, side)
        if image and grid[0] > 1:
            continue
        for uniform_power, short_time in forms:
            wanted = fixed_positions(width, grid, uniform_power, short_time=short_time, image=image)
            if torch.allclose(table.float(), wanted, rtol=0.0, atol=_TABLE_TOLERANCE):
                return FixedForm(grid, uniform_power, short_time)
    return None
