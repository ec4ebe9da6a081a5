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
    """Which tokens attend to each other; rows count the tokens of all clips, class tokens too."""

    slots: Tensor
    """Row in each slot, (G, S); behind the last token of a group its first one is repeated."""
    places: Tensor
    """Slot of each row that is no class token, counted through all groups, (B * N,)."""
    filled: Tensor | None
    """False where a slot repeats a token, (G, S); None: nowhere."""
    clips: Tensor
    """Clip of each group, (G,)."""
    class_rows: Tensor | None
    """Row of each clip's class token, which comes first and belongs to no group, (B,); None: there is none."""


def make_groups(numbers: Tensor, num_groups: int, class_token: bool) -> Groups:
    """Lay tokens out in groups; a group without tokens takes no room.

    Args:
        numbers: group of each token, (B, N), from 0 to `num_groups` - 1.
        num_groups: groups that a clip can have.
        class_token: whether a token without a group comes first.
    """
    batch, length = numbers.shape
    every_clip = torch.arange(batch, device=numbers.device)
    key = (numbers + num_groups * every_clip.unsqueeze(1)).flatten()
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
    class_rows = None
    if class_token:
        slots = slots + slots // length + 1
        class_rows = every_clip * (length + 1)
    return Groups(slots, places, None if least == most else filled, present // num_groups, class_rows)


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
    queries, from_class = _to_slots(q, groups, keys=False)
    (keys, _), (values, _) = (_to_slots(x, groups, keys=True) for x in (k, v))
    seen = groups.filled
    if seen is not None and groups.class_rows is not None:
        seen = F.pad(seen, (1, 0), value=True)
    mask = None if seen is None else seen[:, None, None]
    out = attend(queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), mask)
    rows = _from_slots(rearrange(out, "g h s d -> (g s) (h d)"), groups.places)
    out = rearrange(rows, "(b n) (h d) -> b n h d", b=q.shape[0], h=q.shape[1])
    if groups.class_rows is not None:
        out = torch.cat((_attend_to_all(from_class, keys, values, seen, groups.clips).unsqueeze(1), out), dim=1)
    return out.transpose(1, 2)


def _attend_to_all(query: Tensor, keys: Tensor, values: Tensor, seen: Tensor | None, clips: Tensor) -> Tensor:
    """Return what the one query of a clip (B, h, d) makes of its groups, each with the class token first, (B, h, d).

    Keys and values are (G, S, h, d) as the groups have them, so that none is kept twice for the backward pass.
    """
    counted = torch.ones(keys.shape[:2], dtype=torch.bool, device=keys.device) if seen is None else seen.clone()
    counted[1:, 0] = clips.diff() > 0  # the class token itself counts in the first group of a clip alone
    scores = (keys * query[clips].unsqueeze(1)).sum(dim=-1).to(torch.promote_types(keys.dtype, torch.float32))
    scores = (scores * query.shape[-1] ** -0.5).masked_fill(~counted.unsqueeze(-1), -torch.inf)
    of_groups = scores.detach().amax(dim=1)
    highest = of_groups.new_full(query.shape[:2], -torch.inf)
    highest = highest.scatter_reduce(0, clips.unsqueeze(1).expand_as(of_groups), of_groups, "amax")
    weights = (scores - highest[clips].unsqueeze(1)).exp()
    total = torch.zeros_like(highest).index_add(0, clips, weights.sum(dim=1)).unsqueeze(-1)
    mixed = (weights.unsqueeze(-1) * values).sum(dim=1)
    return (mixed.new_zeros(query.shape).index_add(0, clips, mixed) / total).to(values.dtype)


def _to_slots(x: Tensor, groups: Groups, *, keys: bool) -> tuple[Tensor, Tensor]:
    """Lay tokens (B, h, N, d) out in groups, (G, S, h, d), and return the class tokens by themselves, (B, h, d).

    Keys have the class token first in every group, (G, 1 + S, h, d).
    """
    slots, places, classes = groups.slots, groups.places, groups.class_rows
    if keys and classes is not None:
        places = places + places // slots.shape[1] + 1
        slots = torch.cat((classes[groups.clips].unsqueeze(1), slots), dim=1)
    if torch.compiler.is_compiling():
        rows = rearrange(x, "b h n d -> (b n) h d")
        # Class tokens are picked too: torch 2.13 takes the strides of a view of `x` for those of its first length.
        first = rows[:0] if classes is None else rows.index_select(0, classes)
        return rows.index_select(0, slots.flatten()).unflatten(0, slots.shape), first
    return _ToSlots.apply(x, slots, places, groups.clips, keys, classes is not None)


def _from_slots(x: Tensor, places: Tensor) -> Tensor:
    """Pick the rows of tokens out of those of slots (G * S, D), (B * N, D)."""
    return x.index_select(0, places) if torch.compiler.is_compiling() else _FromSlots.apply(x, places)


class _ToSlots(torch.autograd.Function):
    """Tokens in groups, whose gradients are picked and not added up, which takes a multiple of the time."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, slots: Tensor, places: Tensor, clips: Tensor, keys: bool, class_token: bool
    ) -> tuple[Tensor, Tensor]:
        """Lay out, and keep the way back alone."""
        ctx.places, ctx.clips, ctx.keys, ctx.class_token, ctx.shape = places, clips, keys, class_token, x.shape
        rows = rearrange(x, "b h n d -> (b n) h d")
        return rows.index_select(0, slots.flatten()).unflatten(0, slots.shape), x[:, :, 0].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, from_class: Tensor) -> tuple[Tensor | None, ...]:
        """Pick the gradients; repeated rows have none, since nothing looks at them."""
        batch, heads, _, size = ctx.shape
        rows = grad.reshape(-1, heads, size).index_select(0, ctx.places)
        rows = rearrange(rows, "(b n) h d -> b n h d", b=batch)
        if ctx.class_token:
            if ctx.keys:
                from_class = grad.new_zeros(batch, heads, size).index_add_(0, ctx.clips, grad[:, 0])
            rows = torch.cat((from_class.unsqueeze(1), rows), dim=1)
        return rows.transpose(1, 2), None, None, None, None, None


class _FromSlots(torch.autograd.Function):
    """Rows of tokens out of those of slots."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor) -> Tensor:
        """Pick, and keep the places alone."""
        ctx.places, ctx.num_slots = places, len(x)
        return x.index_select(0, places)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Put the gradients back; slots that repeat a token have none."""
        return grad.new_zeros(ctx.num_slots, grad.shape[1]).index_copy_(0, ctx.places, grad), None
