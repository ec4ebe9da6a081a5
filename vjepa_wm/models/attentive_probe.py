"""The attentive probe: a small head on frozen features, for video classification and action anticipation.

Self-attention blocks mix the tokens, learned queries read them by cross-attention, and a linear layer per question
answers. No positions are added, so the tokens' order does not matter and tokens of several clips may be put end to
end.

Letters: B batch, N tokens, D width, Q queries.

Source: V-JEPA 2 (arXiv 2506.09985), sections 4 and 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from vjepa_wm.checks import check_at_least
from vjepa_wm.models.attention import attend
from vjepa_wm.models.layers import check_width, init_weights, make_blocks
from vjepa_wm.models.mlp import Mlp, hidden_width

PROBE_NORM_EPS = 1e-5


@dataclass(frozen=True, kw_only=True)
class AttentiveProbeConfig:
    """Size of an `AttentiveProbe` and what it answers: classes, or verbs, nouns and actions."""

    embed_dim: int
    """Width of the encoder's tokens."""
    num_heads: int = 16
    """Attention heads."""
    depth: int = 4
    """Blocks; the last is the cross-attention, those before it self-attention."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLPs over `embed_dim`."""
    norm_eps: float = PROBE_NORM_EPS
    """Added to the variance in every LayerNorm; the official probes have 1e-5, Hugging Face's copies 1e-6."""
    num_classes: int = 0
    """Classes of a video; 0 for anticipation."""
    num_verbs: int = 0
    """Verbs to anticipate; 0 for classification and for actions alone."""
    num_nouns: int = 0
    """Nouns to anticipate, exactly if verbs are."""
    num_actions: int = 0
    """Actions to anticipate; 0 for classification."""

    def __post_init__(self) -> None:
        check_width(self.embed_dim, self.num_heads)
        check_at_least(1, depth=self.depth)
        if (self.num_classes > 0) == (self.num_actions > 0):
            raise ValueError(
                "either num_classes or num_actions must be positive, "
                f"got num_classes {self.num_classes} and num_actions {self.num_actions}"
            )
        if (self.num_verbs > 0) != (self.num_nouns > 0) or (self.num_verbs > 0 and self.num_classes > 0):
            raise ValueError(
                "num_verbs and num_nouns go together, beside num_actions, "
                f"got num_verbs {self.num_verbs} and num_nouns {self.num_nouns}"
            )

    @property
    def num_queries(self) -> int:
        """Queries: one per question."""
        return 3 if self.num_verbs else 1


class CrossAttention(nn.Module):
    """Queries attend to tokens; there is no output projection."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        """Draw the weights of a new layer.

        Args:
            embed_dim: width D, an even multiple of `num_heads`.
            num_heads: attention heads.
        """
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(embed_dim, embed_dim)
        self.kv = nn.Linear(embed_dim, 2 * embed_dim)

    def forward(self, queries: Tensor, x: Tensor) -> Tensor:
        """Map queries (B, Q, D) and tokens (B, N, D) to (B, Q, D)."""
        q = rearrange(self.q(queries), "b n (h d) -> b h n d", h=self.num_heads)
        k, v = rearrange(self.kv(x), "b n (two h d) -> two b h n d", two=2, h=self.num_heads)
        return rearrange(attend(q, k, v), "b h n d -> b n (h d)")


class CrossAttentionBlock(nn.Module):
    """Cross-attention to normed tokens, then an MLP, each added to the queries, which are not normed first."""

    def __init__(self, config: AttentiveProbeConfig) -> None:
        """Draw the weights of a new block.

        Args:
            config: the probe's.
        """
        super().__init__()
        width = config.embed_dim
        self.norm1 = nn.LayerNorm(width, eps=config.norm_eps)
        self.xattn = CrossAttention(width, config.num_heads)
        self.norm2 = nn.LayerNorm(width, eps=config.norm_eps)
        self.mlp = Mlp(width, hidden_width(width, config.mlp_ratio, "gelu"))

    def forward(self, queries: Tensor, x: Tensor) -> Tensor:
        """Map queries (B, Q, D) and tokens (B, N, D) to (B, Q, D)."""
        queries = queries + self.xattn(queries, self.norm1(x))
        return queries + self.mlp(self.norm2(queries))


class AttentivePooler(nn.Module):
    """Self-attention blocks over the tokens, then one vector per query."""

    def __init__(self, config: AttentiveProbeConfig) -> None:
        """Draw the weights of a new pooler.

        Args:
            config: the probe's.
        """
        super().__init__()
        width = config.embed_dim
        self.query_tokens = nn.Parameter(0.02 * torch.randn(1, config.num_queries, width))
        self.cross_attention_block = CrossAttentionBlock(config)
        if config.depth > 1:
            self.blocks = make_blocks(
                config.depth - 1, width, config.num_heads, config.mlp_ratio, norm_eps=config.norm_eps
            )
        init_weights(self, self.blocks if config.depth > 1 else nn.ModuleList())
        with torch.no_grad():
            self.cross_attention_block.mlp.fc2.weight.div_(math.sqrt(2.0 * max(config.depth - 1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, D) to (B, Q, D)."""
        for block in self.blocks if hasattr(self, "blocks") else ():
            x = block(x, None)
        return self.cross_attention_block(self.query_tokens.expand(x.shape[0], -1, -1), x)


class AttentiveProbe(nn.Module):
    """Answer questions about a clip from its frozen features."""

    def __init__(self, config: AttentiveProbeConfig) -> None:
        """Draw the weights of a new probe.

        Args:
            config: its size and what it answers.
        """
        super().__init__()
        self.config = config
        self.pooler = AttentivePooler(config)
        if config.num_classes:
            self.linear = nn.Linear(config.embed_dim, config.num_classes)
        if config.num_verbs:
            self.verb_classifier = nn.Linear(config.embed_dim, config.num_verbs)
            self.noun_classifier = nn.Linear(config.embed_dim, config.num_nouns)
        if config.num_actions:
            self.action_classifier = nn.Linear(config.embed_dim, config.num_actions)

    def forward(self, tokens: Tensor) -> Tensor | dict[str, Tensor]:
        """Return scores before the softmax (classes) or sigmoid (anticipation).

        Args:
            tokens: features of the encoder (and predictor), (B, N, D).

        Returns:
            (B, num_classes), or for anticipation a dictionary with `action` and, where asked, `verb` and
            `noun`, each (B, its number).
        """
        pooled = self.pooler(tokens)
        if self.config.num_classes:
            return self.linear(pooled[:, 0])
        if not self.config.num_verbs:
            return {"action": self.action_classifier(pooled[:, 0])}
        return {
            "verb": self.verb_classifier(pooled[:, 0]),
            "noun": self.noun_classifier(pooled[:, 1]),
            "action": self.action_classifier(pooled[:, 2]),
        }
