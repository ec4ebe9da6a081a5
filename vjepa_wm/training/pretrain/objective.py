"""The masked objective: what is predicted, and how far the predictions are from it.

Letters: B clips, T frames, S side of the frames, N tokens, D width.

Source: V-JEPA 2 (arXiv 2506.09985), section 2; loss on visible tokens: V-JEPA 2.1 (arXiv 2603.14482), section 2;
variance and covariance: VICReg (arXiv 2105.04906), section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from vjepa_wm.checks import check_at_least, check_within
from vjepa_wm.data.masks.mask import Mask
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.predictor import MaskedPredictor
from vjepa_wm.models.tubelets import gather_tokens
from vjepa_wm.training.losses import (
    LossName,
    context_loss,
    context_weights,
    covariance_loss,
    prediction_loss,
    variance_loss,
)


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

    def scaled(self, factor: float) -> Losses:
        """Return all of them times a factor."""
        return Losses(*(value * factor for value in self))

    def detached(self) -> Losses:
        """Return all of them without their gradients."""
        return Losses(*(cast(Tensor, value).detach() for value in self))

    def weighted_sum(self, weights: Losses) -> Tensor:
        """Return what to minimise."""
        return cast(Tensor, sum(cast(Tensor, value) * weight for value, weight in zip(self, weights, strict=True)))


class MaskedObjective(nn.Module):
    """The encoder and the predictor, and how far their predictions are from the targets."""

    def __init__(self, encoder: VideoEncoder, predictor: MaskedPredictor, config: ObjectiveConfig) -> None:
        """Take both networks.

        Args:
            encoder: what is trained.
            predictor: trained beside it; it says how many levels of the encoder there are to predict.
            config: the losses.
        """
        super().__init__()
        self.encoder, self.predictor, self.config = encoder, predictor, config

    def forward(self, clips: Tensor, targets: Tensor, masks: list[Mask]) -> Losses:
        """Return the losses, averaged over the masks.

        Args:
            clips: (B, 3, T, S, S).
            targets: what is to be predicted, (B, N, levels * D).
            masks: one for each setting.
        """
        losses = [self._mask_losses(clips, targets, mask, index) for index, mask in enumerate(masks)]
        return Losses(*(torch.stack(values).mean() for values in zip(*losses, strict=True)))

    def _mask_losses(self, clips: Tensor, targets: Tensor, mask: Mask, index: int) -> Losses:
        config, architecture = self.config, self.encoder.config
        context_ids, target_ids = mask
        features = visible_features(self.encoder, clips, context_ids, self.predictor.config.num_levels)
        with torch.set_grad_enabled(bool(config.variance_weight or config.covariance_weight)):  # else only for the log
            spread = {"variance_loss": variance_loss(features), "covariance_loss": covariance_loss(features)}
        is_picture = clips.shape[2] == 1
        time = 1 if is_picture else clips.shape[2] // architecture.tubelet_size
        rows, columns = (side // architecture.patch_size for side in clips.shape[3:])
        where = (features, context_ids, target_ids, (time, rows, columns), index)
        hidden_targets = gather_tokens(targets, target_ids)
        if not self.predictor.config.predict_context:
            hidden = self.predictor(*where, image=is_picture)
            loss = prediction_loss(hidden, hidden_targets, config.loss)
            return Losses(loss=loss, context_loss=torch.zeros_like(loss), **spread)
        hidden, seen = self.predictor.predict_all(*where, image=is_picture)
        weights = context_weights(context_ids, target_ids, (rows, columns))
        visible = context_loss(seen, gather_tokens(targets, context_ids), weights, config.loss)
        return Losses(loss=prediction_loss(hidden, hidden_targets, config.loss), context_loss=visible, **spread)


def visible_features(encoder: VideoEncoder, clips: Tensor, ids: Tensor | None, num_levels: int) -> Tensor:
    """Return the features of the last levels end to end, (B, N, levels * D), without a class token."""
    tokens = encoder.level_features(clips, ids, num_levels=num_levels)
    return tokens[:, 1:] if encoder.config.class_token else tokens
