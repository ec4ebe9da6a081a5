"""The V-JEPA 2 video encoder: a vision transformer over tubelets with rotary positions.

Letters: B batch, C channels, T frames, H and W pixels, N tokens, D width, K kept tokens.

Source: V-JEPA 2 (arXiv 2506.09985), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vjepa_wm.models.layers import NORM_EPS, Block, check_width, init_weights
from vjepa_wm.models.rope import RopeForm, check_rope_form, grid_positions, rotary_tables
from vjepa_wm.models.tubelets import TubeletEmbedding


@dataclass(frozen=True, kw_only=True)
class VideoEncoderConfig:
    """Size and form of a `VideoEncoder`."""

    image_size: int = 256
    """Side of the square pictures it was trained on [px]; other sizes work, positions simply count on."""
    patch_size: int = 16
    """Side of a patch [px]."""
    tubelet_size: int = 2
    """Frames in a tubelet."""
    in_channels: int = 3
    """Colour channels."""
    embed_dim: int = 192
    """Width of the tokens."""
    depth: int = 12
    """Number of blocks."""
    num_heads: int = 3
    """Attention heads."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLP over `embed_dim`."""
    rope: RopeForm = "true"
    """Rotary form: `tiled` for V-JEPA 2 weights, `true` for new training."""

    def __post_init__(self) -> None:
        check_width(self.embed_dim, self.num_heads)
        check_rope_form(self.rope)
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size must be a multiple of patch_size {self.patch_size}, got {self.image_size}")
        if self.depth < 1:
            raise ValueError(f"depth must be at least 1, got {self.depth}")

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Rows and columns of patches in a picture of the training size."""
        side = self.image_size // self.patch_size
        return side, side


def vit_micro(image_size: int = 96) -> VideoEncoderConfig:
    """Return a 6-block, 192-wide encoder that trains on a CPU (not one of the published sizes)."""
    return VideoEncoderConfig(image_size=image_size, embed_dim=192, depth=6, num_heads=3)


def vit_tiny(image_size: int = 256) -> VideoEncoderConfig:
    """Return ViT-T/16: 192 wide, 12 blocks."""
    return VideoEncoderConfig(image_size=image_size, embed_dim=192, depth=12, num_heads=3)


def vit_large(image_size: int = 256) -> VideoEncoderConfig:
    """Return ViT-L/16 as released with V-JEPA 2: 1024 wide, 24 blocks, tiled rotary positions."""
    return VideoEncoderConfig(image_size=image_size, embed_dim=1024, depth=24, num_heads=16, rope="tiled")


class VideoEncoder(nn.Module):
    """Map a clip to one feature vector per tubelet; tubelets that are not asked for never enter it."""

    def __init__(self, config: VideoEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = TubeletEmbedding(
            config.patch_size, config.tubelet_size, config.in_channels, config.embed_dim
        )
        self.blocks = nn.ModuleList(
            Block(config.embed_dim, config.num_heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.embed_dim, eps=NORM_EPS)
        init_weights(self, self.blocks)

    def forward(self, clip: Tensor, ids: Tensor | None = None) -> Tensor:
        """Encode a clip.

        Args:
            clip: normalised pixels, ``(B, C, T, H, W)``.
            ids: tokens to keep, ``(B, K)``, numbered time-major, then row, then column; None keeps all.

        Returns:
            Features after the final norm, ``(B, N or K, D)``.

        Raises:
            ValueError: the clip does not divide into tubelets.
        """
        grid = self.patch_embed.grid(clip)
        x = self.patch_embed(clip, ids)
        if ids is None:
            ids = torch.arange(grid[0] * grid[1] * grid[2], device=clip.device)
        positions = grid_positions(ids, grid[1:])
        rotary = rotary_tables(positions, self.config.embed_dim // self.config.num_heads, self.config.rope, x.dtype)
        for block in self.blocks:
            x, _ = block(x, rotary)
        return self.norm(x)
