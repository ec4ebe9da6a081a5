"""How well the objects of a video were followed: DAVIS' region similarity J and boundary measure F.

Letters: T frames, S side of the square masks [px], O objects and background.

Source: Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation (CVPR 2016),
section 5; V-JEPA 2.1 (arXiv 2603.14482) reports the mean of both.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BOUNDARY_TOLERANCE = 0.008
"""How far a boundary may lie from the true one, as a share of the diagonal of the frame."""


def region_similarity(told: Tensor, truth: Tensor, num_objects: int) -> Tensor:
    """Return the mean over frames of intersection over union of each object (DAVIS' J), (O - 1,).

    Args:
        told: object of each pixel, 0 for the background, int64 (T, S, S).
        truth: likewise.
        num_objects: O - 1. An object that is in neither of a frame counts as told rightly there.
    """
    found = []
    for one in range(1, num_objects + 1):
        mine, true = told == one, truth == one
        union = (mine | true).flatten(1).sum(dim=1)
        shared = (mine & true).flatten(1).sum(dim=1)
        found.append(torch.where(union > 0, shared / union.clamp_min(1), 1.0).mean())
    return torch.stack(found)


def boundary_measure(told: Tensor, truth: Tensor, num_objects: int, tolerance: float = BOUNDARY_TOLERANCE) -> Tensor:
    """Return the mean over frames of the F of each object's boundary (DAVIS' F), (O - 1,).

    Precision is the share of the told boundary that is near the true one, recall the share of the true one that is near
    the told one, F is their harmonic mean.

    Args:
        told: object of each pixel, 0 for the background, int64 (T, S, S).
        truth: likewise.
        num_objects: O - 1. An object without a boundary in either of a frame counts as told rightly there.
        tolerance: how far is near, as a share of the diagonal, rounded up to whole pixels.
    """
    radius = math.ceil(tolerance * math.hypot(*truth.shape[-2:]))
    found = []
    for one in range(1, num_objects + 1):
        mine, true = boundary(told == one), boundary(truth == one)
        precision = _share_near(mine, widen(true, radius), true)
        recall = _share_near(true, widen(mine, radius), mine)
        total = precision + recall
        found.append(torch.where(total > 0, 2 * precision * recall / total.clamp_min(1e-12), 0.0).mean())
    return torch.stack(found)


def boundary(mask: Tensor) -> Tensor:
    """Return the pixels that differ from the next one to the right, below, or both, bool (T, S, S).

    The last row and column, like a frame's edge, is nobody's boundary by itself.
    """
    padded = F.pad(mask.unsqueeze(1).float(), (0, 1, 0, 1), mode="replicate").squeeze(1) > 0
    right, below, across = padded[:, :-1, 1:], padded[:, 1:, :-1], padded[:, 1:, 1:]
    return (mask != right) | (mask != below) | (mask != across)


def widen(mask: Tensor, radius: int) -> Tensor:
    """Return the pixels at most so far from one of a mask, bool (T, S, S)."""
    steps = torch.arange(-radius, radius + 1, device=mask.device)
    disk = (steps[:, None].square() + steps.square() <= radius**2).float()
    near = F.conv2d(mask.unsqueeze(1).float(), disk[None, None], padding=radius)
    return near.squeeze(1) > 0.5


def _share_near(boundaries: Tensor, near: Tensor, other: Tensor) -> Tensor:
    """Return the share of each frame's boundary that is near the other, (T,); of none: 1 if there is no other, else 0.

    Where one of the two is missing, F is 0 whatever the other share.
    """
    counts = boundaries.flatten(1).sum(dim=1)
    shares = (boundaries & near).flatten(1).sum(dim=1) / counts.clamp_min(1)
    return torch.where(counts > 0, shares, (~other.flatten(1).any(dim=1)).float())
