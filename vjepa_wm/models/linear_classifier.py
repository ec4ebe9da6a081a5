"""The linear probe: one linear layer on the class token or on the mean of the patches, for classification.

Letters: B batch, N tokens, D width.

Source: I-JEPA (arXiv 2301.08243) and MAE (arXiv 2111.06377), appendices: features are brought to mean 0 and deviation 1
over the training set first, without trainable numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vjepa_wm.checks import check_at_least

Readout = Literal["class_token", "mean"]
_MIN_SCALE = 1e-4


@dataclass(frozen=True, kw_only=True)
class LinearClassifierConfig:
    """Size of a `LinearClassifier`."""

    embed_dim: int
    """Width of the encoder's tokens."""
    num_classes: int
    """Classes of a video or picture."""
    readout: Readout = "mean"
    """What is read: the class token, or the mean of the other tokens."""

    def __post_init__(self) -> None:
        check_at_least(1, embed_dim=self.embed_dim, num_classes=self.num_classes)
        if self.readout not in ("class_token", "mean"):
            raise ValueError(f"readout must be class_token or mean, got {self.readout!r}")


class LinearClassifier(nn.Module):
    """Tell classes from one vector by a linear map.

    Attributes:
        mean: what is subtracted from the vector, (D,); set by `fit_scale`, not trained.
        scale: what it is divided by then, (D,).
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: LinearClassifierConfig) -> None:
        """Draw the weights of a new probe.

        Args:
            config: its size.
        """
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.embed_dim, config.num_classes)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("mean", torch.zeros(config.embed_dim))
        self.register_buffer("scale", torch.ones(config.embed_dim))

    @torch.no_grad()
    def fit_scale(self, vectors: Tensor) -> None:
        """Take mean and deviation from the vectors of a training set, (M, D)."""
        self.mean.copy_(vectors.mean(dim=0))
        self.scale.copy_(vectors.std(dim=0, correction=0).clamp_min(_MIN_SCALE))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map vectors (B, D) to scores before the softmax, (B, num_classes)."""
        return self.linear((vectors - self.mean) / self.scale)


def read_vectors(tokens: Tensor, readout: Readout, *, has_class_token: bool) -> Tensor:
    """Return one vector per clip.

    Args:
        tokens: features of an encoder, (..., N, D), its class token first if it has one.
        readout: what is read.
        has_class_token: whether it has one.

    Returns:
        (..., D).

    Raises:
        ValueError: if the class token is asked for and there is none.
    """
    if readout == "mean":
        return tokens[..., int(has_class_token) :, :].mean(dim=-2)
    if not has_class_token:
        raise ValueError("readout must be mean for an encoder without a class token, got class_token")
    return tokens[..., 0, :]
