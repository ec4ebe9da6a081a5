"""Masked pretraining: from a folder of videos to a video encoder.

The encoder sees the visible tokens of a clip, the predictor estimates the features of the hidden ones, and the targets
come from a slow copy of the encoder that sees the whole clip. The slow copy is what later stages use.

Letters: B clips, T frames, N tokens, D width.

Source: V-JEPA 2 (arXiv 2506.09985), section 2 and appendix; loss on visible tokens: V-JEPA 2.1 (arXiv 2603.14482).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
import tyro
from einops import rearrange
from torch import Tensor
from tqdm import tqdm

from vjepa_wm.data.mask_samplers import MaskPreset, MaskSetting, choose_masks
from vjepa_wm.data.masking import Mask
from vjepa_wm.data.multi_block import small_grid_masks
from vjepa_wm.data.transforms import AugmentationConfig, augment_clip
from vjepa_wm.data.video import find_videos
from vjepa_wm.data.video_clips import VideoClips
from vjepa_wm.models.checkpoint import MASKED_PREDICTOR, VIDEO_ENCODER, save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig, vit_micro
from vjepa_wm.models.layers import normalize_features
from vjepa_wm.models.precision import autocast, pick_device, pick_dtype
from vjepa_wm.models.predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa_wm.models.tubelets import gather_tokens
from vjepa_wm.training.checkpoint import load_training_state, save_training_state
from vjepa_wm.training.ema import make_target, update_target
from vjepa_wm.training.losses import (
    LossName,
    context_loss,
    context_weights,
    covariance_loss,
    prediction_loss,
    variance_loss,
)
from vjepa_wm.training.metrics import MetricsWriter, effective_rank, feature_std
from vjepa_wm.training.optimizer import make_optimizer, take_step
from vjepa_wm.training.run import RunConfig, step_generator
from vjepa_wm.training.schedules import linear_ramp

logger = logging.getLogger(__name__)


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
    """Parts that a batch is computed in, one after the other, for the same step with less memory."""
    recompute_activations: bool = False
    """Whether to keep only the blocks' inputs and compute the rest again for the gradients: less memory, more time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "masks", choose_masks(self.masks, self.mask_preset))
        if self.num_frames % self.encoder.tubelet_size:
            raise ValueError(
                f"num_frames must be a multiple of tubelet_size {self.encoder.tubelet_size}, got {self.num_frames}"
            )
        pictures = self.encoder.image_tokenizer and self.image_share > 0
        for grid in [self.grid(self.num_frames), *([self.grid(1)] if pictures else [])]:
            for mask in self.masks:  # a setting that cannot be is refused now, not at its first batch
                mask.sample(grid, 1, step=0, generator=torch.Generator().manual_seed(self.seed))
        if self.accumulate < 1 or self.batch_size % self.accumulate:
            raise ValueError(
                f"accumulate must be at least 1 and divide batch_size {self.batch_size}, got {self.accumulate}"
            )
        if not 0.0 <= self.image_share <= 1.0:
            raise ValueError(f"image_share must be within 0..1, got {self.image_share}")

    def grid(self, num_frames: int) -> tuple[int, int, int]:
        """Return the tokens of a clip in time, rows and columns; a single frame is one step."""
        return max(1, num_frames // self.encoder.tubelet_size), *self.encoder.patch_grid

    @property
    def num_levels(self) -> int:
        """Levels of the encoder that are predicted."""
        return max(1, len(self.encoder.levels))


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


def make_batch(config: PretrainConfig, videos: VideoClips, step: int) -> Batch:
    """Draw the clips and masks of a step."""
    generator = step_generator(config.seed, step)
    pictures = config.encoder.image_tokenizer and bool(torch.rand((), generator=generator) < config.image_share)
    clips = []
    for _ in range(config.batch_size):
        clip = videos.sample(generator)
        if pictures:
            clip = clip[:1]
        elif not config.encoder.image_tokenizer and torch.rand((), generator=generator) < config.image_share:
            clip = clip[:1].expand_as(clip)
        clips.append(augment_clip(clip, config.encoder.image_size, config.augmentation, generator))
    grid = config.grid(1 if pictures else config.num_frames)
    masks = [mask.sample(grid, config.batch_size, step=step, generator=generator) for mask in config.masks]
    return Batch(torch.stack(clips), masks)


def batches(config: PretrainConfig, videos: VideoClips, first_step: int) -> Iterator[tuple[int, Batch]]:
    """Yield (step, batch), the next batch being made in a thread while the present one is used."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(make_batch, config, videos, first_step)
        for step in range(first_step, config.steps):
            batch = coming.result()
            if step + 1 < config.steps:
                coming = pool.submit(make_batch, config, videos, step + 1)
            yield step, batch


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


def health(result: dict[str, Tensor], loss: LossName = "l1") -> dict[str, float]:
    """Return the losses and what shows collapse.

    ``target_std`` is 1 for spread and 0 for collapsed targets; ``target_rank`` is their effective rank;
    ``loss_over_mean`` compares the loss with that of always predicting the mean target: 1 is nothing learned.
    """
    targets = result["targets"]
    mean_loss = prediction_loss(targets.mean(dim=(0, 1), keepdim=True), targets, loss)
    return {
        "loss": float(result["loss"]),
        "context_loss": float(result["context_loss"]),
        "variance_loss": float(result["variance_loss"]),
        "covariance_loss": float(result["covariance_loss"]),
        "grad_norm": float(result["grad_norm"]),
        "target_std": feature_std(targets),
        "target_rank": effective_rank(targets),
        "loss_over_mean": float(result["loss"] / mean_loss.clamp_min(1e-12)),
    }


def save(trainer: Pretrainer, next_step: int) -> None:
    """Write the encoder (the slow copy), the predictor and the training state."""
    out = trainer.config.out
    save_model(trainer.target_encoder, VIDEO_ENCODER, trainer.config.encoder, out / "encoder")
    save_model(trainer.predictor, MASKED_PREDICTOR, trainer.predictor.config, out / "predictor")
    save_training_state(out, modules=trainer.modules, optimizer=trainer.optimizer, step=next_step)


def pretrain(config: PretrainConfig) -> Path:
    """Run or resume pretraining and return the folder of the encoder checkpoint.

    Raises:
        FileNotFoundError: there is no such folder, or no video in it.
        VideoError: too many of the videos are broken.
        CheckpointError: `config.out` holds a run of another architecture.
    """
    paths = find_videos(config.data)
    trainer = Pretrainer(config)
    first_step = load_training_state(config.out, modules=trainer.modules, optimizer=trainer.optimizer)
    if first_step >= config.steps:
        logger.warning("%s has already been trained for %d steps; nothing to do", config.out, first_step)
        return config.out / "encoder"
    config.record("pretrain.json")
    videos = VideoClips(
        paths,
        num_frames=config.num_frames,
        fps=config.fps,
        cache_bytes=int(config.cache_gib * 2**30),
        max_bad_share=config.max_bad_share,
        progress=True,
    )
    logger.info("%s", videos.report())
    writer = MetricsWriter(config.out / "metrics.csv", first_step=first_step)
    with tqdm(total=config.steps, initial=first_step, desc="pretrain", unit="step", mininterval=1.0) as bar:
        for step, batch in batches(config, videos, first_step):
            result = trainer.step(step, batch)
            bar.update()
            if config.is_due(step, config.log_every):
                values = health(result, config.loss) | {
                    "learning_rate": trainer.learning_rate(step),
                    "ema": trainer.momentum(step),
                }
                writer.write(step, values)
                bar.set_postfix({name: f"{values[name]:.3f}" for name in ("loss", "target_std", "target_rank")})
            if config.is_due(step, config.save_every):
                save(trainer, step + 1)
    return config.out / "encoder"
