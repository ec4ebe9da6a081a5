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
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from vjepa_wm.data.transforms import augment_clip
from vjepa_wm.data.video import find_videos
from vjepa_wm.data.video_clips import VideoClips
from vjepa_wm.models.checkpoint import MASKED_PREDICTOR, VIDEO_ENCODER, save_model
from vjepa_wm.training.checkpoint import load_training_state, save_training_state
from vjepa_wm.training.losses import LossName, prediction_loss
from vjepa_wm.training.metrics import MetricsWriter, effective_rank, feature_std
from vjepa_wm.training.pretrain_config import PretrainConfig
from vjepa_wm.training.pretrainer import Batch, Pretrainer
from vjepa_wm.training.run import step_generator

logger = logging.getLogger(__name__)


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
