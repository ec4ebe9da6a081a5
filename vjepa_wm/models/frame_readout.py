"""A small network that reads numbers off the latents of a frame.

Why this file exists: what a frame shows of a scene lies in few of its tokens and few of their channels; whoever reads
places off latents reduces each token first, then all of them together.

Letters: B frames, N tokens per frame, D width.
"""

from __future__ import annotations

from torch import Tensor, nn


class FrameReadout(nn.Module):
    """One linear map for every token, then a small MLP over all of them, beside a linear map."""

    def __init__(self, num_tokens: int, encoder_dim: int, out_dim: int, *, reader_dim: int = 16) -> None:
        """Draw the weights.

        Args:
            num_tokens: N.
            encoder_dim: D.
            out_dim: how many numbers are read.
            reader_dim: width to which each token is reduced.
        """
        super().__init__()
        self.reader = nn.Linear(encoder_dim, reader_dim)
        self.linear = nn.Linear(num_tokens * reader_dim, out_dim)
        self.mlp = nn.Sequential(
            nn.Linear(num_tokens * reader_dim, 256),
            nn.GELU(),
            nn.Linear(256, 128),
            nn.GELU(),
            nn.Linear(128, out_dim),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Read the numbers of frames (B, N, D), (B, out_dim)."""
        x = self.reader(z).flatten(1)
        return self.linear(x) + self.mlp(x)
