"""Factorised space-then-time attention: blocks that attend within each frame, and blocks that attend at each place.

Whole clips are regrouped as they are. Clips with dropped tokens have groups of unequal size, and a class token belongs
to none: they go through `grouped_attention`, or take a mask over all pairs where a compiler wants fixed shapes.

Letters: B batch, T tokens in time, S places of a frame, N tokens, D width.

Source: ViViT (arXiv 2103.15691), the factorised encoder, with all tokens kept through the temporal blocks.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vjepa_wm.models.grouped_attention import Groups, make_groups
from vjepa_wm.models.layers import run_block
from vjepa_wm.models.rope import RotaryTables
from vjepa_wm.models.sincos import Grid

Scope = Literal["space", "time"]


def token_groups(ids: Tensor, grid: Grid, over: Scope, class_token: bool) -> Groups:
    """Return the groups in which tokens share a frame (`space`) or a place (`time`).

    Args:
        ids: token ids, (B, N).
        grid: tokens in time, rows and columns.
        over: what the block attends over.
        class_token: whether a token without an id comes first.
    """
    per_frame = grid[1] * grid[2]
    if over == "space":
        return make_groups(ids // per_frame, grid[0], class_token)
    return make_groups(ids % per_frame, per_frame, class_token)


def group_mask(ids: Tensor, grid: Grid, over: Scope, class_token: bool) -> Tensor:
    """Return True where two tokens share a frame (`space`) or a place (`time`); a class token first shares all.

    Args:
        ids: token ids, (N,) or (B, N).
        grid: tokens in time, rows and columns.
        over: what the block attends over.
        class_token: whether a token without an id comes first.

    Returns:
        (B or 1, 1, N, N) booleans, N with the class token.
    """
    per_frame = grid[1] * grid[2]
    group = ids // per_frame if over == "space" else ids % per_frame
    group = group.unsqueeze(0) if group.dim() == 1 else group
    mask = group.unsqueeze(-1) == group.unsqueeze(-2)
    if class_token:
        mask = F.pad(mask, (1, 0, 1, 0), value=True)
    return mask.unsqueeze(1)


def run_grouped(
    block: nn.Module, x: Tensor, rotary: RotaryTables | None, grid: Grid, over: Scope, recompute: bool
) -> Tensor:
    """Run a block on each frame (`space`) or each place (`time`) of whole clips.

    Args:
        block: the `Block` to run.
        x: tokens, (B, T * S, D).
        rotary: their tables, or None for no positions.
        grid: tokens in time, rows and columns.
        over: what the block attends over.
        recompute: as of `run_block`.

    Returns:
        (B, T * S, D).
    """
    batch, steps = x.shape[0], grid[0]
    groups = "(b t) s" if over == "space" else "(b s) t"
    if rotary is not None:
        rotary = RotaryTables(
            *(
                rearrange(table.expand(batch, -1, -1, -1), f"b 1 (t s) d -> {groups.replace(') ', ') 1 ')} d", t=steps)
                for table in rotary
            )
        )
    grouped = rearrange(x, f"b (t s) d -> {groups} d", t=steps)
    grouped = run_block(block, grouped, rotary, None, recompute)
    return rearrange(grouped, f"{groups} d -> b (t s) d", t=steps, b=batch)
