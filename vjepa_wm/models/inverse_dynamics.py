"""Inverse dynamics: from the latents of two successive frames to the action between them.

Why this file exists: what an action moves is a small part of a picture, and so a small part of a loss on latents. A
network that reads the action off two latents knows where in them that part is. Training uses it; no world model needs
it afterwards.

Letters: N tokens per frame, D width, R width of a token as read, A action.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vjepa_wm.checks import check_at_least


@dataclass(frozen=True, kw_only=True)
class InverseDynamicsConfig:
    """Size of an `InverseDynamics`."""

    encoder_dim: int
    """Width of the encoder's tokens."""
    num_tokens: int
    """Tokens of a frame."""
    action_scale: tuple[float, ...]
    """Unit of each number of the action."""
    action_mean: tuple[float, ...] = ()
    """Subtracted from actions; empty: nothing."""
    reader_dim: int = 32
    """Width to which each token is reduced."""
    hidden_dim: int = 256
    """Width of the hidden layer."""

    def __post_init__(self) -> None:
        """Check the sizes."""
        check_at_least(1, num_tokens=self.num_tokens, reader_dim=self.reader_dim, hidden_dim=self.hidden_dim)
        if not self.action_scale:
            raise ValueError("action_scale must hold a unit for each number of the action, got none")
        if self.action_mean and len(self.action_mean) != len(self.action_scale):
            raise ValueError(f"action_mean must be empty or as long as action_scale, got {len(self.action_mean)}")


class InverseDynamics(nn.Module):
    """A network that reads actions off pairs of latents."""

    def __init__(self, config: InverseDynamicsConfig) -> None:
        """Draw the weights of a new one.

        Args:
            config: its size.
        """
        super().__init__()
        self.config = config
        self.reader = nn.Sequential(nn.Linear(config.encoder_dim, config.reader_dim), nn.GELU())
        self.trunk = nn.Sequential(
            nn.Linear(2 * config.num_tokens * config.reader_dim, config.hidden_dim),
            nn.LayerNorm(config.hidden_dim),
            nn.GELU(),
            nn.Linear(config.hidden_dim, len(config.action_scale)),
        )

    def forward(self, z: Tensor, z_next: Tensor) -> Tensor:
        """Read the actions that lead from `z` to `z_next`, both (..., N, D).

        Returns:
            Their differences from `action_mean` in units of `action_scale`, (..., A).
        """
        here, there = (self.reader(part).flatten(-2) for part in (z, z_next))
        return self.trunk(torch.cat((here, there - here), dim=-1)).float()

    def loss(self, z: Tensor, z_next: Tensor, actions: Tensor) -> Tensor:
        """Return the mean squared error of the actions (..., A) as read, in units of `action_scale`."""
        config = self.config
        centred = actions - actions.new_tensor(config.action_mean) if config.action_mean else actions
        return F.mse_loss(self(z, z_next), centred / actions.new_tensor(config.action_scale))
