"""A transformer block that is told its step's condition by its norms: adaptive LayerNorm, with gates that begin closed.

Why this file exists: an action can reach the patches of its step as one more token, as in V-JEPA 2-AC, or by scaling
and shifting what every block reads and writes, which costs no token.

Letters: B batch, T steps, K tokens of a step, N = T * K tokens, W width.

Source: DiT (arXiv 2212.09748), section 3.2, adaLN-Zero.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vjepa_wm.models.key_value_cache import LayerCache
from vjepa_wm.models.layers import AttentionMask, Block, Projected
from vjepa_wm.models.rope import RotaryTables


class AdaptiveBlock(Block):
    """A `Block` whose two branches are shifted, scaled and gated by a condition."""

    def __init__(self, embed_dim: int, num_heads: int, mlp_ratio: float = 4.0) -> None:
        """Draw the weights of a new block.

        Args:
            embed_dim: width W, an even multiple of `num_heads`.
            num_heads: attention heads.
            mlp_ratio: hidden width of the MLP over `embed_dim`.
        """
        super().__init__(embed_dim, num_heads, mlp_ratio)
        self.modulation = nn.Linear(embed_dim, 6 * embed_dim)

    def close_gates(self) -> None:
        """Make the block an identity, as training begins."""
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self,
        x: Tensor,
        rotary: RotaryTables | None,
        mask: AttentionMask | None = None,
        cache: LayerCache | None = None,
        last: int | None = None,
        projected: Projected | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """Map tokens (B, N, W) to (B, N or last, W).

        Args:
            x: tokens of T steps, as many of each.
            rotary: as of `Block.forward`, like mask, cache and last; `last` tokens are of one step.
            mask: which query may see which key.
            cache: earlier tokens.
            last: how many tokens at the end to return.
            projected: not used: what attention needs depends on the condition.
            condition: of each step, (B, T, W).

        Returns:
            (B, N or last, W).
        """
        assert condition is not None
        parts = self.modulation(F.silu(condition)).unsqueeze(2).chunk(6, dim=-1)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = parts
        steps = condition.shape[1]

        def by_step(tokens: Tensor) -> Tensor:
            return tokens.unflatten(1, (steps, -1))

        read = (by_step(self.norm1(x)) * (1.0 + scale) + shift).flatten(1, 2)
        attended = self.attn(read, rotary, mask, cache, last)
        x = x if last is None else x[:, -last:]
        x = x + (by_step(attended) * gate).flatten(1, 2)
        read = (by_step(self.norm2(x)) * (1.0 + mlp_scale) + mlp_shift).flatten(1, 2)
        return x + (by_step(self.mlp(read)) * mlp_gate).flatten(1, 2)
