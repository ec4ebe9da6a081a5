"""A mixture of Gaussians over the next action: what a proposal returns.

Why this file exists: where several ways lead to a goal, such as round either side of a block, their mean leads nowhere;
a mixture keeps them apart, and which mode is taken is a decision of whoever acts.

Letters: B batch, M modes, A action, K draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_LOG_TAU = math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class ActionMixture:
    """For each of a batch, M Gaussians with a diagonal covariance, in the units of the action."""

    log_weights: Tensor
    """Logarithms of the modes' weights, (B, M); their exponentials add up to 1."""
    mean: Tensor
    """(B, M, A)."""
    std: Tensor
    """Standard deviations, (B, M, A), positive."""

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return the logarithm of the density of actions (B, A), (B,)."""
        off = (actions.unsqueeze(1) - self.mean) / self.std
        of_modes = -0.5 * (off.square() + _LOG_TAU).sum(dim=-1) - self.std.log().sum(dim=-1)
        return torch.logsumexp(self.log_weights + of_modes, dim=1)

    def heaviest(self) -> Tensor:
        """Return the mean of the mode with the largest weight, (B, A)."""
        return self.take(self.log_weights.argmax(dim=1))

    def take(self, modes: Tensor) -> Tensor:
        """Return the means of named modes, one of each batch entry (B,), (B, A)."""
        return self.mean[torch.arange(len(modes), device=modes.device), modes]

    def draw_modes(self, generator: torch.Generator) -> Tensor:
        """Draw a mode for each of the batch by the weights, (B,); drawn where the generator lives."""
        weights = self.log_weights.exp().to(generator.device)
        return torch.multinomial(weights, 1, generator=generator)[:, 0].to(self.mean.device)

    def draw(self, generator: torch.Generator) -> Tensor:
        """Draw an action for each of the batch: a mode by the weights, then from its Gaussian, (B, A)."""
        modes = self.draw_modes(generator)
        mean = self.take(modes)
        std = self.std[torch.arange(len(modes), device=modes.device), modes]
        noise = torch.randn(mean.shape, generator=generator, device=generator.device).to(mean)
        return mean + std * noise
