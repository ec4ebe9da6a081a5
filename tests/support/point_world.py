"""A world small enough to know the best plan: a point in a cube, whose picture is its position and whose latent too."""

from __future__ import annotations

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

SIDE = 0.51  # [m]; one grey level is 2 mm


class PointEnv(gymnasium.Env):
    """A point that moves by dxyz within a cube; red, green and blue of its picture are x, y and z."""

    def __init__(self, success_radius: float = 0.05) -> None:
        self.success_radius = success_radius
        self.state = np.zeros(7)
        self.goal = np.zeros(7)
        self.num_renders = 0

    def sample_pose(self, rng: np.random.Generator) -> np.ndarray:
        return np.concatenate([rng.uniform(0, SIDE, 3), np.zeros(4)]).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.goal = np.array(options["start"], dtype=float), np.array(options["goal"], dtype=float)
        return self.observe()

    def step(self, action):
        self.advance(action)
        obs, info = self.observe()
        return obs, 0.0, False, False, info

    def advance(self, action) -> None:
        self.state[:3] = np.clip(self.state[:3] + np.asarray(action, dtype=float)[:3], 0, SIDE)

    def observe(self):
        distance = float(np.linalg.norm(self.state[:3] - self.goal[:3]))
        goal = {"image": picture(self.goal), "state": self.goal.astype(np.float32)}
        info = {"goal": goal, "is_success": distance <= self.success_radius, "distance": distance}
        return {"image": picture(self.state), "state": self.state.astype(np.float32)}, info

    def get_state(self) -> np.ndarray:
        return self.state.copy()

    def set_state(self, state: np.ndarray) -> None:
        self.state = state.copy()

    def render(self) -> np.ndarray:
        self.num_renders += 1
        return picture(self.state)


def picture(state: np.ndarray) -> np.ndarray:
    grey = np.round(state[:3] / SIDE * 255).astype(np.uint8)
    image = np.broadcast_to(grey, (32, 32, 3))  # read-only, as a renderer's buffer may be
    return image


class PointWorld(nn.Module):
    """The true dynamics of the point; one token whose three channels are the position."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(SIDE / 255))
        self.encoded_batches: list[int] = []
        self.contexts: list[tuple[int, ...]] = []

    def encode(self, frames: Tensor) -> Tensor:
        self.encoded_batches.append(len(frames))
        return (frames.float().mean(dim=(2, 3)) * self.scale).unsqueeze(2)

    def rollout(self, z: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        self.contexts.append((z.shape[1], states.shape[1]))
        return z[:, -1:] + actions[..., :3].cumsum(dim=1).unsqueeze(2)
