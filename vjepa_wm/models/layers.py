"""Pre-norm transformer blocks on fused attention, shared by the encoder, both predictors and the probe.

Parameter names and packing follow the published V-JEPA 2 checkpoints, so that loading them is a matter of prefixes.

Letters: B batch, N tokens, D width, h heads, d size of a head.

Source: V-JEPA 2 (arXiv 2506.09985), section 2.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vjepa_wm.checks import check_at_least, check_positive
from vjepa_wm.models.attention import attend
from vjepa_wm.models.grouped_attention import Groups, attend_in_groups
from vjepa_wm.models.key_value_cache import LayerCache
from vjepa_wm.models.mlp import Activation, Mlp, SwiGLU, hidden_width
from vjepa_wm.models.rope import RotaryTables, apply_rotary

NORM_EPS = 1e-6
Projected = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values of tokens, each (B, h, N, d)."""
AttentionMask = Tensor | Groups
"""True where a query may see a key, or the groups in which tokens see each other."""


def check_width(embed_dim: int, num_heads: int, name: str = "embed_dim", heads_name: str = "num_heads") -> None:
    """Raise ValueError unless `embed_dim` splits into `num_heads` heads of an even size; the names are for people."""
    check_at_least(1, **{heads_name: num_heads})
    if embed_dim < 1 or embed_dim % num_heads or (embed_dim // num_heads) % 2:
        raise ValueError(f"{name} must be an even multiple of {heads_name} {num_heads}, got {embed_dim}")


def check_blocks(depth: int, mlp_ratio: float, activation: str, drop_path: float, norm_eps: float) -> None:
    """Raise ValueError unless these describe a stack of blocks."""
    check_at_least(1, depth=depth)
    check_positive(mlp_ratio=mlp_ratio, norm_eps=norm_eps)
    if activation not in ("gelu", "swiglu"):
        raise ValueError(f"activation must be gelu or swiglu, got {activation!r}")
    if not 0.0 <= drop_path < 1.0:
        raise ValueError(f"drop_path must be from 0 to below 1, got {drop_path}")


def normalize_features(x: Tensor) -> Tensor:
    """Apply the parameter-free LayerNorm (eps 1e-5) of every V-JEPA 2 target over the last axis; (..., D) stays."""
    return F.layer_norm(x, x.shape[-1:])


class Attention(nn.Module):
    """Multi-head self-attention with rotary queries and keys and an optional key/value cache."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        """Draw the weights of a new layer.

        Args:
            embed_dim: width D, an even multiple of `num_heads`.
            num_heads: attention heads.
        """
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def project(self, x: Tensor, rotary: RotaryTables | None) -> Projected:
        """Make the queries, keys and values of tokens (B, N, D), the first two turned by `rotary`."""
        qkv = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.num_heads)
        if rotary is None:
            q, k, v = qkv
        elif torch.compiler.is_compiling():  # torch 2.13 fails to compile the two at once for changing lengths
            q, k, v = qkv
            q, k = apply_rotary(q, rotary).to(v.dtype), apply_rotary(k, rotary).to(v.dtype)
        else:
            qk, v = qkv.split((2, 1))
            (q, k), v = apply_rotary(qk, rotary).to(v.dtype), v[0]
        return q, k, v

    def mix(
        self,
        projected: Projected,
        mask: AttentionMask | None = None,
        cache: LayerCache | None = None,
        last: int | None = None,
    ) -> Tensor:
        """Attend, given the N tokens' queries, keys and values; the rest as in `forward`."""
        q, k, v = projected
        if isinstance(mask, Groups):  # of the encoder, which has neither a cache nor last tokens
            return self.proj(rearrange(attend_in_groups(q, k, v, mask), "b h n d -> b n (h d)"))
        if cache is not None:
            k, v = cache.extend(k, v)
        if last is not None:
            q, mask = q[:, :, -last:], None if mask is None else mask[..., -last:, :]
        return self.proj(rearrange(attend(q, k, v, mask), "b h n d -> b n (h d)"))

    def forward(
        self,
        x: Tensor,
        rotary: RotaryTables | None,
        mask: AttentionMask | None = None,
        cache: LayerCache | None = None,
        last: int | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            x: tokens, (B, N, D).
            rotary: tables for these N tokens, or None for no positions.
            mask: True where a query may see a key, (N, past + N) or (B, 1, N, past + N); or groups of tokens that
                see each other; None: all.
            cache: earlier tokens; they are seen, and these tokens are added to it.
            last: how many tokens at the end to return; all are seen. None: all.

        Returns:
            (B, N or last, D).
        """
        return self.mix(self.project(x, rotary), mask, cache, last)


class DropPath(nn.Module):
    """In training, leave a branch out for a share of the samples and scale the others up. Source: arXiv 1603.09382."""

    def __init__(self, probability: float) -> None:
        """Remember how often to drop.

        Args:
            probability: share of the samples, 0 to below 1.
        """
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, ...) to the same shape."""
        if not self.training or self.probability == 0.0:
            return x
        keep = 1.0 - self.probability
        return x * x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(keep).div_(keep)


class Block(nn.Module):
    """One pre-norm transformer block: attention, then MLP, each added to its input."""

    mlp: Mlp | SwiGLU

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        activation: Activation = "gelu",
        norm_eps: float = NORM_EPS,
        drop_path: float = 0.0,
    ) -> None:
        """Draw the weights of a new block.

        Args:
            embed_dim: width D, an even multiple of `num_heads`.
            num_heads: attention heads.
            mlp_ratio: hidden width of the MLP over `embed_dim`.
            activation: two layers around a GELU, or SwiGLU.
            norm_eps: added to the variance in both LayerNorms.
            drop_path: chance that a training sample skips a branch.
        """
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.attn = Attention(embed_dim, num_heads)
        self.norm2 = nn.LayerNorm(embed_dim, eps=norm_eps)
        hidden_dim = hidden_width(embed_dim, mlp_ratio, activation)
        self.mlp = Mlp(embed_dim, hidden_dim) if activation == "gelu" else SwiGLU(embed_dim, hidden_dim)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Tensor,
        rotary: RotaryTables | None,
        mask: AttentionMask | None = None,
        cache: LayerCache | None = None,
        last: int | None = None,
        projected: Projected | None = None,
    ) -> Tensor:
        """Map tokens (B, N, D) to (B, N or last, D).

        Args:
            x: as of `Attention.forward`, like what follows.
            rotary: not used if `projected` is given.
            mask: which query may see which key.
            cache: earlier tokens.
            last: how many tokens at the end to return.
            projected: what `project` gives for `x`, if that is known already.

        Returns:
            (B, N or last, D).
        """
        if projected is None:
            projected = self.project(x, rotary)
        attended = self.drop_path(self.attn.mix(projected, mask, cache, last))
        x = (x if last is None else x[:, -last:]) + attended
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def project(self, x: Tensor, rotary: RotaryTables | None) -> Projected:
        """Make what attention needs of tokens (B, N, D)."""
        return self.attn.project(self.norm1(x), rotary)


