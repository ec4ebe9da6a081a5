"""Pictures in a row with text, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LINE = 24
"""Height of a line of text [px]."""
GAP = 6
"""Room between pictures [px]."""
BACKGROUND, TEXT, GOOD = (250, 250, 250), (40, 40, 40), (0, 130, 60)


class Tile(NamedTuple):
    """A picture and what is written at it."""

    above: str
    """Line of text above it."""
    picture: np.ndarray
    """(S, S, 3) uint8."""
    below: str = ""
    """Line of text below it."""
    good: bool = False
    """Whether the text below is green."""


def draw_row(tiles: Sequence[Tile], side: int, title: str = "") -> np.ndarray:
    """Draw pictures in a row.

    Args:
        tiles: the pictures from left to right.
        side: what each is enlarged to [px].
        title: written above all; empty: no line for it.

    Returns:
        Picture, (height, width, 3) uint8.
    """
    top, bottom = LINE if title else 0, LINE if any(tile.below for tile in tiles) else 0
    height = top + LINE + side + bottom + GAP
    canvas = Image.new("RGB", (GAP + len(tiles) * (side + GAP), height), BACKGROUND)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    draw.text((GAP, LINE / 2), title, fill=TEXT, font=ImageFont.load_default(16), anchor="lm")
    for column, tile in enumerate(tiles):
        left = GAP + column * (side + GAP)
        canvas.paste(Image.fromarray(tile.picture).resize((side, side), Image.Resampling.BICUBIC), (left, top + LINE))
        draw.text((left, top + LINE / 2), tile.above, fill=TEXT, font=font, anchor="lm")
        fill = GOOD if tile.good else TEXT
        draw.text((left, top + 1.5 * LINE + side), tile.below, fill=fill, font=font, anchor="lm")
    return np.array(canvas)
