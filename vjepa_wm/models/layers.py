"""Pre-norm transformer blocks on fused attention, shared by the encoder and both predictors.

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

from vjepa_wm.models.rope import RotaryTables, apply_rotary

NORM_EPS = 1e-6
KeyValue = tuple[Tensor, Tensor]


def check_width(embed_dim: int, num_heads: int, name: str = "embed_dim") -> None:
    """Raise ValueError unless `embed_dim` splits into `num_heads` heads of an even size."""
    if num_heads < 1 or embed_dim % num_heads or (embed_dim // num_heads) % 2:
        raise ValueError(f"{name} must be an even multiple of num_heads {num_heads}, got {embed_dim}")


def normalize_features(x: Tensor) -> Tensor:
    """Apply the parameter-free LayerNorm (eps 1e-5) that every V-JEPA 2 target goes through, over the last axis."""
    return F.layer_norm(x, x.shape[-1:])


class Attention(nn.Module):
    """Multi-head self-attention with rotary queries and keys and an optional key/value cache."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(
        self, x: Tensor, rotary: RotaryTables | None, mask: Tensor | None = None, past: KeyValue | None = None
    ) -> tuple[Tensor, KeyValue]:
        """Attend.

        Args:
            x: tokens, ``(B, N, D)``.
            rotary: tables for these N tokens, or None for no positions.
            mask: True where a query may see a key, ``(N, past + N)``; None for full attention.
            past: keys and values of earlier tokens, each ``(B, h, past, d)``.

        Returns:
            The result ``(B, N, D)``, and keys and values of past and present tokens.
        """
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.num_heads)
        if rotary is not None:
            q, k = apply_rotary(q, rotary).to(v.dtype), apply_rotary(k, rotary).to(v.dtype)
        if past is not None:
            k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(rearrange(out, "b h n d -> b n (h d)")), (k, v)


class Mlp(nn.Module):
    """Two linear layers around an exact GELU."""

    def __init__(self, embed_dim: int, mlp_ratio: float) -> None:
        super().__init__()
        hidden = int(embed_dim * mlp_ratio)
        self.fc1 = nn.Linear(embed_dim, hidden)
        self.fc2 = nn.Linear(hidden, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., D)`` to ``(..., D)``."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """One pre-norm transformer block: attention, then MLP, each added to its input."""

    def __init__(self, embed_dim: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, eps=NORM_EPS)
        self.attn = Attention(embed_dim, num_heads)
        self.norm2 = nn.LayerNorm(embed_dim, eps=NORM_EPS)
        self.mlp = Mlp(embed_dim, mlp_ratio)

    def forward(
        self, x: Tensor, rotary: RotaryTables | None, mask: Tensor | None = None, past: KeyValue | None = None
    ) -> tuple[Tensor, KeyValue]:
        """Map tokens ``(B, N, D)`` to ``(B, N, D)``; see `Attention.forward` for the rest."""
        attended, present = self.attn(self.norm1(x), rotary, mask, past)
        x = x + attended
        return x + self.mlp(self.norm2(x)), present


def init_weights(module: nn.Module, blocks: nn.ModuleList) -> None:
    """Initialise all layers of `module` as V-JEPA 2 does and shrink the blocks' output layers with depth.

    Linear layers and convolutions: normal with std 0.02 cut at +-2, zero bias; block i (from 1) divides its two output
    weights by sqrt(2 i). Source: V-JEPA 2 code, vision transformer initialisation.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv3d):
            nn.init.trunc_normal_(layer.weight, std=0.02, a=-2.0, b=2.0)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    with torch.no_grad():
        for index, block in enumerate(blocks, start=1):
            block.attn.proj.weight.div_(math.sqrt(2.0 * index))
            block.mlp.fc2.weight.div_(math.sqrt(2.0 * index))
