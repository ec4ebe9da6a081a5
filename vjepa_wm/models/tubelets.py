"""Cut a clip into tubelets and embed them.

Kept tubelets are gathered from the pixels before the projection, so a hidden tubelet never enters the network and
costs nothing.

Letters: B batch, C channels, T frames, H and W pixels, N tokens, D width, K kept tokens.

Source: V-JEPA 2 (arXiv 2506.09985), section 2; the single-frame form is V-JEPA 2.1's (arXiv 2603.14482).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


def gather_tokens(x: Tensor, ids: Tensor) -> Tensor:
    """Pick tokens `ids` (B, K) of `x` (B, N, D); the result is (B, K, D)."""
    return x.gather(1, ids.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


def check_token_ids(name: str, ids: Tensor, grid: tuple[int, int, int]) -> None:
    """Raise ValueError, naming the ids, if some lie outside a grid of tokens; a compiler leaves this out."""
    if torch.compiler.is_compiling() or ids.is_meta or not ids.numel():
        return
    lowest, highest = (int(value) for value in ids.aminmax())
    if lowest < 0 or highest >= math.prod(grid):
        outside = lowest if lowest < 0 else highest
        raise ValueError(f"{name} must be 0 to {math.prod(grid) - 1} on the grid {grid}, got {outside}")


class TubeletEmbedding(nn.Module):
    """Linear embedding of tubelet_size x patch height x patch width boxes, stored as the 3-D convolution it equals."""

    def __init__(self, patch_size: int | tuple[int, int], tubelet_size: int, in_channels: int, embed_dim: int) -> None:
        """Draw the weights of a new embedding.

        Args:
            patch_size: side of a patch, or height and width [px].
            tubelet_size: frames in a tubelet.
            in_channels: colour channels C.
            embed_dim: width D.
        """
        super().__init__()
        self.patch_shape = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
        self.tubelet_size = tubelet_size
        kernel = (tubelet_size, *self.patch_shape)
        self.proj = nn.Conv3d(in_channels, embed_dim, kernel_size=kernel, stride=kernel)

    def grid(self, clip: Tensor) -> tuple[int, int, int]:
        """Return the token grid (time, rows, columns) of a clip (B, C, T, H, W).

        Raises:
            ValueError: if the clip's shape does not divide into tubelets.
        """
        if clip.dim() != 5 or clip.shape[1] != self.proj.in_channels:
            raise ValueError(f"clip must be (B, {self.proj.in_channels}, T, H, W), got shape {tuple(clip.shape)}")
        frames, height, width = clip.shape[2:]
        if frames < self.tubelet_size or frames % self.tubelet_size:
            raise ValueError(f"the clip's frames must be a multiple of tubelet_size {self.tubelet_size}, got {frames}")
        rows, columns = self.patch_shape
        if height % rows or width % columns:
            size = rows if rows == columns else f"{rows}x{columns}"
            raise ValueError(
                f"the clip's height and width must be multiples of patch_size {size}, got {height}x{width}"
            )
        return frames // self.tubelet_size, height // rows, width // columns

    def forward(self, clip: Tensor, ids: Tensor | None = None) -> Tensor:
        """Embed `clip` (B, C, T, H, W); only tokens `ids` (B, K) if given. Returns (B, N or K, D)."""
        tubelets = rearrange(
            clip,
            "b c (t tubelet) (h rows) (w columns) -> b (t h w) (c tubelet rows columns)",
            tubelet=self.tubelet_size,
            rows=self.patch_shape[0],
            columns=self.patch_shape[1],
        )
        if ids is not None:
            tubelets = gather_tokens(tubelets, ids)
        return F.linear(tubelets, self.proj.weight.flatten(1), self.proj.bias)