def make_blocks(
    depth: int,
    embed_dim: int,
    num_heads: int,
    mlp_ratio: float,
    activation: Activation = "gelu",
    norm_eps: float = NORM_EPS,
    drop_path: float = 0.0,
) -> nn.ModuleList:
    """Make a stack of blocks whose drop path grows linearly from 0 to `drop_path`."""
    rates = [drop_path * index / max(depth - 1, 1) for index in range(depth)]
    return nn.ModuleList(Block(embed_dim, num_heads, mlp_ratio, activation, norm_eps, rate) for rate in rates)


def run_block(
    block: nn.Module,
    x: Tensor,
    rotary: RotaryTables | None,
    mask: AttentionMask | None,
    recompute: bool,
    last: int | None = None,
) -> Tensor:
    """Run one block without a cache.

    Args:
        block: the `Block` to run.
        x: as of `Attention.forward`, (B, N, D).
        rotary: as of `Attention.forward`.
        mask: as of `Attention.forward`.
        recompute: whether its activations are thrown away and computed again in the backward pass.
        last: as of `Attention.forward`.

    Returns:
        (B, N or last, D).
    """
    if recompute and torch.is_grad_enabled():
        return checkpoint(block, x, rotary, mask, None, last, use_reentrant=False)
    return block(x, rotary, mask, None, last)


def init_weights(module: nn.Module, blocks: nn.ModuleList) -> None:
    """Initialise all layers of `module` as V-JEPA 2 does and shrink the blocks' output layers with depth.

    Linear layers and convolutions: normal with std 0.02, zero bias; block i (from 1) divides the two weights that write
    into the residual stream by sqrt(2 i). V-JEPA 2 cuts the normal off at 100 deviations, which changes nothing.

    Source: V-JEPA 2 code, vision transformer initialisation.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv3d):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    with torch.no_grad():
        for index, block in enumerate(blocks, start=1):
            assert isinstance(block, Block)
            block.attn.proj.weight.div_(math.sqrt(2.0 * index))
            block.mlp.output.weight.div_(math.sqrt(2.0 * index))
