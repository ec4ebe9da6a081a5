"""Rotary positions over time, height and width.

The package needs two forms behind one name. `tiled` is what V-JEPA 2 and 2-AC weights were trained with: the two
members of a pair turn by different angles, so it is not a rotation, and it must be reproduced to read those weights.
`true` turns both members by one angle; V-JEPA 2.1 uses it and new training should. Tables are made once per
forward pass and shared by all layers.

Letters: B batch, N tokens, M size of one axis' segment of a head, h heads, d size of a head.

Source: V-JEPA 2 (arXiv 2506.09985), section 2; V-JEPA 2.1 (arXiv 2603.14482), section 2.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

RopeForm = Literal["tiled", "true"]
ROPE_FORMS = ("tiled", "true")
_BASE = 10000.0


class RotaryTables(NamedTuple):
    """Cosines and signed sines of every token's angles."""

    cos: Tensor
    """(B or 1, 1, N, d)."""
    sin: Tensor
    """(B or 1, 1, N, d), negative for the first channel of each pair."""

    def part(self, start: int, end: int) -> RotaryTables:
        """Return the tables of tokens `start` to before `end`."""
        return RotaryTables(self.cos[:, :, start:end], self.sin[:, :, start:end])


def check_rope(form: str | None, rope_grid: int | None = None, head_dim: int | None = None) -> None:
    """Raise ValueError unless `form` names a rotary form, or is None for fixed positions, and the others suit it."""
    if form is not None and form not in ROPE_FORMS:
        raise ValueError(f"rope must be one of {', '.join(ROPE_FORMS)} or None, got {form!r}")
    if rope_grid is not None and (form is None or rope_grid < 2):
        raise ValueError(f"rope_grid must be at least 2 and needs rotary positions, got {rope_grid} with rope {form!r}")
    if head_dim is not None and form is not None:
        check_head(head_dim)


def check_head(head_dim: int) -> None:
    """Raise ValueError unless a head of so many channels holds three rotary axes."""
    if segment_size(head_dim) == 0:
        raise ValueError(
            f"head_dim (embed_dim over num_heads) must be at least 6 to hold three rotary axes, got {head_dim}; take "
            "fewer heads"
        )


def segment_size(head_dim: int) -> int:
    """Return how many channels of a head each of the three axes turns; the rest, at the end, is never turned."""
    return 2 * ((head_dim // 3) // 2)


def grid_positions(ids: Tensor, grid: tuple[int, int], rope_grid: int | None = None) -> Tensor:
    """Split token ids into their (time, row, column) positions.

    Args:
        ids: token ids in time-major, then row, then column order, (..., N) integers.
        grid: rows and columns of patches in a frame.
        rope_grid: side of the grid onto which rows and columns are stretched, first on first and last on last, so that
            any resolution has positions 0 to rope_grid - 1 (V-JEPA 2.1); None counts patches (V-JEPA 2).

    Returns:
        Positions in units of tubelets and patches, (..., N, 3) float32.
    """
    rows, columns = grid
    per_frame = rows * columns
    within = ids % per_frame
    axes = [ids // per_frame, within // columns, within % columns]
    if rope_grid is not None:
        axes[1] = axes[1] * ((rope_grid - 1) / max(rows - 1, 1))
        axes[2] = axes[2] * ((rope_grid - 1) / max(columns - 1, 1))
    return torch.stack([axis.float() for axis in axes], dim=-1)


def rotary_tables(positions: Tensor, head_dim: int, form: RopeForm, dtype: torch.dtype = torch.float32) -> RotaryTables:
    """Make the tables that `apply_rotary` needs, in float32 until the last cast.

    Args:
        positions: (time, row, column) of every token, (N, 3) or (B, N, 3).
        head_dim: channels of one head.
        form: `tiled` for V-JEPA 2 weights, `true` for a real rotation.
        dtype: type of the returned tables.

    Returns:
        Cosines and sines, each (1 or B, 1, N, head_dim).

    Raises:
        ValueError: if a head has fewer than 6 channels.
    """
    check_head(head_dim)
    size = segment_size(head_dim)
    half = size // 2
    frequencies = _BASE ** (-torch.arange(half, dtype=torch.float32, device=positions.device) / half)
    frequencies = frequencies.repeat(2) if form == "tiled" else frequencies.repeat_interleave(2)
    angles = (positions.float().unsqueeze(-1) * frequencies).flatten(-2)
    angles = torch.nn.functional.pad(angles, (0, head_dim - 3 * size))
    sign = torch.tensor([-1.0, 1.0], device=positions.device).repeat(head_dim // 2 + 1)[:head_dim]
    cos, sin = angles.cos(), angles.sin() * sign
    if angles.dim() == 2:
        cos, sin = cos.unsqueeze(0), sin.unsqueeze(0)
    return RotaryTables(cos.unsqueeze(1).to(dtype), sin.unsqueeze(1).to(dtype))


def apply_rotary(x: Tensor, tables: RotaryTables) -> Tensor:
    """Turn adjacent channel pairs of `x` (..., B, h, N, d) by the tables' angles; the shape stays."""
    if x.requires_grad and not torch.compiler.is_compiling():  # a compiler finds the cheap backward pass itself
        return _Turn.apply(x, *tables)
    return _turn(x, *tables)


class _Turn(torch.autograd.Function):
    """The turn with a backward pass as cheap as the forward one: the same turn, with the sines of a pair exchanged."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Turn, and keep the tables alone."""
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient; the tables have none."""
        cos, sin = ctx.saved_tensors
        return _turn(grad, cos, _swap_pairs(sin)), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return (x * cos).addcmul_(_swap_pairs(x), sin)


def _swap_pairs(x: Tensor) -> Tensor:
    """Exchange the two channels of each adjacent pair."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    first, second = x[..., ::2], x[..., 1::2]  # on a CPU a flip takes two to four times as long
    if x.dtype == torch.float32:
        return torch.view_as_real(torch.complex(second, first)).flatten(-2)
    return torch.stack((second, first), dim=-1).flatten(-2)
