"""The options of masked pretraining, and the predictor that belongs to them.

Source: V-JEPA 2 (arXiv 2506.09985), section 2 and appendix; V-JEPA 2.1 (arXiv 2603.14482), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
import tyro

from vjepa_wm.data.mask_samplers import MaskPreset, MaskSetting, choose_masks
from vjepa_wm.data.multi_block import small_grid_masks
from vjepa_wm.data.transforms import AugmentationConfig
from vjepa_wm.models.encoder_config import VideoEncoderConfig, vit_micro
from vjepa_wm.models.predictor import MaskedPredictorConfig
from vjepa_wm.training.losses import LossName
from vjepa_wm.training.run import RunConfig


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(RunConfig):
    """Pretrain a video encoder on a folder of videos with the masked objective of V-JEPA 2."""

    data: Path
    """Folder of video files, searched through all its sub-folders."""
    encoder: VideoEncoderConfig = field(default_factory=vit_micro)
    """The encoder to train."""
    predictor_dim: int = 128
    """Width of the masked predictor."""
    predictor_depth: int = 4
    """Blocks of the masked predictor."""
    predictor_heads: int = 4
    """Heads of the masked predictor."""
    num_frames: int = 4
    """Frames in a clip."""
    fps: float = 5.0
    """Frames taken per second of video."""
    image_share: float = 0.25
    """Share of clips that are one frame repeated, as V-JEPA 2 trains on pictures; an encoder with an image tokenizer
    gets whole batches of single frames instead (V-JEPA 2.1)."""
    masks: tyro.conf.AvoidSubcommands[tuple[MaskSetting, ...]] = field(default_factory=small_grid_masks)
    """Mask settings; every clip is masked by each of them."""
    mask_preset: MaskPreset | None = None
    """Settings by name, in place of `masks`."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """Crops and flips."""
    steps: int = 5_000
    batch_size: int = 48
    warmup_share: float = 0.08
    decay_share: float = 0.25
    clip_grad_norm: float = 10.0
    save_every: int = 250
    ema_start: float = 0.99
    """Momentum of the target encoder at the first step."""
    ema_end: float = 0.9995
    """Momentum at the last step."""
    loss: LossName = "l1"
    """Distance of predicted and target features: l1 (V-JEPA 2), l2, smooth_l1 or cosine."""
    variance_weight: float = 0.0
    """Weight of a penalty on channels of the encoder's features that hardly vary (VICReg); 0 is V-JEPA 2."""
    covariance_weight: float = 0.0
    """Weight of a penalty on channels that vary together (VICReg); 0 is V-JEPA 2."""
    context_loss_weight: float = 0.5
    """Weight of the loss on visible tokens; 0 is V-JEPA 2."""
    context_warmup_share: float = 0.1
    """Share of the steps in which that weight rises from 0."""
    max_bad_share: float = 0.1
    """Largest share of unreadable or too short videos; beyond it the run stops."""
    cache_gib: float = 4.0
    """Memory for decoded videos [GiB]; beyond it, frames are decoded as they are needed."""
    accumulate: int = 1
    """Parts that a batch is computed in, one after the other: the same step with less memory, but for the variance and
    covariance terms, which each part takes over its own tokens."""
    recompute_activations: bool = False
    """Whether to keep only the blocks' inputs and compute the rest again for the gradients: less memory, more time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "masks", choose_masks(self.masks, self.mask_preset))
        if self.num_frames % self.encoder.tubelet_size:
            raise ValueError(
                f"num_frames must be a multiple of tubelet_size {self.encoder.tubelet_size}, got {self.num_frames}"
            )
        if not 0.0 <= self.image_share <= 1.0:
            raise ValueError(f"image_share must be within 0..1, got {self.image_share}")
        pictures = self.encoder.image_tokenizer and self.image_share > 0
        for grid in [self.grid(self.num_frames), *([self.grid(1)] if pictures else [])]:
            for mask in self.masks:  # a setting that cannot be is refused now, not at its first batch
                mask.sample(grid, 1, step=0, generator=torch.Generator().manual_seed(self.seed))
        if self.accumulate < 1 or self.batch_size % self.accumulate:
            raise ValueError(
                f"accumulate must be at least 1 and divide batch_size {self.batch_size}, got {self.accumulate}"
            )

    def grid(self, num_frames: int) -> tuple[int, int, int]:
        """Return the tokens of a clip in time, rows and columns; a single frame is one step."""
        return max(1, num_frames // self.encoder.tubelet_size), *self.encoder.patch_grid

    @property
    def num_levels(self) -> int:
        """Levels of the encoder that are predicted."""
        return max(1, len(self.encoder.levels))


def predictor_config(config: PretrainConfig) -> MaskedPredictorConfig:
    """Return the masked predictor that belongs to a run."""
    return MaskedPredictorConfig(
        encoder_dim=config.encoder.embed_dim,
        embed_dim=config.predictor_dim,
        depth=config.predictor_depth,
        num_heads=config.predictor_heads,
        num_mask_tokens=len(config.masks),
        rope=config.encoder.rope,
        rope_grid=config.encoder.rope_grid,
        grid=config.encoder.trained_grid,
        uniform_power=config.encoder.uniform_power,
        num_levels=config.num_levels,
        modality_embedding=config.encoder.modality_embedding,
        predict_context=config.context_loss_weight > 0,
    )
