"""The world model of the point task, which knows all but the walls of its cube."""

from __future__ import annotations

import torch
from point_world import SIDE, STEP
from torch import Tensor, nn

from vjepa_wm.models.action_mixture import ActionMixture


class PointProposal(nn.Module):
    """Reads the place of the point off its latent, and goes straight to the goal or stays."""

    near_energy = 0.0

    def __init__(self, arrival_radius: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("arrival_radius", torch.tensor(arrival_radius))
        self.register_buffer("state_unit", torch.full((7,), 0.1))

    def read_state(self, z: Tensor) -> Tensor:
        return nn.functional.pad(z[:, 0], (0, 4))

    def state_distance(self, state: Tensor, z_goal: Tensor) -> Tensor:
        return ((state - self.read_state(z_goal)) / self.state_unit).abs().amax(dim=-1)

    def steps_left(self, z: Tensor, z_goal: Tensor) -> Tensor:
        return (z - z_goal).abs().amax(dim=(1, 2)) / STEP[0]

    def forward(self, z: Tensor, state: Tensor, z_goal: Tensor) -> ActionMixture:
        way = (self.read_state(z_goal) - self.read_state(z)).clamp(-STEP[0], STEP[0])
        means = torch.stack((way, torch.zeros_like(way)), dim=1)
        weights = torch.tensor([0.9, 0.1]).log().expand(len(z), 2)
        return ActionMixture(log_weights=weights, mean=means, std=torch.full_like(means, 1e-4))


class PointModel(nn.Module):
    """The true dynamics of the point; one token whose three channels are the position."""

    def __init__(self, proposal: PointProposal | None = None) -> None:
        super().__init__()
        self.proposal = proposal
        self.scale = nn.Parameter(torch.tensor(SIDE / 255))
        self.encoded_batches: list[int] = []
        self.contexts: list[tuple[int, ...]] = []

    def encode(self, frames: Tensor) -> Tensor:
        self.encoded_batches.append(len(frames))
        return (frames.float().mean(dim=(2, 3)) * self.scale).unsqueeze(2)

    def rollout(self, z: Tensor, states: Tensor, actions: Tensor, *, last_only: bool = False) -> Tensor:
        self.contexts.append((z.shape[1], states.shape[1]))
        imagined = z[:, -1:] + actions[..., :3].cumsum(dim=1).unsqueeze(2)
        return imagined[:, -1:] if last_only else imagined
