"""Blocks of tokens at random places, and sets of tokens of one length in a batch.

Letters: B clips, T tubelets in time, G rows or columns of patches, N tokens of a clip, K tokens of a set.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vjepa_wm.data.masks.mask import MaskError
from vjepa_wm.data.masks.mask_options import Truncation

_MAX_DRAWS = 100
_MAX_MORE = 20  # times that blocks are added


def block_sizes(
    grid: tuple[int, int, int],
    shape: tuple[int, ...],
    *,
    spatial_scale: tuple[float, float],
    aspect_ratio: tuple[float, float],
    generator: torch.Generator,
    temporal_scale: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """Draw the sizes of blocks.

    Args:
        grid: tokens of a clip in time, rows and columns.
        shape: how many sizes are drawn; () is one.
        spatial_scale: smallest and largest share of a frame's patches.
        aspect_ratio: smallest and largest height over width.
        generator: seeded with the training step alone where all processes are to agree on the size.
        temporal_scale: smallest and largest share of the clip's duration.

    Returns:
        Block sizes in time, rows and columns of tokens, (*shape, 3) int64.
    """
    time, rows, columns = grid
    shares = torch.rand(*shape, 3, generator=generator).double()
    duration, area, aspect = (
        low + share * (high - low)
        for share, (low, high) in zip(shares.unbind(dim=-1), (temporal_scale, spatial_scale, aspect_ratio), strict=True)
    )
    num_patches = (rows * columns * area).floor()
    sizes = (time * duration).floor(), (num_patches * aspect).sqrt().round(), (num_patches / aspect).sqrt().round()
    return torch.stack([side.clamp(1, length) for side, length in zip(sizes, grid, strict=True)], dim=-1).long()


def draw_blocks(
    grid: tuple[int, int, int],
    size: Tensor,
    *,
    num_blocks: int,
    batch_size: int,
    generator: torch.Generator,
) -> Tensor:
    """Draw blocks, every place being as likely.

    Args:
        grid: tokens of a clip in time, rows and columns.
        size: of all blocks, (3,), or of each block, (batch_size, num_blocks, 3).
        num_blocks: blocks of a clip.
        batch_size: number of clips.
        generator: decides the places.

    Returns:
        True inside each block, (batch_size, num_blocks, N).
    """
    inside = []
    for length, block in zip(grid, size.unsqueeze(-2).unbind(dim=-1), strict=True):
        if size.ndim == 1:
            start = torch.randint(0, length - int(block) + 1, (batch_size, num_blocks, 1), generator=generator)
        else:
            start = (torch.rand(block.shape, generator=generator) * (length - block + 1)).long()
        index = torch.arange(length)
        inside.append((index >= start) & (index < start + block))
    time, rows, columns = inside
    return (time[..., :, None, None] & rows[..., None, :, None] & columns[..., None, None, :]).flatten(2)


def draw_covered(draw: Callable[[], Tensor], count: int | None, generator: torch.Generator) -> Tensor:
    """Return what blocks cover, or exactly so many tokens.

    Args:
        draw: makes blocks, (B, M, N) bool; it is asked for more until they cover enough.
        count: tokens to be covered in every clip: those of the first blocks, of the one that exceeds the number some
            at random, and single ones where even many blocks leave too few. None: what the first blocks cover.
        generator: decides which of the last block are kept.

    Returns:
        (B, N) bool.
    """
    blocks = draw()
    if count is None:
        return blocks.any(dim=1)
    for _ in range(_MAX_MORE):
        if fewest(blocks.any(dim=1)) >= count:
            break
        blocks = torch.cat((blocks, draw()), dim=1)
    order = torch.where(blocks.any(dim=1), blocks.byte().argmax(dim=1), blocks.shape[1])
    rank = order + torch.rand(order.shape, generator=generator, dtype=torch.float64)
    chosen = rank.topk(count, dim=1, largest=False).indices
    return torch.zeros(order.shape, dtype=torch.bool).scatter_(1, chosen, True)


def draw_filled(
    draw: Callable[[int], tuple[Tensor, Tensor]],
    batch_size: int,
    complaint: str,
    last_resort: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw context and targets of every clip, again for those clips where one of them came out empty.

    Args:
        draw: makes that many clips' context and targets, each (n, N) bool.
        batch_size: number of clips.
        complaint: what to say if some clip stays without.
        last_resort: decides which token of the other set then becomes the one of the empty set; None: an error.

    Returns:
        Context and targets of the batch, each (B, N) bool.

    Raises:
        MaskError: if some clip stays without, with `complaint` as the text.
    """
    context, target = draw(batch_size)
    for _ in range(_MAX_DRAWS):
        empty = ~(context.any(dim=1) & target.any(dim=1))
        if not empty.any():
            return context, target
        context[empty], target[empty] = draw(int(empty.sum()))
    if last_resort is not None:
        _move_one(target, context, last_resort)
        _move_one(context, target, last_resort)
    if not (context.any(dim=1) & target.any(dim=1)).all():
        raise MaskError(complaint)
    return context, target


def _move_one(full: Tensor, empty: Tensor, generator: torch.Generator) -> None:
    """Where a row of `empty` (B, N) has no token, move a random one of `full` there, if that has more than one."""
    rows = (~empty.any(dim=1) & (full.sum(dim=1) > 1)).nonzero().flatten()
    tokens = torch.rand(full.shape, generator=generator).masked_fill(~full, -1.0).argmax(dim=1)[rows]
    full[rows, tokens], empty[rows, tokens] = False, True


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
