"""What makes a proposal's reader take notice of objects early: its tokens must tell the scene without the robot.

Letters: B pairs, N tokens per frame, D width, R width of the reader, P state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from vjepa_wm.data.latents.hindsight import PER_EPISODE, close_rows
from vjepa_wm.data.latents.latent_set import LatentSet
from vjepa_wm.models.proposal import Proposal, ProposalConfig
from vjepa_wm.models.scene_contrast import SceneContrast

MAX_GAP = 2
"""Most steps between two frames of one moment."""


class SceneLearner(nn.Module):
    """The contrast that trains a proposal's reader and its code of the scene; no part of what the proposal is."""

    def __init__(self, proposal: ProposalConfig) -> None:
        """Draw the weights.

        Args:
            proposal: form of what is to learn.
        """
        super().__init__()
        self.contrast = SceneContrast(proposal.state_dim)

    def loss(self, proposal: Proposal, z: Tensor, states: Tensor, frames: np.ndarray) -> Tensor:
        """Return the loss of pairs of frames of one moment, which changes the proposal's reader and its code.

        Args:
            proposal: what learns.
            z: latents, (2, B, N, D).
            states: of the robot, (2, B, P).
            frames: their numbers, (2, B); those of different episodes lie apart.
        """
        codes = proposal.scene_code(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        return self.contrast.loss(codes, (states - proposal.state_offset) / proposal.state_unit, frames, MAX_GAP)


def draw_moments(
    sets: Sequence[LatentSet], counts: dict[int, int], generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor, np.ndarray]:
    """Draw pairs of frames of one moment.

    Args:
        sets: where they are.
        counts: about how many of each set, by its number.
        generator: what to draw from.
        device: where they are to be.

    Returns:
        Latents (2, B, N, D), states (2, B, P) and numbers of the frames (2, B).
    """
    z, states, frames, base = [], [], [], 0
    for owner, count in counts.items():
        latents = sets[owner].part(np.flatnonzero(sets[owner].lengths > 1))
        rows = close_rows(latents, max(count, PER_EPISODE), max_gap=MAX_GAP, generator=generator)
        z.append(latents.read_z(rows, device))
        states.append(latents.read_states(rows, device))
        frames.append(base + rows)
        base += len(latents.z) + MAX_GAP
    return torch.cat(z, dim=1), torch.cat(states, dim=1), np.concatenate(frames, axis=1)
