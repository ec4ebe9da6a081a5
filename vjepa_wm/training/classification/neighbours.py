"""k nearest neighbours: classification without training, by the labels of the most similar features.

Letters: M training items, B items to tell, D width, K classes.

Source: Wu et al. (arXiv 1805.01978), section 3.4; DINO (arXiv 2104.14294), section 4.1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 0.07


def neighbour_scores(
    train: Tensor, labels: Tensor, vectors: Tensor, *, num_neighbours: int, num_classes: int
) -> Tensor:
    """Let the nearest training vectors vote, each with exp(cosine similarity / 0.07).

    Args:
        train: vectors of the training set, (M, D).
        labels: their classes, int64 (M,).
        vectors: those to tell, (B, D).
        num_neighbours: how many vote; all where there are fewer.
        num_classes: K.

    Returns:
        Votes by class, which add up to 1, (B, K).
    """
    similarity = F.normalize(vectors, dim=1) @ F.normalize(train, dim=1).T
    nearest, which = similarity.topk(min(num_neighbours, len(train)), dim=1)
    weights = torch.softmax(nearest / TEMPERATURE, dim=1)
    return torch.zeros(len(vectors), num_classes, device=vectors.device).scatter_add_(1, labels[which], weights)
