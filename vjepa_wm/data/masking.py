"""Which tokens a clip shows the encoder and which it hides: the multi-block masks of V-JEPA 2.

Letters: B clips, T tubelets in time, G rows or columns of patches, K tokens of a set.

Source: V-JEPA 2 (arXiv 2506.09985), section 2; V-JEPA (arXiv 2404.08471), appendix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

_MAX_DRAWS = 100


class Mask(NamedTuple):
    """Token ids of every clip in ascending order: what the encoder sees and what is to be predicted."""

    context_ids: Tensor
    """``(B, K)`` int64."""
    target_ids: Tensor
    """``(B, K')`` int64, disjoint from `context_ids`."""


@dataclass(frozen=True, kw_only=True)
class MultiBlockConfig:
    """Hide the union of several blocks. All blocks of a batch have one size; their places are drawn for each clip."""

    num_blocks: int = 8
    """Blocks per clip."""
    spatial_scale: tuple[float, float] = (0.15, 0.15)
    """Smallest and largest share of a frame's patches in a block."""
    temporal_scale: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest share of the clip's duration in a block."""
    aspect_ratio: tuple[float, float] = (0.75, 1.5)
    """Smallest and largest height over width of a block."""
    max_temporal_keep: float = 1.0
    """Share of the clip's duration from which context may come; all later tokens are targets."""
    max_keep: int | None = None
    """Largest number of context tokens."""
    full_complement: bool = False
    """Make every token outside the (cut) context a target."""
    pred_full_complement: bool = False
    """Make every token outside the (cut) targets context."""
    inverse: bool = False
    """Swap the two sets: predict the outside from the inside."""
    truncation: Literal["first", "random"] = "first"
    """How sets are cut to one length in a batch: `first` drops the latest tokens, as V-JEPA 2; `random` has no bias."""

    def __post_init__(self) -> None:
        for name in ("spatial_scale", "temporal_scale"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high <= 1.0:
                raise ValueError(f"{name} must be an ascending pair within (0, 1], got {(low, high)}")
        if self.num_blocks < 1:
            raise ValueError(f"num_blocks must be at least 1, got {self.num_blocks}")
        if self.full_complement and self.pred_full_complement:
            raise ValueError("full_complement and pred_full_complement exclude each other")
        if self.truncation not in ("first", "random"):
            raise ValueError(f"truncation must be 'first' or 'random', got {self.truncation!r}")


def vjepa2_masks(truncation: Literal["first", "random"] = "first") -> tuple[MultiBlockConfig, MultiBlockConfig]:
    """Return the two mask settings V-JEPA 2 is trained with: eight short blocks, and two long ones."""
    return (
        MultiBlockConfig(num_blocks=8, spatial_scale=(0.15, 0.15), truncation=truncation),
        MultiBlockConfig(num_blocks=2, spatial_scale=(0.7, 0.7), truncation=truncation),
    )


def small_grid_masks() -> tuple[MultiBlockConfig, MultiBlockConfig]:
    """Return milder settings for grids of a few dozen patches, where V-JEPA 2's two long blocks hide nearly all."""
    return (
        MultiBlockConfig(num_blocks=6, spatial_scale=(0.15, 0.15), truncation="random"),
        MultiBlockConfig(num_blocks=2, spatial_scale=(0.4, 0.4), truncation="random"),
    )


def block_size(config: MultiBlockConfig, grid: tuple[int, int, int], step: int) -> tuple[int, int, int]:
    """Draw the size of a batch's blocks from the training step alone, so all processes agree on it.

    Args:
        config: the mask setting.
        grid: tokens of a clip in time, rows and columns.
        step: number of the training step, the seed.

    Returns:
        Block size in time, rows and columns of tokens.
    """
    time, rows, columns = grid
    uniform = torch.rand(3, generator=torch.Generator().manual_seed(step)).tolist()
    duration, area, aspect = (
        low + share * (high - low)
        for share, (low, high) in zip(
            uniform, (config.temporal_scale, config.spatial_scale, config.aspect_ratio), strict=True
        )
    )
    num_patches = int(rows * columns * area)
    return (
        max(1, int(time * duration)),
        max(1, min(round(math.sqrt(num_patches * aspect)), rows)),
        max(1, min(round(math.sqrt(num_patches / aspect)), columns)),
    )


def _draw_context(
    config: MultiBlockConfig,
    grid: tuple[int, int, int],
    size: tuple[int, int, int],
    batch_size: int,
    generator: torch.Generator,
) -> Tensor:
    """Return True for visible tokens, ``(batch_size, T, G, G)``; rows may come out without any."""
    inside = []
    for length, block in zip(grid, size, strict=True):
        shape = (batch_size, config.num_blocks, 1)
        start = torch.randint(0, length - block + 1, shape, generator=generator)
        index = torch.arange(length)
        inside.append((index >= start) & (index < start + block))
    time, rows, columns = inside
    hidden = time[:, :, :, None, None] & rows[:, :, None, :, None] & columns[:, :, None, None, :]
    context = ~hidden.any(dim=1)
    context[:, max(1, int(grid[0] * config.max_temporal_keep)) :] = False
    return context


def _cut(chosen: Tensor, keep: int, config: MultiBlockConfig, generator: torch.Generator) -> Tensor:
    """Return ids of `keep` True tokens of each row of ``chosen (B, N)``, ascending, ``(B, keep)``."""
    if config.truncation == "random":
        rank = torch.rand(chosen.shape, generator=generator)
    else:
        rank = torch.linspace(1.0, 0.0, chosen.shape[1], dtype=torch.float64).expand(chosen.shape)
    rank = rank.masked_fill(~chosen, -1.0)
    return rank.topk(keep, dim=1).indices.sort(dim=1).values


def _complement(ids: Tensor, num_tokens: int) -> Tensor:
    """Return the ids that are not in ``ids (B, K)``, ascending, ``(B, num_tokens - K)``."""
    outside = torch.ones(ids.shape[0], num_tokens, dtype=torch.bool).scatter_(1, ids, False)
    return outside.nonzero()[:, 1].view(ids.shape[0], -1)


def sample_mask(
    config: MultiBlockConfig, grid: tuple[int, int, int], batch_size: int, *, step: int, generator: torch.Generator
) -> Mask:
    """Draw one mask for each clip of a batch.

    Args:
        config: the mask setting.
        grid: tokens of a clip in time, rows and columns.
        batch_size: number of clips.
        step: number of the training step; it alone decides the size of the blocks.
        generator: decides their places.

    Returns:
        Context and target ids, disjoint and of equal length over the batch.

    Raises:
        ValueError: blocks of this size leave no visible token, or none to predict.
    """
    size = block_size(config, grid, step)
    context = _draw_context(config, grid, size, batch_size, generator)
    for _ in range(_MAX_DRAWS):
        empty = ~context.flatten(1).any(dim=1)
        if not empty.any():
            break
        context[empty] = _draw_context(config, grid, size, int(empty.sum()), generator)
    visible = context.flatten(1)
    if not visible.any(dim=1).all() or visible.all(dim=1).any():
        raise ValueError(
            f"masks need visible and hidden tokens in every clip, but {config.num_blocks} blocks of {size} on a grid "
            f"of {grid} leave none; lower spatial_scale {config.spatial_scale} or enlarge the clip"
        )
    keep = int(visible.sum(dim=1).min())
    keep = keep if config.max_keep is None else min(keep, config.max_keep)
    context_ids = _cut(visible, keep, config, generator)
    target_ids = _cut(~visible, int((~visible).sum(dim=1).min()), config, generator)
    if config.full_complement:
        target_ids = _complement(context_ids, visible.shape[1])
    if config.pred_full_complement:
        context_ids = _complement(target_ids, visible.shape[1])
    return Mask(target_ids, context_ids) if config.inverse else Mask(context_ids, target_ids)
