"""From pictures to the numbers an encoder takes: one size, ImageNet's mean and deviation.

Why this file exists: features depend on how pictures were shrunk, and V-JEPA 2 was published with three ways of doing
it. Weights measured with one of them give somewhat different features with another, so each is here under a name.

============  ========================================  ==================  ====================================
way           call                                      cut out             resized
============  ========================================  ==================  ====================================
evaluation    `prepare_clip(frames, S)`,                centre S x S of     in integers as OpenCV does, without
              `prepare_views(frames, S)`                short side 8/7 S    antialiasing, to whole grey levels
demo          `prepare_clip(.., antialias=True)`        the same            with antialiasing, to whole grey levels
V-JEPA 2-AC   `prepare_frames(.., antialias=False)`     centre square,      as floats, without antialiasing
                                                        all of it
============  ========================================  ==================  ====================================

The first agrees with OpenCV 4.14 and 5.0, the second with torchvision 0.28 on tensors, to the last grey level. Hugging
Face's processor (transformers 5.23) resizes as the demo does, but 12 to 19 % of its values come out one grey level
higher or lower, and where half a pixel of crop offset is left it goes down instead of to the even side (1280 x 720 to
256: one pixel further left). The world models trained with this package use `prepare_frames` with antialiasing.

Letters: B clips or pictures, T frames, S side of the square result, V views.

Source: official code of V-JEPA 2 (arXiv 2506.09985): evaluation, demo and AC post-training.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from vjepa_wm.checks import check_at_least

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
SHORT_SIDE = 256 / 224
"""Short side of the resized picture over the side of the crop, in the official evaluation."""
MAX_ASPECT = 16
"""Long side over short side up to which `prepare_clip` resizes all of a picture before it cuts out the centre."""
_GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""Of red, green and blue in brightness. Source: ITU-R BT.601."""
_WEIGHT_BITS = 11
"""Fraction bits of OpenCV's interpolation weights."""


def normalize_pixels(images: Tensor) -> Tensor:
    """Subtract ImageNet's mean and divide by its deviation.

    Args:
        images: (..., 3, height, width) float in 0..1.

    Returns:
        (..., 3, height, width), mean 0 and deviation 1 over ImageNet.
    """
    mean = images.new_tensor(IMAGE_MEAN).view(3, 1, 1)
    std = images.new_tensor(IMAGE_STD).view(3, 1, 1)
    return (images - mean) / std


def fit_channels(images: Tensor, channels: int) -> Tensor:
    """Return normalised RGB pictures as a network with so many colour channels takes them: as they are, or grey.

    Args:
        images: (..., 3, height, width), as `normalize_pixels` returns them.
        channels: 3, or 1 for the weighted mean of the three.

    Returns:
        (..., channels, height, width).

    Raises:
        ValueError: if pictures cannot have so many channels.
    """
    if channels == 3:
        return images
    if channels != 1:
        raise ValueError(f"in_channels must be 3 (RGB) or 1 (grey) for pictures and videos, got {channels}")
    return (images * images.new_tensor(_GREY_WEIGHTS).view(3, 1, 1)).sum(dim=-3, keepdim=True)


def fit_clip_channels(clips: Tensor, channels: int) -> Tensor:
    """Do for clips (..., 3, T, height, width) what `fit_channels` does for pictures."""
    return fit_channels(clips.transpose(-4, -3), channels).transpose(-4, -3)


def prepare_frames(frames: Tensor, image_size: int, *, antialias: bool = True) -> Tensor:
    """Cut the centre square out of pictures, resize it and normalise it.

    Args:
        frames: (B, height, width, 3) uint8.
        image_size: side of the result [px].
        antialias: whether shrinking averages over all pixels; V-JEPA 2-AC itself does not.

    Returns:
        (B, 3, S, S) float32.

    Raises:
        ValueError: if `frames` are not uint8 pictures.
    """
    _check_frames(frames, "(B, height, width, 3)", (4,), image_size)
    height, width = frames.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = frames[:, top : top + side, left : left + side]
    images = rearrange(square, "b h w c -> b c h w").float() / 255.0
    if side != image_size:
        images = F.interpolate(images, size=(image_size, image_size), mode="bilinear", antialias=antialias)
    return normalize_pixels(images)


def prepare_clip(frames: Tensor, image_size: int, *, antialias: bool = False) -> Tensor:
    """Resize, cut out the centre and normalise as the official evaluation of encoders and probes does.

    The short side becomes `int(256 / 224 * image_size)`, then the centre is cut out. Small pictures are enlarged. Of a
    strip longer than 16 times its width only the middle is resized, or one of 1 x 20,000 would become a giant.

    Args:
        frames: (T, height, width, 3) or (B, T, height, width, 3) uint8.
        image_size: side of the result [px].
        antialias: False resizes as the evaluation does, True as the demo and Hugging Face do (see the module).

    Returns:
        (3, T, S, S) or (B, 3, T, S, S) float32.

    Raises:
        ValueError: if `frames` are not uint8 pictures.
    """
    _check_frames(frames, "([B,] T, height, width, 3)", (4, 5), image_size)
    frames = _middle(frames)
    height, width = short_side_size(frames.shape[-3], frames.shape[-2], int(SHORT_SIDE * image_size))
    # Half a pixel goes to the even side: Python's round, which the reference uses too.
    top, left = round((height - image_size) / 2), round((width - image_size) / 2)
    rows, columns = slice(top, top + image_size), slice(left, left + image_size)
    return _to_clip(_resize(frames, (height, width), rows, columns, antialias))


