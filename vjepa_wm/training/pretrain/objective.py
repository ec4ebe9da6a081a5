"""The masked objective: what is predicted, and how far the predictions are from it.

Letters: B clips, T frames, S side of the frames, N tokens, D width.

Source: V-JEPA 2 (arXiv 2506.09985), section 2; loss on visible tokens: V-JEPA 2.1 (arXiv 2603.14482), section 2;
variance and covariance: VICReg (arXiv 2105.04906), section 4.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vjepa_wm.data.masks.mask import Mask
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.predictor import MaskedPredictor
from vjepa_wm.models.tubelets import gather_tokens
from vjepa_wm.training.losses import (
    context_loss,
    context_weights,
    covariance_loss,
    prediction_loss,
    variance_loss,
)
from vjepa_wm.training.pretrain.config import PretrainConfig, predictor_config


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
        return Losses(*(value.detach() for value in self))

    def weighted_sum(self, weights: Losses) -> Tensor:
        """Return what to minimise."""
        return sum(value * weight for value, weight in zip(self, weights, strict=True))


class MaskedObjective(nn.Module):
    """The encoder and the predictor, and how far their predictions are from the targets."""

    def __init__(self, config: PretrainConfig, *, target_dim: int | None, num_mask_tokens: int) -> None:
        """Make both networks.

        Args:
            config: the run.
            target_dim: width of what is predicted, as `predictor_config` takes it.
            num_mask_tokens: as many as a predictor has that this one starts from.
        """
        super().__init__()
        self.config = config
        self.encoder = VideoEncoder(config.encoder)
        self.predictor = MaskedPredictor(
            predictor_config(config, target_dim=target_dim, num_mask_tokens=num_mask_tokens)
        )
        self.encoder.recompute_activations = self.predictor.recompute_activations = config.recompute_activations

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
        config = self.config
        context_ids, target_ids = mask
        features = visible_features(self.encoder, clips, context_ids, config.num_levels)
        with torch.set_grad_enabled(bool(config.variance_weight or config.covariance_weight)):  # else only for the log
            spread = {"variance_loss": variance_loss(features), "covariance_loss": covariance_loss(features)}
        is_picture = clips.shape[2] == 1
        time = 1 if is_picture else clips.shape[2] // config.encoder.tubelet_size
        rows, columns = (side // config.encoder.patch_size for side in clips.shape[3:])
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
