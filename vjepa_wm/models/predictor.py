"""The masked predictor of V-JEPA 2: from the features of visible tokens to those of hidden ones.

Letters: B batch, N tokens (Nc context, Nt target), D encoder width, L levels.

Source: V-JEPA 2 (arXiv 2506.09985), section 2; levels, modality embeddings and the output for context tokens are from
V-JEPA 2.1 (arXiv 2603.14482), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vjepa_wm.checks import check_at_least
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.layers import NORM_EPS, check_blocks, check_width, init_weights, make_blocks, run_block
from vjepa_wm.models.mlp import Activation
from vjepa_wm.models.rope import RopeForm, check_rope, grid_positions, rotary_tables
from vjepa_wm.models.sincos import Grid, fixed_positions_for
from vjepa_wm.models.tubelets import check_token_ids

_MODALITY_STD = 1e-6


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
    activation: Activation = "gelu"
    """MLP: two layers around a GELU, or SwiGLU."""
    norm_eps: float = NORM_EPS
    """Added to the variance in every LayerNorm."""
    drop_path: float = 0.0
    """Chance that a training sample skips the last block's branches; it grows linearly from 0 at the first."""
    num_mask_tokens: int = 2
    """Learned mask tokens; each call uses one of them."""
    rope: RopeForm | None = "true"
    """Rotary form: `tiled` for V-JEPA 2 weights, `true` for V-JEPA 2.1 and new training; None: fixed sine-cosine."""
    rope_grid: int | None = None
    """Side of the patch grid that rows and columns are stretched onto (V-JEPA 2.1: 16); None: they just count."""
    grid: Grid | None = None
    """Tokens in time, rows and columns of the training clips; only fixed positions need it."""
    uniform_power: bool = False
    """Fixed positions only: equal channels for time, rows and columns instead of 2 : 1 : 1."""
    short_time: bool = False
    """With `uniform_power`, time and not columns has the channels that are left (340 / 342 / 342 of 1,024)."""
    num_levels: int = 1
    """Encoder levels that come in, end to end, and go out (V-JEPA 2.1: 4); several are fused by two layers first."""
    target_dim: int | None = None
    """Width of a predicted token; None: `num_levels` times `encoder_dim`. A distilled model's is its teacher's."""
    predict_context: bool = False
    """Whether a second output layer predicts the visible tokens as well (V-JEPA 2.1)."""
    modality_embedding: bool = False
    """Whether a learned vector is added to all tokens of a picture, another to those of a clip (V-JEPA 2.1)."""
    capacity: int | None = None
    """Largest number of target tokens of a clip; more are an error. None: any number."""

    def __post_init__(self) -> None:
        check_width(self.embed_dim, self.num_heads)
        check_rope(self.rope, self.rope_grid, self.embed_dim // self.num_heads)
        check_blocks(self.depth, self.mlp_ratio, self.activation, self.drop_path, self.norm_eps)
        check_at_least(1, encoder_dim=self.encoder_dim, target_dim=self.target_dim)
        check_at_least(1, num_mask_tokens=self.num_mask_tokens, num_levels=self.num_levels)
        check_at_least(1, capacity=self.capacity)
        if self.rope is None and self.grid is None:
            raise ValueError("grid must be given for fixed positions (rope None), got None")

    @property
    def input_dim(self) -> int:
        """Width of a context token."""
        return self.num_levels * self.encoder_dim

    @property
    def output_dim(self) -> int:
        """Width of a predicted token."""
        return self.input_dim if self.target_dim is None else self.target_dim


def masked_predictor_for(
    encoder: VideoEncoderConfig, *, embed_dim: int = 384, depth: int = 12, num_heads: int = 12, **options: Any
) -> MaskedPredictorConfig:
    """Return a predictor that fits an encoder: its positions, levels and modalities.

    Args:
        encoder: whose tokens come in.
        embed_dim: width of the predictor.
        depth: number of blocks.
        num_heads: attention heads.
        options: other fields of `MaskedPredictorConfig`.
    """
    fields: dict[str, Any] = {
        "encoder_dim": encoder.embed_dim,
        "embed_dim": embed_dim,
        "depth": depth,
        "num_heads": num_heads,
        "rope": encoder.rope,
        "rope_grid": encoder.rope_grid,
        "grid": encoder.trained_grid,
        "uniform_power": encoder.uniform_power,
        "short_time": encoder.short_time,
        "num_levels": max(1, len(encoder.levels)),
        "modality_embedding": encoder.modality_embedding,
    }
    fields.update(options)
    return MaskedPredictorConfig(**fields)


class MaskedPredictor(nn.Module):
    """Predict the features of target tokens from those of context tokens and the targets' positions.

    Attributes:
        recompute_activations: as of `VideoEncoder`.
    """

    predictor_embed: nn.Linear | nn.Sequential

    def __init__(self, config: MaskedPredictorConfig) -> None:
        """Draw the weights of a new predictor.

        Args:
            config: its size and form.
        """
        super().__init__()
        self.config = config
        self.recompute_activations = False
        width = config.embed_dim
        if config.num_levels == 1:
            self.predictor_embed = nn.Linear(config.encoder_dim, width)
        else:
            self.predictor_embed = nn.Sequential(
                nn.Linear(config.input_dim, config.encoder_dim), nn.GELU(), nn.Linear(config.encoder_dim, width)
            )
        self.mask_tokens = nn.ParameterList(
            nn.Parameter(torch.zeros(1, 1, width)) for _ in range(config.num_mask_tokens)
        )
        if config.modality_embedding:
            self.img_mod_embed = nn.Parameter(_MODALITY_STD * torch.randn(1, 1, width))
            self.video_mod_embed = nn.Parameter(_MODALITY_STD * torch.randn(1, 1, width))
        self.predictor_blocks = make_blocks(
            config.depth,
            width,
            config.num_heads,
            config.mlp_ratio,
            config.activation,
            config.norm_eps,
            config.drop_path,
        )
        self.predictor_norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.predictor_proj = nn.Linear(width, config.output_dim)
        if config.predict_context:
            self.predictor_proj_context = nn.Linear(width, config.output_dim)
        init_weights(self, self.predictor_blocks)

    def forward(
        self,
        context: Tensor,
        context_ids: Tensor,
        target_ids: Tensor,
        grid: Grid,
        mask_index: int = 0,
        *,
        image: bool = False,
    ) -> Tensor:
        """Predict the target tokens.

        Args:
            context: encoder features of the visible tokens, (B, Nc, L * D).
            context_ids: their token ids, (B, Nc).
            target_ids: ids of the tokens to predict, (B, Nt).
            grid: tokens of the clip in time, rows and columns.
            mask_index: which mask token to use, modulo their number.
            image: whether the tokens are a picture's (only with modality embeddings).

        Returns:
            (B, Nt, output_dim).

        Raises:
            ValueError: if ids, features and grid disagree, or there are more targets than the predictor's capacity.
        """
        hidden = self._run(context, context_ids, target_ids, grid, mask_index, image, last=target_ids.shape[1])
        return self.predictor_proj(hidden)

    def predict_all(
        self,
        context: Tensor,
        context_ids: Tensor,
        target_ids: Tensor,
        grid: Grid,
        mask_index: int = 0,
        *,
        image: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Predict hidden and visible tokens, the latter through an output layer of their own (V-JEPA 2.1).

        Arguments and errors as in `forward`.

        Returns:
            Features of the target tokens, (B, Nt, output_dim), and of the context tokens, (B, Nc, output_dim).

        Raises:
            ValueError: if the predictor has no context output, or as `forward`.
        """
        if not self.config.predict_context:
            raise ValueError("this predictor has no context output; build it with predict_context=True")
        tokens = self._run(context, context_ids, target_ids, grid, mask_index, image, last=None)
        seen, hidden = tokens.split((context_ids.shape[1], target_ids.shape[1]), dim=1)
        return self.predictor_proj(hidden), self.predictor_proj_context(seen)

    def _run(
        self,
        context: Tensor,
        context_ids: Tensor,
        target_ids: Tensor,
        grid: Grid,
        mask_index: int,
        image: bool,
        last: int | None,
    ) -> Tensor:
        """Return the normed tokens, those of the context first; only so many at the end if `last` says so."""
        config = self.config
        if context.shape[:2] != context_ids.shape or target_ids.shape[0] != context.shape[0]:
            raise ValueError(
                f"context {tuple(context.shape)} needs context_ids {tuple(context.shape[:2])} and as many rows of "
                f"target_ids, got {tuple(context_ids.shape)} and {tuple(target_ids.shape)}"
            )
        if context.shape[-1] != config.input_dim:
            raise ValueError(
                f"context must be {config.input_dim} wide ({config.num_levels} levels of encoder_dim "
                f"{config.encoder_dim}), got {context.shape[-1]}"
            )
        if not target_ids.shape[1]:
            raise ValueError(f"target_ids must name at least one token of each clip, got {tuple(target_ids.shape)}")
        if config.capacity is not None and target_ids.shape[1] > config.capacity:
            raise ValueError(f"target_ids must be at most capacity {config.capacity} a clip, got {target_ids.shape[1]}")
        for name, some in (("context_ids", context_ids), ("target_ids", target_ids)):
            check_token_ids(name, some, grid)
        x = self.predictor_embed(context)
        mask_token = self.mask_tokens[mask_index % config.num_mask_tokens].to(x.dtype)
        x = torch.cat((x, mask_token.expand(*target_ids.shape, -1)), dim=1)
        # Attention knows no order but the positions, so the tokens stay unsorted.
        ids = torch.cat((context_ids, target_ids), dim=1)
        if config.modality_embedding:
            x = x + (self.img_mod_embed if image else self.video_mod_embed)
        rotary = None
        if config.rope is None:
            assert config.grid is not None  # the config refuses it
            table = fixed_positions_for(
                config.embed_dim,
                config.grid,
                grid,
                config.uniform_power,
                short_time=config.short_time,
                device=x.device,
            )
            x = x + table.to(x.dtype)[ids]
        else:
            positions = grid_positions(ids, grid[1:], config.rope_grid)
            rotary = rotary_tables(positions, config.embed_dim // config.num_heads, config.rope, x.dtype)
        *blocks, final = self.predictor_blocks
        for block in blocks:
            x = run_block(block, x, rotary, None, self.recompute_activations)
        x = run_block(final, x, rotary, None, self.recompute_activations, last)
        return self.predictor_norm(x)
