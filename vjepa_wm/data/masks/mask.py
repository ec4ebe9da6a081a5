"""What a mask is: which tokens a clip shows the encoder and which it hides.

The ways to draw one are in `multi_block` and `samplers` beside this file. Each is a record of options with one method,
`sample(grid, batch_size, *, step, generator)`, and each of their masks goes through `check_mask`.

Letters: B clips, K tokens of a set.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class MaskError(ValueError):
    """A mask that nothing can be learned from, or a grid on which a setting can make no other."""


class MaskFormError(MaskError):
    """A set of a mask that is no (B, K) int64 tensor."""


class EmptyMaskError(MaskError):
    """A mask that shows nothing or hides nothing."""


class MaskRangeError(MaskError):
    """A mask with tokens outside the grid of the clip."""


class MaskOrderError(MaskError):
    """A mask whose tokens do not ascend, or repeat."""


class MaskClipsError(MaskError):
    """A mask of another number of clips than there are, or whose two sets differ in theirs."""


class MaskOverlapError(MaskError):
    """A mask that shows what it hides."""


class Mask(NamedTuple):
    """Token ids of every clip in ascending order: what the encoder sees and what is to be predicted."""

    context_ids: Tensor
    """(B, K) int64."""
    target_ids: Tensor
    """(B, K') int64, disjoint from `context_ids`."""


def check_mask(mask: Mask, grid: tuple[int, int, int], num_clips: int | None = None) -> Mask:
    """Return the mask if a network can be trained with it.

    Args:
        mask: the ids to look at.
        grid: tokens of a clip in time, rows and columns.
        num_clips: how many clips it is for; None: as many as it has rows.

    Returns:
        The same mask.

    Raises:
        MaskFormError: if a set is no (B, K) int64 tensor.
        EmptyMaskError: if a set is empty.
        MaskRangeError: if a set leaves the grid.
        MaskOrderError: if a set is not ascending.
        MaskClipsError: if the sets differ in their number of clips, or are not of `num_clips`.
        MaskOverlapError: if the sets have tokens in common. All of these are a `MaskError`.
    """
    num_tokens = math.prod(grid)
    for name, ids in mask._asdict().items():
        _check_ids(name, ids, num_tokens, grid)
    context_ids, target_ids = mask
    if len(context_ids) != len(target_ids):
        raise MaskClipsError(
            f"context_ids and target_ids must be of the same clips, got {len(context_ids)} and {len(target_ids)} clips"
        )
    if num_clips is not None and len(context_ids) != num_clips:
        raise MaskClipsError(f"the mask must have a row for each of {num_clips} clips, got {len(context_ids)}")
    seen = torch.zeros(len(context_ids), num_tokens, dtype=torch.bool, device=context_ids.device)
    shared = seen.scatter_(1, context_ids, True).gather(1, target_ids)
    if shared.any():
        clip, place = shared.nonzero()[0].tolist()
        raise MaskOverlapError(
            f"context_ids and target_ids must be disjoint, but both have token {target_ids[clip, place].item()} "
            f"of clip {clip}; leave it out of one of them"
        )
    return mask


def _check_ids(name: str, ids: Tensor, num_tokens: int, grid: tuple[int, int, int]) -> None:
    if ids.ndim != 2 or ids.dtype != torch.int64:
        raise MaskFormError(f"{name} must be (clips, tokens) of int64, got {tuple(ids.shape)} of {ids.dtype}")
    if not ids.numel():
        raise EmptyMaskError(
            f"{name} must have at least one clip and one token, got {tuple(ids.shape)}; let the mask hide "
            f"{'less' if name == 'context_ids' else 'more'} of the grid {grid}"
        )
    outside = (ids < 0) | (ids >= num_tokens)
    if outside.any():
        clip, place = outside.nonzero()[0].tolist()
        raise MaskRangeError(
            f"{name} must be 0 to {num_tokens - 1} on the grid {grid}, got {ids[clip, place].item()} in clip {clip}; "
            "draw the mask for the grid of the clip"
        )
    falling = ids.diff(dim=1) <= 0
    if falling.any():
        clip, place = falling.nonzero()[0].tolist()
        raise MaskOrderError(
            f"{name} must be ascending without repetition, got {ids[clip, place].item()} before "
            f"{ids[clip, place + 1].item()} in clip {clip}; sort them"
        )


def check_request(grid: tuple[int, int, int], batch_size: int) -> None:
    """Refuse what no mask can be drawn for.

    Raises:
        MaskError: if the grid has fewer than two tokens or a side below 1, or there is no clip.
    """
    if len(grid) != 3 or min(grid) < 1 or math.prod(grid) < 2:
        raise MaskError(
            f"grid must be tokens in time, rows and columns, each at least 1 and together at least 2, got {grid}; "
            "enlarge the clip or take smaller patches"
        )
    if batch_size < 1:
        raise MaskError(f"batch_size must be at least 1, got {batch_size}")