def prepare_views(frames: Tensor, image_size: int, *, num_views: int = 3) -> Tensor:
    """Cut several squares along the long side, as the official evaluation with several views does.

    The short side becomes `image_size`, without a margin; the first view lies at the left or top, the last one at the
    other end (up to the rounding of the step).

    Args:
        frames: (T, height, width, 3) or (B, T, height, width, 3) uint8.
        image_size: side of the result [px].
        num_views: views, at least 2; the evaluation with one view is `prepare_clip`.

    Returns:
        (V, 3, T, S, S) or (B, V, 3, T, S, S) float32.

    Raises:
        ValueError: if `frames` are not uint8 pictures, or there are fewer than two views.
    """
    _check_frames(frames, "([B,] T, height, width, 3)", (4, 5), image_size)
    if num_views < 2:
        raise ValueError(f"num_views must be at least 2 (for one view call prepare_clip), got {num_views}")
    height, width = short_side_size(frames.shape[-3], frames.shape[-2], image_size)
    step = (max(height, width) - image_size) // (num_views - 1)
    short, views = slice(0, image_size), []
    for view in range(num_views):
        along = slice(view * step, view * step + image_size)
        rows, columns = (along, short) if height > width else (short, along)
        views.append(_to_clip(_resize(frames, (height, width), rows, columns, antialias=False)))
    return torch.stack(views, dim=-5)


def short_side_size(height: int, width: int, short: int) -> tuple[int, int]:
    """Return height and width after the shorter of them was scaled to `short` [px]; the longer is rounded down."""
    if width < height:
        return int(short * height / width), short
    return short, int(short * width / height)


def _middle(frames: Tensor) -> Tensor:
    """Cut the middle out of strips (..., height, width, 3) that are longer than `MAX_ASPECT` times their width."""
    for along, across in ((-3, -2), (-2, -3)):
        left_out = frames.shape[along] - MAX_ASPECT * frames.shape[across]
        if left_out > 0:
            frames = frames.narrow(along, left_out // 2, frames.shape[along] - left_out)
    return frames


def _check_frames(frames: Tensor, shape: str, dims: tuple[int, ...], image_size: int) -> None:
    if frames.dim() not in dims or frames.shape[-1] != 3 or frames.dtype != torch.uint8 or frames.numel() == 0:
        raise ValueError(f"frames must be non-empty {shape} uint8, got {tuple(frames.shape)} {frames.dtype}")
    check_at_least(1, image_size=image_size)


def _to_clip(frames: Tensor) -> Tensor:
    """Normalise (..., T, height, width, 3) uint8 and bring colours to the front."""
    images = normalize_pixels(rearrange(frames, "... t h w c -> ... t c h w").float() / 255.0)
    return rearrange(images, "... t c h w -> ... c t h w").contiguous()


def _resize(frames: Tensor, size: tuple[int, int], rows: slice, columns: slice, antialias: bool) -> Tensor:
    """Resize (..., height, width, 3) uint8 to `size` and cut out rows and columns of the result."""
    if tuple(frames.shape[-3:-1]) == size:
        return frames[..., rows, columns, :]
    if not antialias:
        return _resize_like_opencv(frames, size, rows, columns)
    images = rearrange(frames.flatten(0, -4), "b h w c -> b c h w").float()
    images = F.interpolate(images, size=size, mode="bilinear", antialias=True)[..., rows, columns]
    levels = rearrange(images.round().clamp(0, 255).to(torch.uint8), "b c h w -> b h w c")
    return levels.reshape(*frames.shape[:-3], *levels.shape[1:])


def _resize_like_opencv(frames: Tensor, size: tuple[int, int], rows: slice, columns: slice) -> Tensor:
    """Resize by fixed-point bilinear interpolation, with OpenCV's weights and cut-off bits.

    Floats rounded at the end would differ from OpenCV by one grey level in an eighth of the values.
    """
    y0, y1, v0, v1 = _neighbours(frames.shape[-3], size[0], rows, frames.device)
    x0, x1, u0, u1 = _neighbours(frames.shape[-2], size[1], columns, frames.device)

    def blend_columns(y: Tensor) -> Tensor:
        """Blend the neighbours in each of the rows y."""
        lines = frames.index_select(-3, y)
        left = lines.index_select(-2, x0).int().mul_(u0[:, None])
        return left.addcmul_(lines.index_select(-2, x1).int(), u1[:, None]) >> 4

    above = blend_columns(y0).mul_(v0[:, None, None]) >> 16
    below = blend_columns(y1).mul_(v1[:, None, None]) >> 16
    return ((above + below + 2) >> 2).to(torch.uint8)  # 11 + 11 weight bits less 4 and 16 leave 2


def _neighbours(length: int, resized: int, kept: slice, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Find the two pixels each kept pixel lies between, and their integer weights.

    Returns:
        First and second index, int64, and their weights, int32 in units of 2**-11; four times (kept,).
    """
    scale = 1.0 / (resized / length)
    position = ((torch.arange(kept.start, kept.stop, dtype=torch.float64) + 0.5) * scale - 0.5).float()
    first = position.floor()
    share = position - first
    unit = 2**_WEIGHT_BITS
    weights = ((1 - share) * unit).round().int(), (share * unit).round().int()
    indices = first.long().clamp(0, length - 1), (first.long() + 1).clamp(0, length - 1)
    return indices[0].to(device), indices[1].to(device), weights[0].to(device), weights[1].to(device)
