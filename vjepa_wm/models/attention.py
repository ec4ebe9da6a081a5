"""Scaled dot-product attention, and the case on a CPU in which torch's fused kernel is not the fastest.

torch 2.13's fused attention computes bf16 at the rate of float32 on processors that have bf16 products but no matrix
unit (AMX). There plain matrix products are faster, done in pieces whose scores stay in the cache: forward and backward
pass take 0.55 of the fused kernel's time at 416 tokens with heads of 32 and 0.75 at 2,048 with heads of 64. Scores are
then rounded to bf16. Below 128 tokens torch's own unfused attention is faster still.

Letters: B batch, h heads, N queries, M keys, d size of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.attention import SDPBackend, sdpa_kernel

_FEWEST_TOKENS = 256  # without gradients
_FEWEST_TOKENS_IN_TRAINING = 128
_SCORES_AT_ONCE = 2**21  # 4 MiB of bf16


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v.

    Args:
        q: queries, (B, h, N, d).
        k: keys, (B, h, M, d).
        v: values, (B, h, M, d).
        mask: True where a query may see a key, broadcast to (B, h, N, M); None: all.

    Returns:
        (B, h, N, d).
    """
    if _fused_is_slow(q):
        training = torch.is_grad_enabled()
        if mask is None and k.shape[2] >= (_FEWEST_TOKENS_IN_TRAINING if training else _FEWEST_TOKENS):
            return attend_in_pieces(q, k, v)
        if training and k.shape[2] <= _FEWEST_TOKENS:
            with sdpa_kernel(SDPBackend.MATH):
                return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def attend_in_pieces(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Do what `attend` does with plain matrix products, some heads and queries of a clip at a time.

    Args:
        q: queries, (B, h, N, d).
        k: keys, (B, h, M, d).
        v: values, (B, h, M, d).

    Returns:
        (B, h, N, d).
    """
    return _AttentionInPieces.apply(q, k, v)


class _AttentionInPieces(torch.autograd.Function):
    """Attention that keeps no scores for the backward pass but computes them again."""

    @staticmethod
    def forward(ctx: FunctionCtx, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend, and keep queries, keys and values alone."""
        ctx.save_for_backward(q, k, v)
        batch, heads, queries, size = q.shape
        # Tokens before heads in memory, as the output layer wants them.
        out = q.new_empty(batch, queries, heads, size).transpose(1, 2)
        space = q.new_empty(_space(q, k))
        for clip, h, n in _pieces(q, k):
            torch.bmm(_probabilities(q[clip, h, n], k[clip, h], space), v[clip, h], out=out[clip, h, n])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the scores again, piece by piece, and return the three gradients."""
        q, k, v = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        space, more_space = q.new_empty(2, _space(q, k))
        for clip, h, n in _pieces(q, k):
            p = _probabilities(q[clip, h, n], k[clip, h], space)
            g = grad[clip, h, n]
            grad_v[clip, h].baddbmm_(p.transpose(1, 2), g)
            grad_p = more_space[: p.numel()].view(p.shape)
            torch.bmm(g, v[clip, h].transpose(1, 2), out=grad_p)
            torch._softmax_backward_data(grad_p, p, -1, p.dtype, grad_input=grad_p)
            part = grad_q[clip, h, n]
            torch.baddbmm(part, grad_p, k[clip, h], beta=0, alpha=scale, out=part)
            grad_k[clip, h].baddbmm_(grad_p.transpose(1, 2), q[clip, h, n], alpha=scale)
        return grad_q, grad_k, grad_v


def _piece_size(q: Tensor, k: Tensor) -> tuple[int, int]:
    """Return how many heads and queries of a clip go together."""
    queries = min(q.shape[2], max(1, _SCORES_AT_ONCE // k.shape[2]))
    return min(q.shape[1], max(1, _SCORES_AT_ONCE // (queries * k.shape[2]))), queries


def _space(q: Tensor, k: Tensor) -> int:
    """Return how many scores the largest piece has."""
    heads, queries = _piece_size(q, k)
    return heads * queries * k.shape[2]


def _pieces(q: Tensor, k: Tensor) -> Iterator[tuple[int, slice, slice]]:
    """Yield clip, heads and queries of each piece."""
    heads, queries = _piece_size(q, k)
    for clip in range(q.shape[0]):
        for head in range(0, q.shape[1], heads):
            for query in range(0, q.shape[2], queries):
                yield clip, slice(head, head + heads), slice(query, query + queries)


def _probabilities(q: Tensor, k: Tensor, space: Tensor) -> Tensor:
    """Write softmax(q k^T / sqrt(d)) of (h, N, d) and (h, M, d) into `space` and return it, (h, N, M)."""
    p = space[: q.shape[0] * q.shape[1] * k.shape[1]].view(q.shape[0], q.shape[1], k.shape[1])
    torch.baddbmm(p, q, k.transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5, out=p)
    return torch._softmax(p, -1, False, out=p)


def _fused_is_slow(q: Tensor) -> bool:
    return (
        q.device.type == "cpu"
        and q.dtype == torch.bfloat16
        and not torch.compiler.is_compiling()
        and torch.cpu._is_avx512_bf16_supported()
        and not torch.cpu._is_amx_tile_supported()
    )
