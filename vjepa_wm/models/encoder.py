"""The V-JEPA 2 video encoder: a vision transformer over tubelets.

One class is all of the family: V-JEPA 2 (rotary positions), V-JEPA 2.1 (levels, image tokenizer, modality embeddings)
and V-JEPA 1 (fixed positions), as `VideoEncoderConfig` says.

Letters: B batch, C channels, T frames, H and W pixels, N tokens, D width, K kept tokens, L levels.

Source: V-JEPA 2 (arXiv 2506.09985), section 2; V-JEPA 2.1 (arXiv 2603.14482), section 2.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.factorized import Scope, group_mask, run_grouped, token_groups
from vjepa_wm.models.layers import AttentionMask, init_weights, make_blocks, run_block
from vjepa_wm.models.rope import RotaryTables, grid_positions, rotary_tables
from vjepa_wm.models.sincos import Grid, fixed_positions_for
from vjepa_wm.models.tubelets import TubeletEmbedding

_MODALITY_STD = 1e-6


class VideoEncoder(nn.Module):
    """Map a clip or picture to one feature vector per tubelet; tubelets that are not asked for never enter it.

    Attributes:
        recompute_activations: whether training keeps only the blocks' inputs and computes the rest again in the
            backward pass: about a third more time for a fraction of the memory.
    """

    def __init__(self, config: VideoEncoderConfig) -> None:
        """Draw the weights of a new encoder.

        Args:
            config: its size and form.
        """
        super().__init__()
        self.config = config
        self.recompute_activations = False
        width = config.embed_dim
        self.patch_embed = TubeletEmbedding(config.patch_shape, config.tubelet_size, config.in_channels, width)
        if config.image_tokenizer:
            self.patch_embed_img = TubeletEmbedding(config.patch_shape, 1, config.in_channels, width)
        if config.modality_embedding:
            self.img_mod_embed = nn.Parameter(_MODALITY_STD * torch.randn(1, 1, width))
            self.video_mod_embed = nn.Parameter(_MODALITY_STD * torch.randn(1, 1, width))
        if config.class_token:
            self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.blocks = make_blocks(
            config.depth,
            width,
            config.num_heads,
            config.mlp_ratio,
            config.activation,
            config.norm_eps,
            config.drop_path,
        )
        if config.levels:
            self.norms_block = nn.ModuleList(nn.LayerNorm(width, eps=config.norm_eps) for _ in config.levels)
        else:
            self.norm = nn.LayerNorm(width, eps=config.norm_eps)
        init_weights(self, self.blocks)

    def forward(self, clip: Tensor, ids: Tensor | None = None) -> Tensor:
        """Encode clips or pictures.

        Args:
            clip: normalised pixels, (B, C, T, H, W), or pictures (B, C, H, W). A single frame goes through the
                image tokenizer if there is one and is repeated to fill a tubelet if not.
            ids: tokens to keep, (B, K), numbered time-major, then row, then column; None keeps all.

        Returns:
            Features after the final norm, (B, N or K, D); with a class token it comes first, (B, 1 + N, D).

        Raises:
            ValueError: if the clip does not divide into tubelets, or `ids` has not a row for each.
        """
        last = self.config.depth - 1
        return self._norm(last)(self._run(clip, ids, (last,))[last])

    def intermediate_layers(self, clip: Tensor, ids: Tensor | None = None, *, layers: Sequence[int]) -> list[Tensor]:
        """Return the normed outputs of chosen blocks.

        Args:
            clip: as for `forward`.
            ids: as for `forward`.
            layers: block numbers from 0; negative ones count from the end. The norm is the final one for each, as
                V-JEPA 2 does, or the level's own.

        Returns:
            One (B, N or K, D) for each of `layers`, in their order.

        Raises:
            ValueError: if there is no such block, or it has no norm.
        """
        depth = self.config.depth
        wanted = [layer + depth if layer < 0 else layer for layer in layers]
        norms = [self._norm(layer) for layer in wanted]
        outputs = self._run(clip, ids, wanted)
        return [norm(outputs[layer]) for layer, norm in zip(wanted, norms, strict=True)]

    def level_features(self, clip: Tensor, ids: Tensor | None = None, *, num_levels: int | None = None) -> Tensor:
        """Return the last `num_levels` levels end to end, as V-JEPA 2.1 predicts them; None: all.

        Returns:
            (B, N or K, L * D).

        Raises:
            ValueError: if the encoder has fewer levels.
        """
        levels = self.config.levels or (self.config.depth - 1,)
        count = len(levels) if num_levels is None else num_levels
        if not 1 <= count <= len(levels):
            raise ValueError(f"num_levels must be from 1 to {len(levels)}, the encoder's levels, got {count}")
        return torch.cat(self.intermediate_layers(clip, ids, layers=levels[-count:]), dim=-1)

    def patch_features(self, clip: Tensor, ids: Tensor | None = None, *, num_levels: int | None = 1) -> Tensor:
        """Return what `level_features` does without a class token, (B, N or K, L * D)."""
        tokens = self.level_features(clip, ids, num_levels=num_levels)
        return tokens[:, 1:] if self.config.class_token else tokens

    def grid(self, clip: Tensor) -> Grid:
        """Return the tokens of clips or pictures in time, rows and columns.

        Raises:
            ValueError: if the clip does not divide into tubelets.
        """
        embedding, clip = self._tokenizer(clip)
        return embedding.grid(clip)

    def _norm(self, layer: int) -> nn.Module:
        """Return the norm that follows a block."""
        config = self.config
        if not 0 <= layer < config.depth:
            raise ValueError(f"layers must be from {-config.depth} to {config.depth - 1}, got {layer}")
        if not config.levels:
            return self.norm
        if layer not in config.levels:
            raise ValueError(f"this encoder has norms for layers {config.levels} only, got {layer}")
        return self.norms_block[config.levels.index(layer)]

    def _run(self, clip: Tensor, ids: Tensor | None, layers: Collection[int]) -> dict[int, Tensor]:
        """Return the outputs of chosen blocks by their number."""
        x, grid = self._embed(clip, ids)
        kept = torch.arange(grid[0] * grid[1] * grid[2], device=x.device) if ids is None else ids
        rotary = self._tables(kept, grid, x)
        masks = self._group_masks(kept, grid, len(x)) if ids is not None or self.config.class_token else {}
        outputs = {}
        for index, block in enumerate(self.blocks):
            over = self._scope(index)
            if over is None or masks:
                x = run_block(block, x, rotary, over and masks[over], self.recompute_activations)
            else:
                x = run_grouped(block, x, rotary, grid, over, self.recompute_activations)
            if index in layers:
                outputs[index] = x
        return outputs

    def _scope(self, index: int) -> Scope | None:
        """Return what a block attends over; None: all tokens."""
        if not self.config.temporal_depth:
            return None
        return "space" if index < self.config.depth - self.config.temporal_depth else "time"

    def _group_masks(self, kept: Tensor, grid: Grid, batch: int) -> dict[Scope, AttentionMask]:
        """Return which of the kept tokens (N,) or (B, N) see each other in factorised attention."""
        scopes: tuple[Scope, ...] = ("space", "time") if self.config.temporal_depth else ()
        class_token = self.config.class_token
        if torch.compiler.is_compiling() or kept.is_meta:  # shapes of groups depend on the mask
            return {over: group_mask(kept, grid, over, class_token) for over in scopes}
        kept = kept.expand(batch, -1)
        return {over: token_groups(kept, grid, over, class_token) for over in scopes}

    def _tokenizer(self, clip: Tensor) -> tuple[TubeletEmbedding, Tensor]:
        """Return what embeds clips or pictures, and these as it takes them."""
        if clip.dim() == 4:
            clip = clip.unsqueeze(2)
        is_picture = clip.dim() == 5 and clip.shape[2] == 1
        embedding = self.patch_embed_img if is_picture and self.config.image_tokenizer else self.patch_embed
        if is_picture and embedding.tubelet_size > 1:
            clip = clip.expand(-1, -1, embedding.tubelet_size, -1, -1)
        return embedding, clip

    def _embed(self, clip: Tensor, ids: Tensor | None) -> tuple[Tensor, Grid]:
        """Make tokens (B, N or K (+ 1), D) with what is added to them, and tell their grid."""
        config = self.config
        embedding, clip = self._tokenizer(clip)
        grid = embedding.grid(clip)
        if ids is not None and (ids.dim() != 2 or len(ids) != len(clip)):
            raise ValueError(f"ids must be ({len(clip)}, K), a row for each clip, got {tuple(ids.shape)}")
        if ids is not None and not ids.shape[1]:
            raise ValueError(f"ids must keep at least one token of each clip, got {tuple(ids.shape)}")
        x = embedding(clip, ids)
        if config.modality_embedding:
            x = x + (self.img_mod_embed if embedding is not self.patch_embed else self.video_mod_embed)
        if config.rope is None:
            image = config.tubelet_size == 1
            table = fixed_positions_for(
                config.embed_dim,
                config.trained_grid,
                grid,
                config.uniform_power,
                short_time=config.short_time,
                image=image,
                device=x.device,
            ).to(x.dtype)
            x = x + (table if ids is None else table[ids])
        if config.class_token:
            x = torch.cat((self.cls_token.to(x.dtype).expand(x.shape[0], -1, -1), x), dim=1)
        return x, grid

    def _tables(self, kept: Tensor, grid: Grid, x: Tensor) -> RotaryTables | None:
        config = self.config
        if config.rope is None:
            return None
        positions = grid_positions(kept, grid[1:], config.rope_grid)
        if config.class_token:  # at the origin, where nothing is turned
            positions = torch.nn.functional.pad(positions, (0, 0, 1, 0))
        return rotary_tables(positions, config.embed_dim // config.num_heads, config.rope, x.dtype)
