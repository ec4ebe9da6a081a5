"""The MLPs of transformer blocks: two layers around a GELU, or SwiGLU, and how wide they are.

Letters: D width.

Source: V-JEPA 2 (arXiv 2506.09985), section 2.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["gelu", "swiglu"]


def hidden_width(embed_dim: int, mlp_ratio: float, activation: Activation) -> int:
    """Return the hidden width of an MLP; a SwiGLU, having three matrices, gets two thirds of it, up to a multiple of 8.

    Fractions are cut off, as the published sizes have it; the little bit added holds 48 / 11 of 1408 at 6144.
    """
    hidden = int(embed_dim * mlp_ratio + 1e-6)
    return hidden if activation == "gelu" else 8 * math.ceil(2 * hidden // 3 / 8)


class Mlp(nn.Module):
    """Two linear layers around an exact GELU."""

    def __init__(self, embed_dim: int, hidden_dim: int) -> None:
        """Draw the weights of a new MLP.

        Args:
            embed_dim: width D.
            hidden_dim: width between the layers.
        """
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, embed_dim)

    @property
    def output(self) -> nn.Linear:
        """The layer that writes into the residual stream."""
        return self.fc2

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        hidden = self.fc1(x)
        # In place where no gradient needs the input: the hidden layer is by far the largest tensor of a pass.
        hidden = F.gelu(hidden) if torch.is_grad_enabled() else torch.ops.aten.gelu_(hidden)
        return self.fc2(hidden)


class SwiGLU(nn.Module):
    """A gated MLP: `fc3(silu(fc1(x)) * fc2(x))`. Source: arXiv 2002.05202."""

    def __init__(self, embed_dim: int, hidden_dim: int) -> None:
        """Draw the weights of a new MLP.

        Args:
            embed_dim: width D.
            hidden_dim: width between the layers.
        """
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden_dim)
        self.fc2 = nn.Linear(embed_dim, hidden_dim)
        self.fc3 = nn.Linear(hidden_dim, embed_dim)

    @property
    def output(self) -> nn.Linear:
        """The layer that writes into the residual stream."""
        return self.fc3

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        return self.fc3(F.silu(self.fc1(x)) * self.fc2(x))
