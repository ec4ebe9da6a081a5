"""A picture of what an encoder sees: the three main directions of its features as red, green and blue.

Patches with similar features get similar colours, in all rows of the picture alike.

Letters: F frames shown, S side of a frame, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

TILE_SIZE = 192
"""About the side of a tile [px]; it is a multiple of the rows and of the columns of patches."""
GAP = 6
PAIR_GAP = 18
PAIRS_IN_LINE = 4
CAPTION_SIZE = 26
FONT_SIZE = 15
BACKGROUND, TEXT = (250, 250, 250), (40, 40, 40)
CUT_SHARE = 0.01
"""Share of the patches at either end of a colour that are cut off, so that a few odd ones do not pale all others."""


@dataclass(frozen=True, kw_only=True)
class FeaturePanel:
    """What is shown of one input."""

    title: str
    """Shown above it."""
    frames: np.ndarray
    """What the encoder saw, uint8 (F, S, S, 3)."""
    features: Tensor
    """Features of the patches of each frame, (F, rows, columns, D)."""


def fit_pca(features: Tensor, num_components: int = 3) -> tuple[Tensor, Tensor]:
    """Find the directions in which features vary most.

    Args:
        features: (samples, D).
        num_components: how many directions.

    Returns:
        Mean (D,) and directions (num_components, D) of length 1, most variance first, float64. The largest
        entry of each is positive, so that colours do not depend on the solver.

    Raises:
        ValueError: if there are fewer than two samples, or fewer dimensions than directions.
    """
    if features.dim() != 2 or features.shape[0] < 2 or features.shape[1] < num_components:
        raise ValueError(f"features must be (at least 2, at least {num_components}), got {tuple(features.shape)}")
    features = features.double()
    mean = features.mean(dim=0)
    centred = features - mean
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    directions = vectors.flip(-1)[:, :num_components].T
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    return mean, directions * largest.sign()


def color_features(features: Sequence[Tensor]) -> list[np.ndarray]:
    """Colour features by their three main directions, fitted and scaled over all of them together.

    Args:
        features: each (..., D).

    Returns:
        For each, uint8 (..., 3).

    Raises:
        ValueError: if `fit_pca` raises it.
    """
    mean, directions = fit_pca(torch.cat([part.flatten(0, -2) for part in features]))
    projected = [(part.double() - mean) @ directions.T for part in features]
    everything = torch.cat([part.flatten(0, -2) for part in projected])
    low, high = np.quantile(everything.numpy(), (CUT_SHARE, 1 - CUT_SHARE), axis=0)
    span = np.maximum(high - low, 1e-12)
    return [np.rint(255 * np.clip((part.numpy() - low) / span, 0, 1)).astype(np.uint8) for part in projected]


def draw_pca(panels: Sequence[FeaturePanel]) -> Image.Image:
    """Draw each frame, and beside it the colours of its patches.

    Args:
        panels: at least one; all with the same grid of patches. They follow each other in lines as words do.

    Returns:
        The picture.

    Raises:
        ValueError: if `fit_pca` raises it.
    """
    colors = color_features([panel.features for panel in panels])
    both = math.lcm(*panels[0].features.shape[1:3])
    tile = both * max(1, round(TILE_SIZE / both))
    pair, line_height = 2 * tile + GAP + PAIR_GAP, CAPTION_SIZE + tile + GAP
    places = _place([len(panel.frames) for panel in panels])
    most = max(column + len(panel.frames) for (_, column), panel in zip(places, panels, strict=True))
    size = (2 * GAP + most * pair - PAIR_GAP, (places[-1][0] + 1) * line_height)
    canvas = Image.new("RGB", size, BACKGROUND)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(FONT_SIZE)
    for panel, color, (line, column) in zip(panels, colors, places, strict=True):
        left, top = GAP + column * pair, line * line_height
        title = _shorten(panel.title, len(panel.frames) * pair - PAIR_GAP, font)
        draw.text((left, top + CAPTION_SIZE / 2), title, fill=TEXT, font=font, anchor="lm")
        for frame, patch_colors in zip(panel.frames, color, strict=True):
            seen = Image.fromarray(frame).resize((tile, tile), Image.Resampling.BICUBIC)
            canvas.paste(seen, (left, top + CAPTION_SIZE))
            shown = Image.fromarray(patch_colors).resize((tile, tile), Image.Resampling.NEAREST)
            canvas.paste(shown, (left + tile + GAP, top + CAPTION_SIZE))
            left += pair
    return canvas


def _place(widths: Sequence[int]) -> list[tuple[int, int]]:
    """Fill lines one after the other; returns line and first column of each panel."""
    places, line, column = [], 0, 0
    for width in widths:
        if column and column + width > PAIRS_IN_LINE:
            line, column = line + 1, 0
        places.append((line, column))
        column += width
    return places


def _shorten(text: str, width: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Cut the middle out of a text until it fits into a width [px]."""
    if font.getlength(text) <= width:
        return text
    kept = len(text) - 1
    while kept > 2 and font.getlength(text[: (kept + 1) // 2] + "..." + text[-(kept // 2) :]) > width:
        kept -= 1
    return text[: (kept + 1) // 2] + "..." + text[-(kept // 2) :]
