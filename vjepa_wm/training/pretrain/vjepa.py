"""The training step of V-JEPA as one call: encoder, predictor and slow copy, for `pretrain` and for loops of one's own.

    model = VJEPA(encoder_config, predictor_config)
    out = model(clip, mask)
    out.total.backward()
    optimizer.step()
    model.update_target(0.999)

Letters: B clips, C colour channels, T frames, H and W pixels, N tokens (K visible, K' hidden), D width, L levels.

Source: V-JEPA 2 (arXiv 2506.09985), section 2; loss on visible tokens: V-JEPA 2.1 (arXiv 2603.14482), section 2;
variance and covariance: VICReg (arXiv 2105.04906), section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from einops import rearrange
from torch import Tensor, nn

from vjepa_wm.data.masks.mask import Mask, check_mask
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.layers import normalize_features
from vjepa_wm.models.predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa_wm.models.tubelets import gather_tokens
from vjepa_wm.training.losses import context_weights, covariance_loss, token_loss, variance_loss
from vjepa_wm.training.pretrain.ema import make_target, update_target
from vjepa_wm.training.pretrain.objective import ObjectiveConfig

Energy = Callable[[Tensor, Tensor], Tensor]
"""How far each predicted token is from its target: two (B, N, L * D) to (B, N)."""
Regulariser = Callable[[Tensor], Mapping[str, Tensor]]
"""What is to be small of the features of visible tokens (B, K, L * D): scalars by name."""


@dataclass(frozen=True)
class VJEPAOutput:
    """What one call of a `VJEPA` makes of clips and a mask."""

    context: Tensor
    """Features of the visible tokens, (B, K, L * D)."""
    predicted: Tensor
    """Predicted features of the hidden tokens, (B, K', L * D)."""
    target: Tensor
    """What they should be, (B, K', L * D) float32 without gradient; each level is normalised by itself."""
    energy: Tensor
    """Mean energy of the hidden tokens, a scalar."""
    context_energy: Tensor
    """Mean energy of the visible tokens, weighted by distance; 0 for a predictor without context output."""
    regularisation: Mapping[str, Tensor]
    """Terms of the regulariser by name, scalars without their weights."""
    total: Tensor
    """What to minimise: energy, weighted context energy and weighted terms."""


class VJEPA(nn.Module):
    """Encoder, masked predictor and what makes the targets.

    Attributes:
        encoder: what is trained.
        predictor: trained beside it.
        target_encoder: the slow copy of the encoder, which later stages use.
        frozen_teacher: makes the targets in its place, if there is one (distillation).
    """

    def __init__(
        self,
        encoder_config: VideoEncoderConfig,
        predictor_config: MaskedPredictorConfig,
        *,
        objective: ObjectiveConfig | None = None,
        energy: Energy | None = None,
        regulariser: Regulariser | None = None,
        teacher: VideoEncoder | None = None,
    ) -> None:
        """Draw the weights of new networks, those of the encoder first.

        Args:
            encoder_config: the encoder.
            predictor_config: the predictor, such as `masked_predictor_for(encoder_config)`.
            objective: losses and weights; None: those of `ObjectiveConfig`.
            energy: in place of the loss that `objective` names.
            regulariser: in place of its variance and covariance terms; its own terms have the weight 1.
            teacher: a frozen encoder that makes the targets in place of the slow copy.

        Raises:
            ValueError: if predictor, encoder and teacher do not fit each other.
        """
        super().__init__()
        _check_fit(encoder_config, predictor_config, teacher)
        self.objective = objective or ObjectiveConfig()
        self.encoder = VideoEncoder(encoder_config)
        self.predictor = MaskedPredictor(predictor_config)
        self.target_encoder = make_target(self.encoder)
        self.frozen_teacher = None if teacher is None else teacher.requires_grad_(False).eval()
        self._energy = energy or partial(token_loss, loss=self.objective.loss)
        self._regulariser = regulariser or self._spread
        weights = self.objective.weights()._asdict()
        self._term_weights = (
            {} if regulariser else {name: weights[name] for name in ("variance_loss", "covariance_loss")}
        )

    @property
    def teacher(self) -> VideoEncoder:
        """What makes the targets."""
        return self.target_encoder if self.frozen_teacher is None else self.frozen_teacher

    @property
    def num_levels(self) -> int:
        """Levels of the encoder that are predicted."""
        return self.predictor.config.num_levels

    def forward(
        self, clip: Tensor, mask: Mask | tuple[Tensor, Tensor], targets: Tensor | None = None, *, mask_index: int = 0
    ) -> VJEPAOutput:
        """Check the mask, encode the visible tokens, predict the hidden ones and compare.

        Args:
            clip: normalised pixels, (B, C, T, H, W), or pictures (B, C, H, W).
            mask: ids of visible and of hidden tokens, (B, K) and (B, K').
            targets: features of all tokens as `targets` returns them, if they are known already, (B, N, L * D).
            mask_index: which mask token the predictor uses.

        Raises:
            MaskError: if the mask is wrong; each fault has a class of its own, see `check_mask`.
            ValueError: if the clip does not divide into tubelets, or there are more targets than the predictor takes.
        """
        checked = check_mask(Mask(*mask), self.encoder.grid(clip), len(clip))
        return self.compute(clip, checked, self.targets(clip) if targets is None else targets, mask_index)

    def compute(self, clip: Tensor, mask: Mask, targets: Tensor, mask_index: int = 0) -> VJEPAOutput:
        """Do what `forward` does once the mask is known to be right; arguments as there."""
        context_ids, target_ids = mask
        context = self.encoder.patch_features(clip, context_ids, num_levels=self.num_levels)
        terms = self._regulariser(context)
        grid, is_picture = self.encoder.grid(clip), clip.dim() == 4 or clip.shape[2] == 1
        target = gather_tokens(targets, target_ids)
        where = (context, context_ids, target_ids, grid, mask_index)
        if self.predictor.config.predict_context:
            predicted, seen = self.predictor.predict_all(*where, image=is_picture)
            weights = context_weights(context_ids, target_ids, grid[1:])
            context_energy = (self.token_energy(seen, gather_tokens(targets, context_ids)) * weights).mean()
            energy = self.token_energy(predicted, target).mean()
        else:
            predicted = self.predictor(*where, image=is_picture)
            energy = self.token_energy(predicted, target).mean()
            context_energy = torch.zeros_like(energy)
        total = energy + self.objective.context_loss_weight * context_energy
        for name, term in terms.items():
            total = total + self._term_weights.get(name, 1.0) * term
        return VJEPAOutput(context, predicted, target, energy, context_energy, terms, total)

    @torch.no_grad()
    def targets(self, clip: Tensor) -> Tensor:
        """Return what is to be predicted of whole clips: the teacher's features, each level normalised by itself.

        Args:
            clip: as of `forward`.

        Returns:
            (B, N, L * D) float32.
        """
        features = self.teacher.patch_features(clip, num_levels=self.num_levels)
        levels = rearrange(features.float(), "b n (l d) -> b n l d", l=self.num_levels)
        return rearrange(normalize_features(levels), "b n l d -> b n (l d)")

    def update_target(self, momentum: float) -> None:
        """Move the slow copy: momentum times itself and 1 - momentum times the encoder."""
        update_target(self.target_encoder, self.encoder, momentum)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of encoder and predictor; what makes targets never drops anything."""
        super().train(mode)
        for network in (self.target_encoder, self.frozen_teacher):
            if network is not None:
                network.eval()
        return self

    def token_energy(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return the energy of each token of two (B, N, L * D), (B, N).

        Raises:
            ValueError: if a function of one's own returns something else.
        """
        energy = self._energy(predicted, target)
        if energy.shape != predicted.shape[:-1]:
            wanted = tuple(predicted.shape[:-1])
            raise ValueError(f"energy must return a number for each token, {wanted}, got {tuple(energy.shape)}")
        return energy

    def _spread(self, context: Tensor) -> dict[str, Tensor]:
        """Return the terms of VICReg; without weight they are computed for people only."""
        with torch.set_grad_enabled(self.objective.regularises and torch.is_grad_enabled()):
            return {"variance_loss": variance_loss(context), "covariance_loss": covariance_loss(context)}


def _check_fit(encoder: VideoEncoderConfig, predictor: MaskedPredictorConfig, teacher: VideoEncoder | None) -> None:
    """Raise ValueError unless these networks fit each other."""
    source = teacher.config if teacher else encoder
    faults = (
        ("encoder_dim", encoder.embed_dim, predictor.encoder_dim),
        ("output_dim", source.embed_dim * predictor.num_levels, predictor.output_dim),
        ("modality_embedding", encoder.modality_embedding, predictor.modality_embedding),
    )
    for name, wanted, got in faults:
        if wanted != got:
            raise ValueError(f"the predictor's {name} must be {wanted} for this encoder, got {got}")
    levels = min(max(1, len(config.levels)) for config in (encoder, source))
    if predictor.num_levels > levels:
        raise ValueError(
            f"the predictor's num_levels must be at most {levels}, the encoder's, got {predictor.num_levels}"
        )
