"""From pictures to the numbers the encoder takes: one size, ImageNet's mean and deviation.

Letters: B pictures, S side of the square result.
"""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


def normalize_pixels(images: Tensor) -> Tensor:
    """Subtract ImageNet's mean and divide by its deviation; ``(..., 3, height, width)`` float in 0..1."""
    mean = images.new_tensor(IMAGE_MEAN).view(3, 1, 1)
    std = images.new_tensor(IMAGE_STD).view(3, 1, 1)
    return (images - mean) / std


def prepare_frames(frames: Tensor, image_size: int) -> Tensor:
    """Cut the centre square out of pictures, resize it and normalise it.

    Args:
        frames: ``(B, height, width, 3)`` uint8.
        image_size: side of the result [px].

    Returns:
        ``(B, 3, S, S)`` float32.

    Raises:
        ValueError: `frames` are not uint8 pictures.
    """
    if frames.dim() != 4 or frames.shape[-1] != 3 or frames.is_floating_point():
        raise ValueError(f"frames must be (B, height, width, 3) uint8, got {tuple(frames.shape)} {frames.dtype}")
    height, width = frames.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = frames[:, top : top + side, left : left + side]
    images = rearrange(square, "b h w c -> b c h w").float() / 255.0
    if side != image_size:
        images = F.interpolate(images, size=(image_size, image_size), mode="bilinear", antialias=True)
    return normalize_pixels(images)
