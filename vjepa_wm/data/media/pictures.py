"""Picture files to uint8 arrays.

Why this file exists: pictures come with transparency, palettes, 16 bits and notes on how to turn them; whoever reads
one wants plain upright red, green and blue, or a reason why not.

Letters: H height, W width.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

PICTURE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
_EIGHT_BIT_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr")
# All that Pillow raised on some thousand damaged files of each format; UnidentifiedImageError is an OSError.
_DAMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class PictureError(ValueError):
    """A picture file that cannot be read; the message says why."""


def read_picture(path: str | os.PathLike) -> np.ndarray:
    """Read a picture upright and in colour; transparent parts become white, of an animation the first frame is read.

    Args:
        path: a file in any format that Pillow knows.

    Returns:
        uint8 RGB, (H, W, 3).

    Raises:
        FileNotFoundError: if there is no such file.
        PictureError: if the file is damaged, no picture, or has more than 8 bits per colour.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"picture does not exist: {path}")
    try:
        with Image.open(path) as picture:
            if picture.mode not in _EIGHT_BIT_MODES:
                raise PictureError(f"picture must have 8 bits per colour, got Pillow's mode {picture.mode} in {path}")
            return np.array(_flatten(ImageOps.exif_transpose(picture)))
    except PictureError:
        raise
    except _DAMAGE as error:
        raise PictureError(f"cannot read {path} as a picture: {error}") from error


def _flatten(picture: Image.Image) -> Image.Image:
    """Lay a picture on white."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
