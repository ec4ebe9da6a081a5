"""Objects of a video followed by features alone: each patch takes the labels of the most similar patches before it.

Letters: T frames, h and w rows and columns of patches, D width, O objects and background.

Source: Jabri et al. (arXiv 2006.14613), as DINO (arXiv 2104.14294) and V-JEPA 2.1 (arXiv 2603.14482) measure it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from vjepa_wm.checks import check_at_least, check_positive


@dataclass(frozen=True, kw_only=True)
class PropagationOptions:
    """How labels go from frame to frame."""

    context: int = 7
    """Frames before that are looked at, beside the first."""
    neighbours: int = 5
    """Most similar patches that vote."""
    radius: int = 12
    """Rows and columns that an object may have moved by [patches]."""
    temperature: float = 0.1
    """Of the softmax over cosine similarities."""

    def __post_init__(self) -> None:
        check_at_least(1, context=self.context, neighbours=self.neighbours, radius=self.radius)
        check_positive(temperature=self.temperature)


def propagate(features: Tensor, first: Tensor, options: PropagationOptions) -> Tensor:
    """Follow the objects of the first frame.

    Args:
        features: of the patches of each frame, (T, h, w, D).
        first: share of each patch of the first frame that each object has, (h, w, O), adding up to 1.
        options: how.

    Returns:
        Shares in every frame, (T, h, w, O); the first is as given.
    """
    rows, columns = features.shape[1:3]
    tokens = F.normalize(rearrange(features.float(), "t h w d -> t (h w) d"), dim=-1)
    near = near_patches(rows, columns, options.radius, features.device)
    shares = [rearrange(first.float(), "h w o -> (h w) o")]
    for t in range(1, len(tokens)):
        sources = [0, *range(max(t - options.context, 1), t)]
        similarity = torch.cat([(tokens[t] @ tokens[s].T).masked_fill(~near, -torch.inf) for s in sources], dim=1)
        best, which = similarity.topk(min(options.neighbours, similarity.shape[1]), dim=1)
        weights = torch.softmax(best / options.temperature, dim=1)
        known = torch.cat([shares[s] for s in sources])
        shares.append(torch.einsum("nk,nko->no", weights, known[which]))
    return rearrange(torch.stack(shares), "t (h w) o -> t h w o", h=rows)


def near_patches(rows: int, columns: int, radius: int, device: torch.device) -> Tensor:
    """Return which patches are at most so many rows and columns apart, bool (h * w, h * w)."""
    row, column = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    place = torch.stack((row.flatten(), column.flatten()), dim=1)
    return (place[:, None] - place[None]).abs().amax(dim=-1) <= radius
