"""What a mask is: which tokens a clip shows the encoder and which it hides, and what all ways to draw one share.

The ways are in `multi_block` and `samplers` beside this file. Each is a record of options with one method,
``sample(grid, batch_size, *, step, generator)``, and each of their masks goes through `check_mask`.

Letters: B clips, T tubelets in time, G rows or columns of patches, N tokens of a clip, K tokens of a set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

_MAX_DRAWS = 100

Truncation = Literal["first", "random"]


class MaskError(ValueError):
    """A mask that nothing can be learned from, or a grid on which a setting can make no other."""


class Mask(NamedTuple):
    """Token ids of every clip in ascending order: what the encoder sees and what is to be predicted."""

    context_ids: Tensor
    """``(B, K)`` int64."""
    target_ids: Tensor
    """``(B, K')`` int64, disjoint from `context_ids`."""


def check_mask(mask: Mask, grid: tuple[int, int, int]) -> Mask:
    """Return the mask if a network can be trained with it.

    Args:
        mask: the ids to look at.
        grid: tokens of a clip in time, rows and columns.

    Returns:
        The same mask.

    Raises:
        MaskError: a set is no ``(B, K)`` int64 tensor, is empty, is not ascending or leaves the grid, or the sets
            differ in their number of clips or have tokens in common.
    """
    num_tokens = math.prod(grid)
    for name, ids in mask._asdict().items():
        _check_ids(name, ids, num_tokens, grid)
    context_ids, target_ids = mask
    if len(context_ids) != len(target_ids):
        raise MaskError(
            f"context_ids and target_ids must be of the same clips, got {len(context_ids)} and {len(target_ids)} clips"
        )
    seen = torch.zeros(len(context_ids), num_tokens, dtype=torch.bool, device=context_ids.device)
    shared = seen.scatter_(1, context_ids, True).gather(1, target_ids)
    if shared.any():
        clip, place = shared.nonzero()[0].tolist()
        raise MaskError(
            f"context_ids and target_ids must be disjoint, but both have token {target_ids[clip, place].item()} "
            f"of clip {clip}; leave it out of one of them"
        )
    return mask


def _check_ids(name: str, ids: Tensor, num_tokens: int, grid: tuple[int, int, int]) -> None:
    if ids.ndim != 2 or ids.dtype != torch.int64:
        raise MaskError(f"{name} must be (clips, tokens) of int64, got {tuple(ids.shape)} of {ids.dtype}")
    if not ids.numel():
        raise MaskError(
            f"{name} must have at least one clip and one token, got {tuple(ids.shape)}; let the mask hide "
            f"{'less' if name == 'context_ids' else 'more'} of the grid {grid}"
        )
    outside = (ids < 0) | (ids >= num_tokens)
    if outside.any():
        clip, place = outside.nonzero()[0].tolist()
        raise MaskError(
            f"{name} must be 0 to {num_tokens - 1} on the grid {grid}, got {ids[clip, place].item()} in clip {clip}; "
            "draw the mask for the grid of the clip"
        )
    falling = ids.diff(dim=1) <= 0
    if falling.any():
        clip, place = falling.nonzero()[0].tolist()
        raise MaskError(
            f"{name} must be ascending without repetition, got {ids[clip, place].item()} before "
            f"{ids[clip, place + 1].item()} in clip {clip}; sort them"
        )


def check_request(grid: tuple[int, int, int], batch_size: int) -> None:
    """Refuse what no mask can be drawn for.

    Raises:
        MaskError: the grid has fewer than two tokens or a side below 1, or there is no clip.
    """
    if len(grid) != 3 or min(grid) < 1 or math.prod(grid) < 2:
        raise MaskError(
            f"grid must be tokens in time, rows and columns, each at least 1 and together at least 2, got {grid}; "
            "enlarge the clip or take smaller patches"
        )
    if batch_size < 1:
        raise MaskError(f"batch_size must be at least 1, got {batch_size}")


def check_scale(name: str, pair: tuple[float, float], *, largest: float = 1.0) -> None:
    """Refuse a pair that is not ascending within (0, largest].

    Raises:
        ValueError: it is not.
    """
    low, high = pair
    if not (0.0 < low <= high <= largest and math.isfinite(high)):
        within = f"within (0, {largest:g}]" if math.isfinite(largest) else "of finite numbers above 0"
        raise ValueError(f"{name} must be an ascending pair {within}, got {(low, high)}")


def check_count(name: str, number: int) -> None:
    """Refuse a number below 1.

    Raises:
        ValueError: it is.
    """
    if number < 1:
        raise ValueError(f"{name} must be at least 1, got {number}")


def check_truncation(truncation: str) -> None:
    """Refuse anything that is no way to cut sets to one length.

    Raises:
        ValueError: it is none.
    """
    if truncation not in ("first", "random"):
        raise ValueError(f"truncation must be 'first' or 'random', got {truncation!r}")


def count_share(name: str, share: float, total: int, things: str, *, largest: int) -> int:
    """Return how many of `total` things a share is, rounded to the nearest.

    Args:
        name: the option that holds the share.
        share: within (0, 1].
        total: number of things there are.
        things: what they are, for the message.
        largest: the greatest number that leaves a mask; the smallest is 1.

    Raises:
        MaskError: the number is not within 1 to `largest`.
    """
    if largest < 1:
        raise MaskError(
            f"{name} needs at least {total + 1 - largest} {things} to divide, got {total}; enlarge the clip"
        )
    count = round(total * share)
    if not 1 <= count <= largest:
        nearest = min(max(count, 1), largest) / total
        raise MaskError(
            f"{name} {share} of {total} {things} is {count}, but must be 1 to {largest}; "
            f"{name} {nearest:.4g} would do, or a larger clip"
        )
    return count


def check_share(name: str, share: float, *, below_one: bool = False) -> None:
    """Refuse a share outside (0, 1], or outside (0, 1) if `below_one`.

    Raises:
        ValueError: it is outside.
    """
    if not 0.0 < share <= 1.0 or (below_one and share == 1.0):
        raise ValueError(f"{name} must be within (0, 1{')' if below_one else ']'}, got {share}")


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
    """Return True inside the union of `num_blocks` blocks, every place being as likely, ``(batch_size, T, G, G)``."""
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
        draw: makes that many clips' context and targets, each ``(n, N)`` bool.
        batch_size: number of clips.
        complaint: what to say if some clip stays without.

    Raises:
        MaskError: it does, with `complaint` as the text.
    """
    context, target = draw(batch_size)
    for _ in range(_MAX_DRAWS):
        empty = ~(context.any(dim=1) & target.any(dim=1))
        if not empty.any():
            return context, target
        context[empty], target[empty] = draw(int(empty.sum()))
    raise MaskError(complaint)


def cut(chosen: Tensor, keep: int, truncation: Truncation, generator: torch.Generator) -> Tensor:
    """Return ids of `keep` True tokens of each row of ``chosen (B, N)``, ascending, ``(B, keep)``."""
    if truncation == "random":
        rank = torch.rand(chosen.shape, generator=generator)
    else:
        rank = torch.linspace(1.0, 0.0, chosen.shape[1], dtype=torch.float64).expand(chosen.shape)
    rank = rank.masked_fill(~chosen, -1.0)
    return rank.topk(keep, dim=1).indices.sort(dim=1).values


def fewest(chosen: Tensor) -> int:
    """Return the smallest number of True tokens in a row of ``chosen (B, N)``."""
    return int(chosen.sum(dim=1).min())


def complement(ids: Tensor, num_tokens: int) -> Tensor:
    """Return the ids that are not in ``ids (B, K)``, ascending, ``(B, num_tokens - K)``."""
    outside = torch.ones(ids.shape[0], num_tokens, dtype=torch.bool).scatter_(1, ids, False)
    return outside.nonzero()[:, 1].view(ids.shape[0], -1)
