"""Blocks of tokens at random places, and sets of tokens of one length in a batch.

Letters: B clips, T tubelets in time, G rows or columns of patches, N tokens of a clip, K tokens of a set.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vjepa_wm.data.masks.mask import MaskError
from vjepa_wm.data.masks.mask_options import Truncation

_MAX_DRAWS = 100


def block_size(
    grid: tuple[int, int, int],
    *,
    spatial_scale: tuple[float, float],
    aspect_ratio: tuple[float, float],
    generator: torch.Generator,
    temporal_scale: tuple[float, float] = (1.0, 1.0),
) -> tuple[int, int, int]:
    """Draw the size of a batch's blocks.

    Args:
        grid: tokens of a clip in time, rows and columns.
        spatial_scale: smallest and largest share of a frame's patches.
        aspect_ratio: smallest and largest height over width.
        generator: seeded with the training step alone, so that all processes agree on the size.
        temporal_scale: smallest and largest share of the clip's duration.

    Returns:
        Block size in time, rows and columns of tokens.
    """
    time, rows, columns = grid
    duration, area, aspect = (
        low + share * (high - low)
        for share, (low, high) in zip(
            torch.rand(3, generator=generator).tolist(), (temporal_scale, spatial_scale, aspect_ratio), strict=True
        )
    )
    num_patches = int(rows * columns * area)
    return (
        max(1, int(time * duration)),
        max(1, min(round(math.sqrt(num_patches * aspect)), rows)),
        max(1, min(round(math.sqrt(num_patches / aspect)), columns)),
    )


def draw_blocks(
    grid: tuple[int, int, int],
    size: tuple[int, int, int],
    *,
    num_blocks: int,
    batch_size: int,
    generator: torch.Generator,
) -> Tensor:
    """Return True inside the union of `num_blocks` blocks, every place being as likely, (batch_size, T, G, G)."""
    inside = []
    for length, block in zip(grid, size, strict=True):
        start = torch.randint(0, length - block + 1, (batch_size, num_blocks, 1), generator=generator)
        index = torch.arange(length)
        inside.append((index >= start) & (index < start + block))
    time, rows, columns = inside
    return (time[:, :, :, None, None] & rows[:, :, None, :, None] & columns[:, :, None, None, :]).any(dim=1)


def draw_filled(draw: Callable[[int], tuple[Tensor, Tensor]], batch_size: int, complaint: str) -> tuple[Tensor, Tensor]:
    """Draw context and targets of every clip, again for those clips where one of them came out empty.

    Args:
        draw: makes that many clips' context and targets, each (n, N) bool.
        batch_size: number of clips.
        complaint: what to say if some clip stays without.

    Returns:
        Context and targets of the batch, each (B, N) bool.

    Raises:
        MaskError: if it does, with `complaint` as the text.
    """
    context, target = draw(batch_size)
    for _ in range(_MAX_DRAWS):
        empty = ~(context.any(dim=1) & target.any(dim=1))
        if not empty.any():
            return context, target
        context[empty], target[empty] = draw(int(empty.sum()))
    raise MaskError(complaint)


def cut(chosen: Tensor, keep: int, truncation: Truncation, generator: torch.Generator) -> Tensor:
    """Return ids of `keep` True tokens of each row of `chosen` (B, N), ascending, (B, keep)."""
    if truncation == "random":
        rank = torch.rand(chosen.shape, generator=generator)
    else:
        rank = torch.linspace(1.0, 0.0, chosen.shape[1], dtype=torch.float64).expand(chosen.shape)
    rank = rank.masked_fill(~chosen, -1.0)
    return rank.topk(keep, dim=1).indices.sort(dim=1).values


def fewest(chosen: Tensor) -> int:
    """Return the smallest number of True tokens in a row of `chosen` (B, N)."""
    return int(chosen.sum(dim=1).min())


def complement(ids: Tensor, num_tokens: int) -> Tensor:
    """Return the ids that are not in `ids` (B, K), ascending, (B, num_tokens - K)."""
    outside = torch.ones(ids.shape[0], num_tokens, dtype=torch.bool).scatter_(1, ids, False)
    return outside.nonzero()[:, 1].view(ids.shape[0], -1)
