"""Where something but the robot moves, found in latents and the robot's own states, without labels.

Why this file exists: in most frames of a data set only the robot moves, and what an action does to an object is learned
from the others. A change of the picture does not tell them: the robot fills most of it, and an object that is pushed
moves slowly. So a code of each frame is trained to show the scene without the robot (`models/scene_contrast.py`), and
where the code moves, an object does.

Letters: F frames, B pairs, N tokens per frame, D width, P state.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vjepa_wm.checks import check_at_least
from vjepa_wm.data.latents.hindsight import PER_EPISODE, close_rows
from vjepa_wm.data.latents.latent_set import LatentSet, number_units
from vjepa_wm.data.randomness import generator_for
from vjepa_wm.models.frame_readout import FrameReadout
from vjepa_wm.models.scene_contrast import SceneContrast

logger = logging.getLogger(__name__)
FRAMES_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class ObjectMotionConfig:
    """How object motion is found."""

    steps: int = 400
    """Optimizer steps."""
    batch_size: int = 256
    """Pairs of frames in a step."""
    max_gap: int = 4
    """Most steps between the two frames of a pair."""
    code_dim: int = 16
    """Numbers in a frame's code."""
    learning_rate: float = 2e-3
    """Highest rate; it falls to 0."""
    moving_share: float = 0.25
    """Share of the steps between frames that is called moving: those in which the code moves farthest."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least(1, steps=self.steps, max_gap=self.max_gap, code_dim=self.code_dim)
        check_at_least(PER_EPISODE, batch_size=self.batch_size)
        if not 0 < self.moving_share < 1:
            raise ValueError(f"moving_share must be between 0 and 1, got {self.moving_share}")


class _SceneCode(nn.Module):
    """Code of what a frame shows beside the robot, and how it is learned."""

    mean: Tensor
    scale: Tensor

    def __init__(self, latents: LatentSet, code_dim: int) -> None:
        super().__init__()
        units = number_units([latents], "states")
        self.register_buffer("mean", torch.tensor(units["mean"]))
        self.register_buffer("scale", torch.tensor(units["scale"]))
        num_tokens, encoder_dim = latents.z.shape[1:]
        self.read = FrameReadout(num_tokens, encoder_dim, code_dim)
        self.contrast = SceneContrast(len(units["mean"]))

    def loss(self, z: Tensor, states: Tensor, rows: np.ndarray, max_gap: int) -> Tensor:
        """Return the loss of pairs of frames; z is (2, B, N, D), states (2, B, P), rows (2, B)."""
        codes = self.read(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        return self.contrast.loss(codes, (states - self.mean) / self.scale, rows, max_gap)


def moving_frames(
    latents: LatentSet,
    config: ObjectMotionConfig | None = None,
    *,
    seed: int = 0,
    device: torch.device | None = None,
) -> np.ndarray:
    """Tell after which frames something but the robot moves, as `WindowMixture` takes it.

    Args:
        latents: episodes of one scene; only they are read.
        config: how; None: as its defaults say.
        seed: the same seed gives the same answer.
        device: where the code is trained; None: the CPU.

    Returns:
        (F,) bool for all rows of the arrays, False outside these episodes.

    Raises:
        ValueError: if no episode has two frames.
    """
    config = config or ObjectMotionConfig()
    amounts = object_motion(latents, config, seed=seed, device=device)
    rows = latents.window_starts(2)
    moving = np.zeros(len(latents.z), bool)
    moving[rows] = amounts[rows] > np.quantile(amounts[rows], 1 - config.moving_share)
    logger.info("object motion: called moving are %d of %d steps", moving.sum(), len(rows))
    return moving


def object_motion(
    latents: LatentSet, config: ObjectMotionConfig, *, seed: int = 0, device: torch.device | None = None
) -> np.ndarray:
    """Say how far the code of the scene moves from each frame to the next, over two frames before and two after.

    Args:
        latents: episodes of one scene; only they are read.
        config: how the code is trained.
        seed: the same seed gives the same answer.
        device: where it is trained; None: the CPU.

    Returns:
        (F,) float32 for all rows of the arrays; 0 where no frame follows and outside these episodes.

    Raises:
        ValueError: if no episode has two frames.
    """
    device = device or torch.device("cpu")
    rows = latents.window_starts(2)
    if not len(rows):
        raise ValueError("object motion needs an episode of at least two frames, there is none")
    codes = _codes(_train(latents, config, seed, device), latents, device)
    ends = latents.episode_ends(rows)
    before = codes[rows] + codes[np.where(np.isin(rows, latents.firsts), rows, rows - 1)]
    after = codes[rows + 1] + codes[np.minimum(rows + 2, ends)]
    amounts = np.zeros(len(latents.z), np.float32)
    amounts[rows] = np.linalg.norm(after - before, axis=1) / 2
    return amounts


def _train(latents: LatentSet, config: ObjectMotionConfig, seed: int, device: torch.device) -> _SceneCode:
    """Train the code of the scene."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        code = _SceneCode(latents, config.code_dim).to(device)
    optimizer = torch.optim.AdamW(code.parameters(), lr=config.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 50) * (1 - step / config.steps)
    )
    longer = latents.part(np.flatnonzero(latents.lengths > 1))
    for step in range(config.steps):
        pairs = close_rows(longer, config.batch_size, max_gap=config.max_gap, generator=generator_for(seed, step))
        loss = code.loss(latents.read_z(pairs, device), latents.read_states(pairs, device), pairs, config.max_gap)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return code


@torch.no_grad()
def _codes(code: _SceneCode, latents: LatentSet, device: torch.device) -> np.ndarray:
    """Return the codes of the episodes' frames, at their rows, (F, code_dim)."""
    rows, parts = latents.frames(), []
    for start in range(0, len(rows), FRAMES_AT_ONCE):
        parts.append(code.read(latents.read_z(rows[start : start + FRAMES_AT_ONCE], device)).cpu().numpy())
    codes = np.zeros((len(latents.z), parts[0].shape[1]), np.float32)
    codes[rows] = np.concatenate(parts)
    return codes
