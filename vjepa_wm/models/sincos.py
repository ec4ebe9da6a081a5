"""Fixed sine-cosine positions, the alternative to rotary ones (V-JEPA 1, I-JEPA).

The table is computed from the training grid, never stored; another resolution interpolates it.

Letters: T, H, W tokens in time, rows, columns; N tokens; D width.

Source: V-JEPA (arXiv 2404.08471), appendix; MAE (arXiv 2111.06377) for the two-dimensional form.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

Grid = tuple[int, int, int]
_BASE = 10000.0


class FixedForm(NamedTuple):
    """What a table of fixed positions is made of."""

    grid: Grid
    """Tokens in time, rows and columns."""
    uniform_power: bool
    """Whether the three axes have equal shares."""
    short_time: bool
    """Whether time has the channels that are left, and not columns."""


def axis_code(positions: Tensor, size: int) -> Tensor:
    """Code positions (N,) in `size` numbers: sines of all frequencies, then cosines; (N, size) float64."""
    half = size // 2
    frequencies = _BASE ** (-torch.arange(half, dtype=torch.float64, device=positions.device) / half)
    angles = positions.double().unsqueeze(-1) * frequencies
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


def axis_widths(embed_dim: int, uniform_power: bool, short_time: bool = False) -> tuple[int, int, int]:
    """Return how many channels time, rows and columns get; together at least `embed_dim`, the excess is cut.

    Of 1,024 equal shares are 342 / 342 / 342, of which columns lose two, or with `short_time` 340 / 342 / 342.
    """
    if uniform_power:
        share = 2 * math.ceil(embed_dim / 6)
        return max(0, embed_dim - 2 * share) if short_time else share, share, share
    return embed_dim // 2, embed_dim // 4, embed_dim // 4


def fixed_positions(
    embed_dim: int,
    grid: Grid,
    uniform_power: bool = False,
    *,
    short_time: bool = False,
    image: bool = False,
    device: torch.device | None = None,
) -> Tensor:
    """Make the table of a grid.

    Args:
        embed_dim: width D, a multiple of 8; of 4 for images, of 2 with `uniform_power`.
        grid: tokens in time, rows and columns.
        uniform_power: equal shares for the three axes instead of half for time and a quarter each for rows, columns.
        short_time: whether of equal shares time has what is left, see `axis_widths`.
        image: the two-dimensional form of image models: half for rows, half for columns, none for time.
        device: where the table is made.

    Returns:
        Positions in time-major order, (T * H * W, D) float32.

    Raises:
        ValueError: if the width does not split.
    """
    divisor = 2 if uniform_power and not image else 4 if image else 8
    if embed_dim % divisor:
        raise ValueError(f"embed_dim must be a multiple of {divisor} for these fixed positions, got {embed_dim}")
    ids = torch.arange(grid[0] * grid[1] * grid[2], device=device)
    per_frame = grid[1] * grid[2]
    time, row, column = ids // per_frame, ids % per_frame // grid[2], ids % grid[2]
    if image:
        codes = [axis_code(row, embed_dim // 2), axis_code(column, embed_dim // 2)]
    else:
        widths = axis_widths(embed_dim, uniform_power, short_time)
        codes = [axis_code(axis, width) for axis, width in zip((time, row, column), widths, strict=True)]
    return torch.cat(codes, dim=-1)[:, :embed_dim].float()


def fixed_positions_for(
    embed_dim: int,
    trained: Grid,
    grid: Grid,
    uniform_power: bool = False,
    *,
    short_time: bool = False,
    image: bool = False,
    device: torch.device | None = None,
) -> Tensor:
    """Return the positions of another grid than the trained one: the first steps of it, or an interpolation.

    Fewer steps at the trained resolution take the table's beginning. Anything else interpolates it, linearly for
    clips and cubically for images. Arguments as `fixed_positions`.

    Returns:
        (T * H * W, D) float32.

    Raises:
        ValueError: if the width does not split.
    """
    table = fixed_positions(embed_dim, trained, uniform_power, short_time=short_time, image=image, device=device)
    if grid[1:] == trained[1:] and grid[0] <= trained[0]:
        return table[: grid[0] * grid[1] * grid[2]]
    volume = rearrange(table, "(t h w) d -> 1 d t h w", t=trained[0], h=trained[1])
    if image:
        volume = F.interpolate(volume.squeeze(2), size=grid[1:], mode="bicubic").unsqueeze(2)
    else:
        volume = F.interpolate(volume, size=grid, mode="trilinear")
    return rearrange(volume, "1 d t h w -> (t h w) d")
