"""The losses of masked pretraining and their weights.

Source: V-JEPA 2 (arXiv 2506.09985), section 2; loss on visible tokens: V-JEPA 2.1 (arXiv 2603.14482), section 2;
variance and covariance: VICReg (arXiv 2105.04906), section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

from torch import Tensor

from vjepa_wm.checks import check_at_least, check_within
from vjepa_wm.training.losses import LossName


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """The losses and their weights beside that of the loss on hidden tokens, 1."""

    loss: LossName = "l1"
    """Distance of predicted and target features: l1 (V-JEPA 2), l2, smooth_l1 or cosine."""
    context_loss_weight: float = 0.5
    """Weight of the loss on visible tokens; 0 is V-JEPA 2."""
    context_start_share: float = 0.0
    """Share of the steps before that weight rises from 0."""
    context_warmup_share: float = 0.1
    """Share of the steps in which it rises."""
    variance_weight: float = 0.0
    """Weight of a penalty on channels of the encoder's features that hardly vary (VICReg); 0 is V-JEPA 2."""
    covariance_weight: float = 0.0
    """Weight of a penalty on channels that vary together (VICReg); 0 is V-JEPA 2."""

    def __post_init__(self) -> None:
        for name in ("context_loss_weight", "variance_weight", "covariance_weight"):
            check_at_least(0, **{f"objective.{name}": getattr(self, name)})
        for name in ("context_start_share", "context_warmup_share"):
            check_within(0, 1, **{f"objective.{name}": getattr(self, name)})

    @property
    def regularises(self) -> bool:
        """Whether variance or covariance get a gradient."""
        return bool(self.variance_weight or self.covariance_weight)

    def weights(self, context_weight: float | None = None) -> Losses:
        """Return the weights of all losses; that of the loss on visible tokens may be another than at the end."""
        return Losses(
            loss=1.0,
            context_loss=self.context_loss_weight if context_weight is None else context_weight,
            variance_loss=self.variance_weight,
            covariance_loss=self.covariance_weight,
        )

    def context_rise(self, step: int, steps: int) -> float:
        """Return what share of the weight of the loss on visible tokens holds at a step of a run, 0 to 1."""
        begun = step + 1 - self.context_start_share * steps
        return min(max(begun, 0.0) / max(self.context_warmup_share * steps, 1.0), 1.0)


class Losses(NamedTuple):
    """The losses of a step, or their weights; the names are the columns of its metrics."""

    loss: Tensor | float
    """On hidden tokens."""
    context_loss: Tensor | float
    """On visible tokens."""
    variance_loss: Tensor | float
    """On channels of the encoder's features that hardly vary."""
    covariance_loss: Tensor | float
    """On channels that vary together."""
    inverse_loss: Tensor | float = 0.0
    """On actions read off successive frames, where there are any."""

    def scaled(self, factor: float) -> Losses:
        """Return all of them times a factor."""
        return Losses(*(value * factor for value in self))

    def detached(self) -> Losses:
        """Return all of them without their gradients."""
        return Losses(*(cast(Tensor, value).detach() for value in self))

    def weighted_sum(self, weights: Losses) -> Tensor:
        """Return what to minimise."""
        return cast(Tensor, sum(cast(Tensor, value) * weight for value, weight in zip(self, weights, strict=True)))
