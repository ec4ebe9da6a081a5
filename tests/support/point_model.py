"""The world model of the point task, which knows all but the walls of its cube."""

from __future__ import annotations

import torch
from point_world import SIDE
from torch import Tensor, nn


class PointModel(nn.Module):
    """The true dynamics of the point; one token whose three channels are the position."""

    def __init__(self) -> None:
        super().__init__()
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
