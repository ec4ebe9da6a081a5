"""Colours as the eye tells them apart: CIELAB, in which the distance of two colours is about how different they look.

Source: CIE 15:2004, Colorimetry, section 8.2.1; IEC 61966-2-1 for sRGB, whose white is D65.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _TO_XYZ.sum(axis=1)
_BEND = 6 / 29  # below it, cube roots go on as a straight line


def to_lab(rgb: ArrayLike) -> np.ndarray:
    """Turn sRGB, (..., 3) in 0 to 1, into lightness, green to red and blue to yellow, (..., 3)."""
    rgb = np.asarray(rgb, np.float64)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T / _WHITE
    x, y, z = np.moveaxis(np.where(xyz > _BEND**3, np.cbrt(xyz), xyz / (3 * _BEND**2) + 4 / 29), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def from_lab(lab: ArrayLike) -> np.ndarray:
    """Turn what `to_lab` returns back, (..., 3); what sRGB cannot show is clipped."""
    lightness, red, yellow = np.moveaxis(np.asarray(lab, np.float64), -1, 0)
    y = (lightness + 16) / 116
    bent = np.stack([y + red / 500, y, y - yellow / 200], axis=-1)
    xyz = np.where(bent > _BEND, bent**3, 3 * _BEND**2 * (bent - 4 / 29)) * _WHITE
    linear = np.clip(xyz @ np.linalg.inv(_TO_XYZ).T, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def least_distance(lab: np.ndarray, others: np.ndarray) -> float:
    """Return how far a colour, (3,) of CIELAB, is from the nearest of others, (N, 3)."""
    return float(np.linalg.norm(others - lab, axis=-1).min())
