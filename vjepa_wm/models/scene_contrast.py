"""How codes of frames come to show the scene without the robot: a contrast of moments, without labels.

Why this file exists: what an action does to an object, and how far it must still turn, shows in few patches, of which a
network trained by actions alone takes notice late. Frames of one moment differ from all others by where the robot is
and by where the objects are. Whatever the robot's states tell of that is told by a term of their own, so that codes are
left with the objects.

Letters: B pairs, C width of a code, P state.

Source: contrastive predictive coding (arXiv 1807.03748) for the loss; a robot's own state as an explanation to be
taken away, and a heavy-tailed distance, are this package's.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURES = 32
"""Numbers by which states of one moment are told."""


class SceneContrast(nn.Module):
    """Tells which of B frames and of B others are of one moment."""

    def __init__(self, state_dim: int) -> None:
        """Draw the weights.

        Args:
            state_dim: P.
        """
        super().__init__()
        self.first, self.second = (
            nn.Sequential(nn.Linear(state_dim, 128), nn.GELU(), nn.Linear(128, FEATURES)) for _ in range(2)
        )
        self.log_sharpness = nn.Parameter(torch.zeros(()))

    def logits(self, codes: Tensor, states: Tensor) -> Tensor:
        """Return how likely each of B frames and each of B others are of one moment, (B, B).

        Args:
            codes: (2, B, C).
            states: in units of their deviation, (2, B, P).
        """
        likeness = -2 * self.log_sharpness.exp() * torch.cdist(codes[0], codes[1]).square().log1p()
        return likeness + self.first(states[0]) @ self.second(states[1]).T / 4

    def loss(self, codes: Tensor, states: Tensor, frames: np.ndarray, max_gap: int) -> Tensor:
        """Return the contrastive loss of pairs of one moment, both ways.

        Args:
            codes: (2, B, C).
            states: in units of their deviation, (2, B, P).
            frames: numbers of the frames, (2, B); those of one moment lie close together, others apart.
            max_gap: frames so close to each other are no example of different moments.
        """
        logits = self.logits(codes, states)
        near = np.abs(frames[0][:, None] - frames[1]) <= max_gap  # as much of one moment as the pairs themselves
        np.fill_diagonal(near, False)
        logits = logits.masked_fill(torch.from_numpy(near).to(logits.device), -torch.inf)
        own = torch.arange(len(logits), device=logits.device)
        return F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)
