"""One step of masked pretraining: the networks, the losses and the slow copy.

Letters: B clips, T frames, S side of the pictures, N tokens, D width.

Source: V-JEPA 2 (arXiv 2506.09985), section 2 and appendix; V-JEPA 2.1 (arXiv 2603.14482), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from vjepa_wm.data.masking import Mask
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.layers import normalize_features
from vjepa_wm.models.precision import autocast, pick_device, pick_dtype
from vjepa_wm.models.predictor import MaskedPredictor
from vjepa_wm.models.tubelets import gather_tokens
from vjepa_wm.training.ema import make_target, update_target
from vjepa_wm.training.losses import (
    context_loss,
    context_weights,
    covariance_loss,
    prediction_loss,
    variance_loss,
)
from vjepa_wm.training.optimizer import make_optimizer, take_step
from vjepa_wm.training.pretrain_config import PretrainConfig, predictor_config
from vjepa_wm.training.run import step_generator
from vjepa_wm.training.schedules import linear_ramp


@dataclass(frozen=True)
class Batch:
    """What one step is trained on."""

    clips: Tensor
    """``(B, 3, T, S, S)`` float32; T is 1 for pictures."""
    masks: list[Mask]
    """One per mask setting."""

    def split(self, parts: int) -> list[Batch]:
        """Cut the batch into equal parts; their masks are as long as the whole batch's."""
        size = len(self.clips) // parts
        return [
            Batch(self.clips[rows], [Mask(*(ids[rows] for ids in mask)) for mask in self.masks])
            for rows in (slice(start, start + size) for start in range(0, len(self.clips), size))
        ]


class Pretrainer:
    """The networks, optimizer and schedules of a run."""

    def __init__(self, config: PretrainConfig) -> None:
        self.config = config
        self.device = pick_device(config.device)
        self.dtype = pick_dtype(config.precision, self.device)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.encoder = VideoEncoder(config.encoder).to(self.device)
            self.predictor = MaskedPredictor(predictor_config(config)).to(self.device)
        self.encoder.recompute_activations = self.predictor.recompute_activations = config.recompute_activations
        self.target_encoder = make_target(self.encoder)
        self.optimizer = make_optimizer([self.encoder, self.predictor], config.weight_decay)
        self.learning_rate = config.rate_schedule()

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """All networks by name."""
        return {"encoder": self.encoder, "predictor": self.predictor, "target_encoder": self.target_encoder}

    def step(self, step: int, batch: Batch) -> dict[str, Tensor]:
        """Train on one batch.

        Returns:
            ``loss``, ``context_loss``, ``variance_loss``, ``covariance_loss``, ``grad_norm`` (scalars) and ``targets``
            ``(B, N, levels * D)``.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        config = self.config
        if config.encoder.drop_path:  # which draws from torch's own generator
            torch.manual_seed(step_generator(config.seed, step).initial_seed())
        results: list[dict[str, Tensor]] = []
        grad_norm = take_step(
            self.optimizer,
            (self._part_loss(part, step, results) / config.accumulate for part in batch.split(config.accumulate)),
            learning_rate=self.learning_rate(step),
            weight_decay=config.decay_at(step),
            clip_grad_norm=config.clip_grad_norm,
        )
        update_target(self.target_encoder, self.encoder, self.momentum(step))
        targets = torch.cat([part.pop("targets") for part in results])
        means = {name: torch.stack([part[name] for part in results]).mean() for name in results[0]}
        return means | {"grad_norm": grad_norm, "targets": targets}

    def _part_loss(self, part: Batch, step: int, results: list[dict[str, Tensor]]) -> Tensor:
        """Return what to minimise on a part of a batch, and add what is reported of it to `results`."""
        config = self.config
        clips = part.clips.to(self.device)
        with autocast(self.device, self.dtype):
            with torch.no_grad():
                targets = self._targets(clips)
            parts = [self._mask_losses(clips, targets, mask, index) for index, mask in enumerate(part.masks)]
        loss, visible, variance, covariance = (torch.stack(values).mean() for values in zip(*parts, strict=True))
        values = {"loss": loss, "context_loss": visible, "variance_loss": variance, "covariance_loss": covariance}
        results.append({name: value.detach() for name, value in values.items()} | {"targets": targets})
        rise = min((step + 1) / max(config.context_warmup_share * config.steps, 1.0), 1.0)
        total = loss + rise * config.context_loss_weight * visible
        return total + config.variance_weight * variance + config.covariance_weight * covariance

    def momentum(self, step: int) -> float:
        """Return the target encoder's momentum."""
        return linear_ramp(step, self.config.ema_start, self.config.ema_end, self.config.steps)

    def _features(self, encoder: VideoEncoder, clips: Tensor, ids: Tensor | None = None) -> Tensor:
        """Return the features of all levels end to end, ``(B, N, levels * D)``, without a class token."""
        tokens = encoder.level_features(clips, ids)
        return tokens[:, 1:] if self.config.encoder.class_token else tokens

    def _targets(self, clips: Tensor) -> Tensor:
        """Return what is to be predicted: the slow copy's features, each level normalised by itself."""
        levels = rearrange(
            self._features(self.target_encoder, clips).float(), "b n (l d) -> b n l d", l=self.config.num_levels
        )
        return rearrange(normalize_features(levels), "b n l d -> b n (l d)")

    def _mask_losses(
        self, clips: Tensor, targets: Tensor, mask: Mask, index: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the losses on hidden and on visible tokens, and how collapsed the encoder's features are."""
        config = self.config
        context_ids, target_ids = (ids.to(self.device) for ids in mask)
        features = self._features(self.encoder, clips, context_ids)
        with torch.set_grad_enabled(bool(config.variance_weight or config.covariance_weight)):  # else only for the log
            spread = variance_loss(features), covariance_loss(features)
        where = (features, context_ids, target_ids, config.grid(clips.shape[2]), index)
        picture = clips.shape[2] == 1
        hidden_targets = gather_tokens(targets, target_ids)
        if not config.context_loss_weight:
            hidden = self.predictor(*where, image=picture)
            return prediction_loss(hidden, hidden_targets, config.loss), hidden.new_zeros(()), *spread
        hidden, seen = self.predictor.predict_all(*where, image=picture)
        weights = context_weights(context_ids, target_ids, config.encoder.patch_grid)
        return (
            prediction_loss(hidden, hidden_targets, config.loss),
            context_loss(seen, gather_tokens(targets, context_ids), weights, config.loss),
            *spread,
        )
