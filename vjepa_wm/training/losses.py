"""Regression losses between predicted and target features.

Letters: B batch, N tokens, D width.

Source: V-JEPA 2 (arXiv 2506.09985), sections 2 and 3; distance weights from V-JEPA 2.1 (arXiv 2603.14482), section 2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vjepa_wm.models.rope import grid_positions


def prediction_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute difference over all elements of two ``(B, N, D)`` tensors."""
    return (prediction.float() - target.float()).abs().mean()


def context_weights(context_ids: Tensor, target_ids: Tensor, grid: tuple[int, int]) -> Tensor:
    """Weigh each visible token by 1 / sqrt(distance to the nearest hidden one), in tokens of the grid.

    Args:
        context_ids: visible tokens, ``(B, Nc)``.
        target_ids: hidden tokens, ``(B, Nt)``.
        grid: rows and columns of patches in a frame.

    Returns:
        Weights in (0, 1], ``(B, Nc)``.
    """
    distance = torch.cdist(grid_positions(context_ids, grid), grid_positions(target_ids, grid))
    return distance.amin(dim=-1).clamp_min(1.0).rsqrt()


def context_loss(prediction: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return the mean absolute difference of ``(B, N, D)`` tensors, tokens weighted by ``(B, N)``."""
    return ((prediction.float() - target.float()).abs().mean(dim=-1) * weights).mean()
