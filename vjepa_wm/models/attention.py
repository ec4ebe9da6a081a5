"""Scaled dot-product attention, and the two cases on a CPU in which torch's fused kernel is not the fastest.

torch 2.13's fused attention computes bf16 at the rate of float32 on processors that have bf16 products but no matrix
unit (AMX). There, without gradients, plain products head by head take 0.6 of its time at 2,048 tokens; scores are then
rounded to bf16. With gradients, forward and backward pass through plain products take 0.3 of its time at 36 tokens and
0.9 at 256, but more from 512 on.

Letters: B batch, h heads, N queries, M keys, d size of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

_FEWEST_TOKENS = 512
_MOST_TOKENS_IN_TRAINING = 256
_QUERIES_AT_ONCE = 512  # scores of so many queries and 2,048 keys stay in the second-level cache


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v.

    Args:
        q: queries, ``(B, h, N, d)``.
        k: keys, ``(B, h, M, d)``.
        v: values, ``(B, h, M, d)``.
        mask: True where a query may see a key, broadcast to ``(B, h, N, M)``; None: all.

    Returns:
        ``(B, h, N, d)``.
    """
    if _fused_is_slow(q):
        if torch.is_grad_enabled() and q.shape[2] <= _MOST_TOKENS_IN_TRAINING:
            with sdpa_kernel(SDPBackend.MATH):
                return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        if mask is None and not torch.is_grad_enabled() and q.shape[2] >= _FEWEST_TOKENS:
            return attend_by_head(q, k, v)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def attend_by_head(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Do what `attend` does with one pair of matrix products for each head and chunk of queries; no gradients."""
    out = torch.empty_like(q)
    q = q * q.shape[-1] ** -0.5
    for clip in range(q.shape[0]):
        for head in range(q.shape[1]):
            keys, values = k[clip, head].T, v[clip, head]
            for start in range(0, q.shape[2], _QUERIES_AT_ONCE):
                chunk = slice(start, start + _QUERIES_AT_ONCE)
                torch.mm((q[clip, head, chunk] @ keys).softmax(dim=-1), values, out=out[clip, head, chunk])
    return out


def _fused_is_slow(q: Tensor) -> bool:
    return (
        q.device.type == "cpu"
        and q.dtype == torch.bfloat16
        and not torch.compiler.is_compiling()
        and torch.cpu._is_avx512_bf16_supported()
        and not torch.cpu._is_amx_tile_supported()
    )
