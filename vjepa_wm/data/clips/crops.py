"""Augmentation of pretraining clips: one random resized crop and flip for the whole clip, then normalisation.

The cut is made where the clip is decoded, the rest where it is used.

Letters: T frames, S side of the square result.

Source: V-JEPA 2 (arXiv 2506.09985), appendix on pretraining.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from vjepa_wm.models.pixels import fit_channels, normalize_pixels

_MAX_DRAWS = 10


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """What may happen to a pretraining clip."""

    crop_scale: tuple[float, float] = (0.3, 1.0)
    """Smallest and largest share of the picture's area that is cut out."""
    crop_aspect: tuple[float, float] = (0.75, 1.35)
    """Smallest and largest width over height of the cut."""
    flip_probability: float = 0.5
    """Chance of a left-right flip."""

    def __post_init__(self) -> None:
        for name in ("crop_scale", "crop_aspect"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high:
                raise ValueError(f"{name} must be an ascending pair of positive numbers, got {(low, high)}")
        if self.crop_scale[1] > 1.0:
            raise ValueError(f"crop_scale must not exceed 1, got {self.crop_scale}")
        if not 0.0 <= self.flip_probability <= 1.0:
            raise ValueError(f"flip_probability must be within 0..1, got {self.flip_probability}")


def draw_crop(
    config: AugmentationConfig, height: int, width: int, generator: torch.Generator
) -> tuple[int, int, int, int]:
    """Draw a crop (top, left, height, width) [px]; the largest centred one of a legal aspect if ten draws miss."""
    low, high = (math.log(value) for value in config.crop_aspect)
    for _ in range(_MAX_DRAWS):
        scale, shape, top, left = torch.rand(4, generator=generator).tolist()
        area = height * width * (config.crop_scale[0] + scale * (config.crop_scale[1] - config.crop_scale[0]))
        aspect = math.exp(low + shape * (high - low))
        rows, columns = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < rows <= height and 0 < columns <= width:
            return int(top * (height - rows + 1)), int(left * (width - columns + 1)), rows, columns
    aspect = min(max(width / height, config.crop_aspect[0]), config.crop_aspect[1])
    rows, columns = min(height, round(width / aspect)), min(width, round(height * aspect))
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def cut_clip(clip: Tensor, config: AugmentationConfig, generator: torch.Generator) -> tuple[Tensor, bool]:
    """Cut the same random part out of all frames of a clip, and draw whether to flip it.

    Args:
        clip: (T, height, width, 3) uint8.
        config: what may happen to it.
        generator: decides what does.

    Returns:
        The part, a view of the clip, and the flip; `finish_clip` makes of them what a network takes.
    """
    top, left, rows, columns = draw_crop(config, clip.shape[1], clip.shape[2], generator)
    flip = bool(torch.rand((), generator=generator) < config.flip_probability)
    return clip[:, top : top + rows, left : left + columns], flip


def finish_clip(cut: Tensor, image_size: int, flip: bool, channels: int = 3) -> Tensor:
    """Resize what was cut out of a clip, maybe flip it, and normalise it.

    Args:
        cut: (T, height, width, 3) uint8.
        image_size: side of the result [px].
        flip: whether to turn it left to right.
        channels: as of `fit_channels`.

    Returns:
        (channels, T, S, S) float32, on the device of the cut.
    """
    frames = rearrange(cut, "t h w c -> t c h w").float() / 255.0
    frames = F.interpolate(frames, size=(image_size, image_size), mode="bilinear", align_corners=False)
    if flip:
        frames = frames.flip(-1)
    return rearrange(fit_channels(normalize_pixels(frames), channels), "t c h w -> c t h w")
