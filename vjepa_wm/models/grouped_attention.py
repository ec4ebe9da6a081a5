"""Attention within groups of unequal size, such as the tokens that are left of each frame or place of masked clips.

Why this file exists: a mask over all pairs of tokens says the same but computes every pair. Here tokens are laid out in
groups, padded to the length of the longest, and only pairs of a group are computed; a class token sees all and is seen
by all. Projections and MLP never see the padding.

Letters: B clips, N tokens without the class token, h heads, d size of a head, G groups of all clips, S slots of each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable

from vjepa_wm.models.attention import attend


class Groups(NamedTuple):
    """Which tokens attend to each other; rows count the tokens of all clips, B * N."""

    slots: Tensor
    """Row in each slot, (G, S); behind the last token of a group its first one is repeated."""
    places: Tensor
    """Slot of each row, counted through all groups, (B * N,)."""
    filled: Tensor | None
    """False where a slot repeats a token, (G, S); None: nowhere."""
    clips: Tensor
    """Clip of each group, (G,)."""
    class_token: bool
    """Whether a token comes first that belongs to no group."""


def make_groups(numbers: Tensor, num_groups: int, class_token: bool) -> Groups:
    """Lay tokens out in groups; a group without tokens takes no room.

    Args:
        numbers: group of each token, (B, N), from 0 to `num_groups` - 1.
        num_groups: groups that a clip can have.
        class_token: whether a token without a group comes first.
    """
    batch = numbers.shape[0]
    firsts = num_groups * torch.arange(batch, device=numbers.device).unsqueeze(1)
    key = (numbers + firsts).flatten()
    counts = key.bincount(minlength=batch * num_groups)
    present = counts.nonzero().flatten()
    counts = counts[present].unsqueeze(1)
    least, most = (int(count) for count in counts.aminmax())
    slot = torch.arange(most, device=numbers.device)
    filled = slot < counts
    starts = counts.cumsum(dim=0) - counts
    slots = key.argsort(stable=True)[starts + torch.where(filled, slot, 0)]
    places = torch.empty_like(key)
    places[slots[filled]] = filled.flatten().nonzero().flatten()
    return Groups(slots, places, None if least == most else filled, present // num_groups, class_token)


def attend_in_groups(q: Tensor, k: Tensor, v: Tensor, groups: Groups) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v, each token seeing its group and the class token, which sees all.

    Args:
        q: queries, (B, h, N, d), or (B, h, 1 + N, d) with a class token.
        k: keys, likewise.
        v: values, likewise.
        groups: who sees whom.

    Returns:
        As the queries.
    """
    special, heads = int(groups.class_token), q.shape[1]
    grouped = []
    for x in (q, k, v):
        rows = rearrange(x[:, :, special:], "b h n d -> (b n) (h d)")
        rows = _pick(rows, groups.slots.flatten(), groups.places, None)
        grouped.append(rearrange(rows, "(g s) (h d) -> g h s d", h=heads, s=groups.slots.shape[1]))
    queries, keys, values = grouped
    seen = groups.filled
    if special:
        keys = torch.cat((k[:, :, :1][groups.clips], keys), dim=2)
        values = torch.cat((v[:, :, :1][groups.clips], values), dim=2)
        seen = None if seen is None else F.pad(seen, (1, 0), value=True)
    out = attend(queries, keys, values, None if seen is None else seen[:, None, None])
    filled = None if groups.filled is None else groups.filled.flatten()
    rows = _pick(rearrange(out, "g h s d -> (g s) (h d)"), groups.places, groups.slots.flatten(), filled)
    out = rearrange(rows, "(b n) (h d) -> b h n d", b=q.shape[0], h=heads)
    return torch.cat((attend(q[:, :, :1], k, v), out), dim=2) if special else out


def _pick(x: Tensor, index: Tensor, back: Tensor, filled: Tensor | None) -> Tensor:
    """Return rows `index` of `x`; `back` has for each row of `x` where it went, if `filled` says that it did."""
    if torch.compiler.is_compiling() or not x.requires_grad:
        return x.index_select(0, index)
    return _Pick.apply(x, index, back, filled)


class _Pick(torch.autograd.Function):
    """Rows in another order, whose gradient is picked as well and not added up, which takes a multiple of the time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, back: Tensor, filled: Tensor | None) -> Tensor:
        """Pick, and keep the way back alone."""
        ctx.back, ctx.filled = back, filled
        return x.index_select(0, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        """Pick the gradients; repeated rows have none, since nothing looks at them."""
        grad = grad.index_select(0, ctx.back)
        if ctx.filled is not None:
            grad.masked_fill_(~ctx.filled.unsqueeze(1), 0.0)
        return grad, None, None, None
