"""Settings by name: the published recipes, and small ones.

Where the published configuration files and the papers disagree, the papers hold: see `docs/pretraining.md`.

Source: V-JEPA (arXiv 2404.08471), appendix; V-JEPA 2 (arXiv 2506.09985), section 2 and appendix; V-JEPA 2.1
(arXiv 2603.14482), section 2 and appendix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from vjepa_wm.data.masks.multi_block import vjepa2_masks
from vjepa_wm.models.encoder_config import (
    VideoEncoderConfig,
    vit_base,
    vit_giant,
    vit_gigantic,
    vit_huge,
    vit_large,
    vjepa21,
)
from vjepa_wm.training.pretrain.config import ComputeConfig, LoaderConfig, PretrainConfig, RecipeName
from vjepa_wm.training.pretrain.curriculum import Stage
from vjepa_wm.training.pretrain.objective import ObjectiveConfig
from vjepa_wm.training.pretrain.streams import MasksConfig, PicturesConfig


def _published(where: dict, encoder: VideoEncoderConfig, *, predictor_depth: int) -> PretrainConfig:
    """Return what all published recipes share."""
    return PretrainConfig(
        **where,
        encoder=encoder,
        predictor_dim=384,
        predictor_depth=predictor_depth,
        predictor_heads=12,
        num_frames=16,
        masks=MasksConfig(settings=vjepa2_masks(), lengths="micro_batch"),
        batch_size=3072,
        precision="bf16",
        seed=239,
        log_every=10,
        save_every=1500,
        loader=LoaderConfig(cache_gib=0.0, workers=8),
        compute=ComputeConfig(micro_batch_size=24, recompute_activations=True),
    )


def _vjepa1(where: dict, encoder: VideoEncoderConfig) -> PretrainConfig:
    """Return the recipe of V-JEPA: no pictures, cosine schedules that outlast the run by a quarter."""
    return replace(
        _published(where, encoder, predictor_depth=12),
        fps=7.5,  # every fourth frame of 30
        pictures=PicturesConfig(share=0.0),
        objective=ObjectiveConfig(context_loss_weight=0.0),
        steps=90_000,
        learning_rate_start=2e-4,
        learning_rate=6.25e-4,
        learning_rate_end=1e-6,
        schedule="cosine",
        warmup_share=12 / 90,
        schedule_stretch=1.25,
        weight_decay=0.04,
        weight_decay_end=0.4,
        clip_grad_norm=10.0,
        ema_start=0.998,
        ema_end=1.0,
    )


def _with_cooldown(config: PretrainConfig, plateau: int, cooldown: Stage) -> PretrainConfig:
    """Return a run with the schedules of V-JEPA 2: 12,000 steps of rise, a plateau, and a fall on longer clips."""
    steps = plateau + cooldown.steps
    return replace(
        config,
        fps=4.0,
        steps=steps,
        stages=(Stage(steps=plateau), cooldown),
        learning_rate_start=1e-4,
        learning_rate=5.25e-4,
        learning_rate_end=1e-6,
        warmup_share=12_000 / steps,
        decay_share=cooldown.steps / steps,
        clip_grad_norm=None,
        ema_start=0.99925,
        ema_end=0.99925,
    )


def _vjepa2(
    where: dict, encoder: VideoEncoderConfig, *, cooldown_size: int, cooldown_micro_batch: int
) -> PretrainConfig:
    """Return the recipe of V-JEPA 2."""
    cooldown = Stage(steps=12_000, num_frames=64, image_size=cooldown_size, micro_batch_size=cooldown_micro_batch)
    config = _published(where, encoder, predictor_depth=12)
    config = replace(config, pictures=PicturesConfig(share=0.25), objective=ObjectiveConfig(context_loss_weight=0.0))
    return _with_cooldown(config, 240_000, cooldown)


def _vjepa21(where: dict, encoder: VideoEncoderConfig) -> PretrainConfig:
    """Return the recipe of V-JEPA 2.1: dense loss on four levels, pictures by themselves."""
    config = _published(where, encoder, predictor_depth=24)
    config = replace(
        config,
        batch_size=128,
        pictures=PicturesConfig(share=0.5, batch_size=2304, masks="vjepa2.1-pictures", context_loss_weight=0.7),
        objective=ObjectiveConfig(context_loss_weight=0.5, context_start_share=15 / 147, context_warmup_share=15 / 147),
        compute=replace(config.compute, micro_batch_size=1),
    )
    return _with_cooldown(config, 135_000, Stage(steps=12_000, num_frames=64, image_size=384, picture_size=512))


def _one_gpu(where: dict) -> PretrainConfig:
    """Return settings for one GPU and some days, never tuned: ViT-B, the loss of V-JEPA 2.1 on one level."""
    return PretrainConfig(
        **where,
        encoder=vit_base(256),
        predictor_dim=384,
        predictor_depth=12,
        predictor_heads=12,
        num_frames=16,
        fps=4.0,
        masks=MasksConfig(settings=tuple(replace(mask, truncation="random") for mask in vjepa2_masks())),
        steps=100_000,
        batch_size=128,
        learning_rate=3e-4,
        ema_start=0.998,
        ema_end=0.9999,
        precision="bf16",
        save_every=1000,
        loader=LoaderConfig(workers=8),
        compute=ComputeConfig(micro_batch_size=64, compile=True),
    )


_RECIPES: dict[RecipeName, Callable[[dict], PretrainConfig]] = {
    "cpu": lambda where: PretrainConfig(**where),
    "gpu": _one_gpu,
    "vjepa1-large": lambda where: _vjepa1(where, replace(vit_large(224), rope=None)),
    "vjepa1-huge": lambda where: _vjepa1(where, replace(vit_huge(224), rope=None)),
    "vjepa2-large": lambda where: _vjepa2(where, vit_large(256), cooldown_size=256, cooldown_micro_batch=12),
    "vjepa2-huge": lambda where: _vjepa2(where, vit_huge(256), cooldown_size=256, cooldown_micro_batch=12),
    "vjepa2-giant": lambda where: _vjepa2(where, vit_giant(256), cooldown_size=256, cooldown_micro_batch=6),
    "vjepa2-giant-384": lambda where: _vjepa2(where, vit_giant(256), cooldown_size=384, cooldown_micro_batch=6),
    "vjepa2.1-large": lambda where: _vjepa21(where, vjepa21(vit_large(256))),
    "vjepa2.1-giant": lambda where: _vjepa21(where, vjepa21(vit_giant(256))),
    "vjepa2.1-gigantic": lambda where: _vjepa21(where, vjepa21(vit_gigantic(256))),
}


def recipe(name: RecipeName, *, data: Path | Sequence[Path], out: Path) -> PretrainConfig:
    """Return the options of a recipe; `dataclasses.replace` changes some of them.

    Args:
        name: cpu is the default of every option; gpu a ViT-B for one GPU; the others are published.
        data: where clips come from.
        out: folder of the run.

    Raises:
        ValueError: if there is no such recipe.
    """
    if name not in _RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(_RECIPES)}, got {name!r}")
    return _RECIPES[name]({"data": data, "out": out, "recipe": name})
