"""The masked predictor of V-JEPA 2: from the features of visible tokens to those of hidden ones.

Letters: B batch, N tokens (Nc context, Nt target), D encoder width.

Source: V-JEPA 2 (arXiv 2506.09985), section 2; the output for context tokens is from V-JEPA 2.1 (arXiv 2603.14482).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vjepa_wm.models.layers import NORM_EPS, Block, check_width, init_weights
from vjepa_wm.models.rope import RopeForm, check_rope_form, grid_positions, rotary_tables


@dataclass(frozen=True, kw_only=True)
class MaskedPredictorConfig:
    """Size and form of a `MaskedPredictor`."""

    encoder_dim: int
    """Width of the encoder's tokens."""
    embed_dim: int = 384
    """Width of the predictor."""
    depth: int = 12
    """Number of blocks."""
    num_heads: int = 12
    """Attention heads."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLP over `embed_dim`."""
    num_mask_tokens: int = 2
    """Learned mask tokens; each call uses one of them."""
    rope: RopeForm = "true"
    """Rotary form: `tiled` for V-JEPA 2 weights, `true` for new training."""
    predict_context: bool = False
    """Whether a second output layer predicts the visible tokens as well (V-JEPA 2.1)."""

    def __post_init__(self) -> None:
        check_width(self.embed_dim, self.num_heads)
        check_rope_form(self.rope)
        if self.num_mask_tokens < 1:
            raise ValueError(f"num_mask_tokens must be at least 1, got {self.num_mask_tokens}")


class MaskedPredictor(nn.Module):
    """Predict the features of target tokens from those of context tokens and the targets' positions."""

    def __init__(self, config: MaskedPredictorConfig) -> None:
        super().__init__()
        self.config = config
        self.predictor_embed = nn.Linear(config.encoder_dim, config.embed_dim)
        self.mask_tokens = nn.ParameterList(
            nn.Parameter(torch.zeros(1, 1, config.embed_dim)) for _ in range(config.num_mask_tokens)
        )
        self.predictor_blocks = nn.ModuleList(
            Block(config.embed_dim, config.num_heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.predictor_norm = nn.LayerNorm(config.embed_dim, eps=NORM_EPS)
        self.predictor_proj = nn.Linear(config.embed_dim, config.encoder_dim)
        if config.predict_context:
            self.predictor_proj_context = nn.Linear(config.embed_dim, config.encoder_dim)
        init_weights(self, self.predictor_blocks)

    def forward(
        self,
        context: Tensor,
        context_ids: Tensor,
        target_ids: Tensor,
        *,
        grid: tuple[int, int, int],
        mask_index: int = 0,
    ) -> Tensor:
        """Predict the target tokens, ``(B, Nt, D)``; arguments and errors as in `predict_all`."""
        hidden, _ = self._run(context, context_ids, target_ids, grid, mask_index)
        return self.predictor_proj(hidden)

    def predict_all(
        self,
        context: Tensor,
        context_ids: Tensor,
        target_ids: Tensor,
        *,
        grid: tuple[int, int, int],
        mask_index: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Predict hidden and visible tokens, the latter through an output layer of their own (V-JEPA 2.1).

        Args:
            context: encoder features of the visible tokens, ``(B, Nc, D)``.
            context_ids: their token ids, ``(B, Nc)``.
            target_ids: ids of the tokens to predict, ``(B, Nt)``.
            grid: tokens of the clip in time, rows and columns.
            mask_index: which mask token to use, modulo their number.

        Returns:
            Features of the target tokens, ``(B, Nt, D)``, and of the context tokens, ``(B, Nc, D)``.

        Raises:
            ValueError: ids and features disagree in shape, or the predictor has no context output.
        """
        if not self.config.predict_context:
            raise ValueError("this predictor has no context output; build it with predict_context=True")
        hidden, seen = self._run(context, context_ids, target_ids, grid, mask_index)
        return self.predictor_proj(hidden), self.predictor_proj_context(seen)

    def _run(
        self, context: Tensor, context_ids: Tensor, target_ids: Tensor, grid: tuple[int, int, int], mask_index: int
    ) -> tuple[Tensor, Tensor]:
        if context.shape[:2] != context_ids.shape or target_ids.shape[0] != context.shape[0]:
            raise ValueError(
                f"context {tuple(context.shape)} needs context_ids {tuple(context.shape[:2])} and as many rows of "
                f"target_ids, got {tuple(context_ids.shape)} and {tuple(target_ids.shape)}"
            )
        x = self.predictor_embed(context)
        mask_token = self.mask_tokens[mask_index % self.config.num_mask_tokens].to(x.dtype)
        x = torch.cat((x, mask_token.expand(*target_ids.shape, -1)), dim=1)
        # Attention knows no order but the positions, so the tokens stay unsorted.
        positions = grid_positions(torch.cat((context_ids, target_ids), dim=1), grid[1:])
        rotary = rotary_tables(positions, self.config.embed_dim // self.config.num_heads, self.config.rope, x.dtype)
        for block in self.predictor_blocks:
            x, _ = block(x, rotary)
        seen, hidden = self.predictor_norm(x).split((context_ids.shape[1], target_ids.shape[1]), dim=1)
        return hidden, seen
