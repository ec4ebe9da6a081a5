"""Regression losses between predicted and target features, and a regulariser against collapse.

Letters: B batch, N tokens, D width.

Source: V-JEPA 2 (arXiv 2506.09985), sections 2 and 3; distance weights from V-JEPA 2.1 (arXiv 2603.14482), section 2;
variance and covariance from VICReg (arXiv 2105.04906), section 4.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vjepa_wm.models.rope import grid_positions

LossName = Literal["l1", "l2", "smooth_l1", "cosine"]


def token_loss(prediction: Tensor, target: Tensor, loss: LossName = "l1") -> Tensor:
    """Return how far each predicted token is from its target.

    Args:
        prediction: (..., D).
        target: (..., D).
        loss: mean over the channels of the absolute (`l1`, V-JEPA 2), half the squared (`l2`) or the Huber difference
            (`smooth_l1`, turning at 1); or 1 minus the cosine of the two vectors (`cosine`).

    Returns:
        (...) float32.

    Raises:
        ValueError: if there is no such loss.
    """
    prediction, target = prediction.float(), target.float()
    if loss == "l1":
        return (prediction - target).abs().mean(dim=-1)
    if loss == "l2":
        return (prediction - target).square().mean(dim=-1) / 2
    if loss == "smooth_l1":
        return F.smooth_l1_loss(prediction, target, reduction="none").mean(dim=-1)
    if loss == "cosine":
        return 1.0 - F.cosine_similarity(prediction, target, dim=-1)
    raise ValueError(f"loss must be l1, l2, smooth_l1 or cosine, got {loss!r}")


def prediction_loss(prediction: Tensor, target: Tensor, loss: LossName = "l1") -> Tensor:
    """Return the mean of `token_loss` over all tokens of two (B, N, D) tensors."""
    return token_loss(prediction, target, loss).mean()


def context_weights(context_ids: Tensor, target_ids: Tensor, grid: tuple[int, int]) -> Tensor:
    """Weigh each visible token by 1 / sqrt(distance to the nearest hidden one), in tokens of the grid.

    Args:
        context_ids: visible tokens, (B, Nc).
        target_ids: hidden tokens, (B, Nt).
        grid: rows and columns of patches in a frame.

    Returns:
        Weights in (0, 1], (B, Nc).
    """
    distance = torch.cdist(grid_positions(context_ids, grid), grid_positions(target_ids, grid))
    return distance.amin(dim=-1).clamp_min(1.0).rsqrt()


def context_loss(prediction: Tensor, target: Tensor, weights: Tensor, loss: LossName = "l1") -> Tensor:
    """Return the mean of `token_loss` over (B, N, D) tensors, tokens weighted by (B, N)."""
    return (token_loss(prediction, target, loss) * weights).mean()


def variance_loss(features: Tensor) -> Tensor:
    """Return how far the channels of (..., D) fall short of a standard deviation of 1 over all tokens, on average.

    0 is spread, 1 is collapse.
    """
    x = features.float().flatten(0, -2)
    return F.relu(1.0 - (x.var(dim=0) + 1e-4).sqrt()).mean()


def covariance_loss(features: Tensor) -> Tensor:
    """Return the squared covariances of different channels of (..., D), summed, over D; 0 is no overlap."""
    x = features.float().flatten(0, -2)
    x = x - x.mean(dim=0)
    covariance = x.T @ x / (x.shape[0] - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / x.shape[1]
