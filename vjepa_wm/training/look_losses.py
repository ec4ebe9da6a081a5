"""What an encoder that learns new looks is told: which patches matter, and what a proposal makes of its mistakes.

Letters: B windows, T frames of one, N tokens per frame, D width, P state.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vjepa_wm.models.action_mixture import ActionMixture
from vjepa_wm.models.proposal import Proposal


def patch_changes(z: Tensor) -> Tensor:
    """Return how much each patch of latents (B, T, N, D) differs from its mean over T, (B, T, N)."""
    return (z - z.mean(dim=1, keepdim=True)).abs().mean(dim=-1)


def proposal_gap(proposal: Proposal, seen: Tensor, z: Tensor, states: Tensor) -> Tensor:
    """Return how far what a proposal says diverges when it sees other latents; 0, without gradient, for the same ones.

    Args:
        proposal: what proposes, on the way from each frame but the last to the last.
        seen: latents of episodes' frames, (B, T, N, D); they get the gradient.
        z: what they are to be, (B, T, N, D).
        states: of the robot, (B, T, P).

    Returns:
        The Kullback-Leibler divergence of modes and of the Gaussians of each, which is at least that of the mixtures;
        mean over frames.
    """

    def propose(latents: Tensor) -> ActionMixture:
        goal = latents[:, -1:].expand_as(latents[:, :-1])
        return proposal(latents[:, :-1].flatten(0, 1), states[:, :-1].flatten(0, 1), goal.flatten(0, 1))

    with torch.no_grad():
        wanted = propose(z)
    found = propose(seen)
    off, ratio = (wanted.mean - found.mean) / found.std, wanted.std / found.std
    of_modes = 0.5 * (ratio.square() + off.square() - 1).sum(dim=-1) - ratio.log().sum(dim=-1)
    return (wanted.log_weights.exp() * (wanted.log_weights - found.log_weights + of_modes)).sum(dim=1).mean()
