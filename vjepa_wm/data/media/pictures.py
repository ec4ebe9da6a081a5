"""Picture files to uint8 arrays.

Why this file exists: pictures come with transparency, palettes, 16 bits and notes on how to turn them; whoever reads
one wants plain upright red, green and blue, or a reason why not.

Letters: H height, W width.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vjepa_wm.safe_files import describe_start

PICTURE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
# What is decoded by Pillow itself; others of its formats start a program that the machine may have, such as EPS.
_FORMATS = (
    *("AVIF", "BMP", "DDS", "DIB", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "PSD", "QOI"),
    *("SGI", "TGA", "TIFF", "WEBP", "XBM", "XPM"),
)
_EIGHT_BIT_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr")
_ORIENTATION = 0x112
# What turns a picture upright, by the orientation that its EXIF notes.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PictureError(ValueError):
    """A picture file that cannot be read; the message says why."""


def read_picture(path: str | os.PathLike) -> np.ndarray:
    """Read a picture upright and in colour; transparent parts become white, of an animation the first frame is read.

    Args:
        path: a file in one of some twenty formats that Pillow decodes, whatever its name.

    Returns:
        uint8 RGB, (H, W, 3).

    Raises:
        FileNotFoundError: if there is no such file.
        PictureError: if the file is damaged, no picture, or has more than 8 bits per colour.
    """
    path = Path(path)
    if not os.path.isfile(path):  # which, unlike Path's, takes names that are too long for the disk
        raise FileNotFoundError(f"picture does not exist: {path}")
    return _read(path, str(path))


def decode_picture(content: bytes, label: str) -> np.ndarray:
    """Decode the content of a picture file as `read_picture` does.

    Args:
        content: the file's bytes.
        label: what messages call it.

    Returns:
        uint8 RGB, (H, W, 3).

    Raises:
        PictureError: if it is damaged, no picture, or has more than 8 bits per colour.
    """
    return _read(BytesIO(content), label)


def _read(source: Path | BytesIO, label: str) -> np.ndarray:
    try:
        check_sums(source)
        with open_picture(source) as picture:
            if picture.mode not in _EIGHT_BIT_MODES:
                raise PictureError(f"picture must have 8 bits per colour, got Pillow's mode {picture.mode} in {label}")
            picture.load()
            turn = _TURNS.get(_orientation(picture))
            return np.array(_flatten(picture if turn is None else picture.transpose(turn)))
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        origin = describe_start(source) if isinstance(source, Path) else ""
        raise PictureError(
            f"cannot read {label} as a picture{origin or ': it is in no format that is known'}"
        ) from error
    except Exception as error:  # of damaged files Pillow's decoders raise whatever they stumble over
        raise PictureError(f"cannot read {label} as a picture: {str(error) or type(error).__name__}") from error


def open_picture(source: Path | BytesIO) -> Image.Image:
    """Open a picture in one of the formats that are read, as far as this Pillow has them; errors are Pillow's own."""
    Image.init()
    return Image.open(source, formats=[name for name in _FORMATS if name in Image.OPEN])


def check_sums(source: Path | BytesIO) -> None:
    """Raise what Pillow does where a format has check sums of its parts and they are wrong; it reads pixels without."""
    with open_picture(source) as picture:
        if picture.format == "PNG":
            picture.verify()
    if isinstance(source, BytesIO):
        source.seek(0)


def _orientation(picture: Image.Image) -> int:
    """Return the orientation that is noted beside the pixels; 1, upright, where none can be read."""
    try:
        noted = picture.getexif().get(_ORIENTATION)
    except Exception:  # as above; the pixels are sound whatever stands beside them
        return 1
    return noted if isinstance(noted, int) else 1


def _flatten(picture: Image.Image) -> Image.Image:
    """Lay a picture on white."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
