"""More ways to mask a clip, beside the multi-block masks of V-JEPA 2: tubes, image blocks, the future; and presets.

Letters: B clips, T tubelets in time, G rows or columns of patches, K tokens or places of a set.

Source: tubes: V-JEPA (arXiv 2404.08471) and VideoMAE (arXiv 2203.12602); image blocks: I-JEPA (arXiv 2301.08243).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from einops import rearrange
from torch import Tensor

from vjepa_wm.checks import check_at_least
from vjepa_wm.data.masks.block_drawing import (
    block_sizes,
    complement,
    cut,
    draw_blocks,
    draw_covered,
    draw_filled,
    fewest,
)
from vjepa_wm.data.masks.mask import Mask, check_mask, check_request
from vjepa_wm.data.masks.mask_options import (
    Sizes,
    Truncation,
    check_scale,
    check_share,
    check_sizes,
    check_truncation,
    count_share,
)
from vjepa_wm.data.masks.multi_block import MultiBlockMask, small_grid_masks, vjepa2_masks
from vjepa_wm.data.masks.parts import PartsMask


def _draw_ids(num_ids: int, keep: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """Return `keep` different ids below `num_ids` for each clip, ascending, (batch_size, keep)."""
    return cut(torch.ones(batch_size, num_ids, dtype=torch.bool), keep, "random", generator)


def _over_time(places: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Return the ids of `places` (B, K) of a frame in every time step, ascending, (B, T * K)."""
    time, rows, columns = grid
    starts = torch.arange(time).mul(rows * columns)
    return rearrange(places[:, None, :] + starts[:, None], "b t k -> b (t k)")


@dataclass(frozen=True, kw_only=True)
class TubeMask:
    """Hide a share of the places of a frame, the same ones in every time step; the rest is context."""

    ratio: float = 0.9
    """Share of the places that is hidden, rounded to a whole number of them."""
    move_one: bool = False
    """If that is none or all of them, leave or take one instead of failing."""

    def __post_init__(self) -> None:
        check_share("ratio", self.ratio, below_one=True)

    def sample(self, grid: tuple[int, int, int], batch_size: int, *, step: int, generator: torch.Generator) -> Mask:
        """Draw one mask for each clip of a batch.

        Args:
            grid: tokens of a clip in time, rows and columns.
            batch_size: number of clips.
            step: number of the training step; nothing here depends on it.
            generator: decides the places.

        Returns:
            Context and target ids, each other's complement.

        Raises:
            MaskError: if so few places cannot be divided by `ratio`.
        """
        check_request(grid, batch_size)
        places = grid[1] * grid[2]
        hidden = count_share(
            "ratio", self.ratio, places, "places of a frame", largest=places - 1, nearest=self.move_one
        )
        targets = _draw_ids(places, hidden, batch_size, generator)
        context = complement(targets, places)
        return check_mask(Mask(_over_time(context, grid), _over_time(targets, grid)), grid)


@dataclass(frozen=True, kw_only=True)
class ImageBlockMask:
    """Predict several small blocks of a picture from one large block without them; on clips they last the whole clip.

    The places of the blocks are drawn for each clip. The targets are the union of the small blocks, one set, where
    I-JEPA predicts them one after the other.
    """

    num_targets: int = 4
    """Target blocks per clip."""
    target_scale: tuple[float, float] = (0.15, 0.2)
    """Smallest and largest share of a frame's patches in a target block."""
    aspect_ratio: tuple[float, float] = (0.75, 1.5)
    """Smallest and largest height over width of a target block."""
    context_scale: tuple[float, float] = (0.85, 1.0)
    """Smallest and largest share of a frame's patches in the context block, which has the shape of the frame."""
    truncation: Truncation = "first"
    """How sets are cut to one length in a batch: `first` drops the lowest places, as I-JEPA; `random` has no bias."""
    sizes: Sizes = "batch"
    """Whether all target blocks of a step have one size, or each its own."""
    total_ratio: float | None = None
    """Share of a frame's patches that is to be predicted, exactly: the last block is cut, or blocks are added. None:
    what they cover."""
    move_one: bool = False
    """If the targets leave no context, move one of them there instead of failing."""

    def __post_init__(self) -> None:
        check_at_least(1, num_targets=self.num_targets)
        check_scale("target_scale", self.target_scale)
        check_scale("aspect_ratio", self.aspect_ratio, largest=math.inf)
        check_scale("context_scale", self.context_scale)
        check_truncation(self.truncation)
        check_sizes(self.sizes)
        if self.total_ratio is not None:
            check_share("total_ratio", self.total_ratio, below_one=True)

    def sample(self, grid: tuple[int, int, int], batch_size: int, *, step: int, generator: torch.Generator) -> Mask:
        """Draw one mask for each clip of a batch.

        Args:
            grid: tokens of a clip in time, rows and columns.
            batch_size: number of clips.
            step: number of the training step; it alone decides the sizes of the blocks.
            generator: decides their places.

        Returns:
            Context and target ids, disjoint, of equal length over the batch and of the same places in every time step.

        Raises:
            MaskError: if targets of this size leave no context.
        """
        check_request(grid, batch_size)
        frame, places = (1, *grid[1:]), grid[1] * grid[2]
        target_size, context_size = self._step_sizes(frame, step)
        count = None
        if self.total_ratio is not None:
            count = count_share(
                "total_ratio", self.total_ratio, places, "places of a frame", largest=places - 1, nearest=self.move_one
            )
        context, targets = draw_filled(
            lambda num_clips: self._draw(frame, target_size, context_size, count, num_clips, generator),
            batch_size,
            f"masks need context beside the targets in every clip, but {self.num_targets} targets of "
            f"{tuple(target_size.tolist())[1:]} in a context block of {tuple(context_size.tolist())[1:]} on a grid of "
            f"{grid} leave none; lower num_targets or target_scale {self.target_scale}, or enlarge the picture",
            generator if self.move_one else None,
        )
        context_places, target_places = (
            cut(places, fewest(places), self.truncation, generator) for places in (context, targets)
        )
        return check_mask(Mask(_over_time(context_places, grid), _over_time(target_places, grid)), grid)

    def _target_sizes(self, frame: tuple[int, int, int], shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return block_sizes(
            frame, shape, spatial_scale=self.target_scale, aspect_ratio=self.aspect_ratio, generator=generator
        )

    def _step_sizes(self, frame: tuple[int, int, int], step: int) -> tuple[Tensor, Tensor]:
        """Return the size of a step's target blocks and of its context block, in time, rows and columns of tokens."""
        generator = torch.Generator().manual_seed(step)
        target_size = self._target_sizes(frame, (), generator)
        low, high = self.context_scale
        side = math.sqrt(low + torch.rand((), generator=generator).item() * (high - low))
        return target_size, torch.tensor((1, max(1, round(frame[1] * side)), max(1, round(frame[2] * side))))

    def _draw(
        self,
        frame: tuple[int, int, int],
        target_size: Tensor,
        context_size: Tensor,
        count: int | None,
        num_clips: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Return True for context and for target places, (num_clips, G * G); there may be no context."""

        def blocks() -> Tensor:
            size = target_size
            if self.sizes == "block":
                size = self._target_sizes(frame, (num_clips, self.num_targets), generator)
            return draw_blocks(frame, size, num_blocks=self.num_targets, batch_size=num_clips, generator=generator)

        targets = draw_covered(blocks, count, generator)
        block = draw_blocks(frame, context_size, num_blocks=1, batch_size=num_clips, generator=generator)
        return block.any(dim=1) & ~targets, targets


@dataclass(frozen=True, kw_only=True)
class FutureMask:
    """Predict the late part of a clip from its early part, each thinned out at random places."""

    context_duration: float = 0.5
    """Share of the time steps that context comes from, rounded to a whole number; the later ones hold the targets."""
    context_keep: float = 0.5
    """Share of the early tokens that is visible."""
    target_keep: float = 0.5
    """Share of the late tokens that is to be predicted."""
    move_one: bool = False
    """If a share is of no token, or leaves no time step, take one instead of failing."""

    def __post_init__(self) -> None:
        check_share("context_duration", self.context_duration, below_one=True)
        check_share("context_keep", self.context_keep)
        check_share("target_keep", self.target_keep)

    def sample(self, grid: tuple[int, int, int], batch_size: int, *, step: int, generator: torch.Generator) -> Mask:
        """Draw one mask for each clip of a batch.

        Args:
            grid: tokens of a clip in time, rows and columns.
            batch_size: number of clips.
            step: number of the training step; nothing here depends on it.
            generator: decides the places.

        Returns:
            Context and target ids; all context is earlier than all targets.

        Raises:
            MaskError: if so few time steps or tokens cannot be divided by these shares.
        """
        check_request(grid, batch_size)
        time, rows, columns = grid
        count = partial(count_share, nearest=self.move_one)
        steps = count("context_duration", self.context_duration, time, "time steps", largest=time - 1)
        early, late = steps * rows * columns, (time - steps) * rows * columns
        num_context = count("context_keep", self.context_keep, early, "early tokens", largest=early)
        num_targets = count("target_keep", self.target_keep, late, "late tokens", largest=late)
        context_ids = _draw_ids(early, num_context, batch_size, generator)
        target_ids = early + _draw_ids(late, num_targets, batch_size, generator)
        return check_mask(Mask(context_ids, target_ids), grid)


MaskSetting = MultiBlockMask | TubeMask | ImageBlockMask | FutureMask | PartsMask
MaskPreset = Literal["small", "vjepa2", "vjepa2.1-pictures", "tubes", "images", "future", "parts"]


def preset_masks(preset: MaskPreset) -> tuple[MaskSetting, ...]:
    """Return the mask settings that go by a name.

    Raises:
        ValueError: if there is no such name.
    """
    match preset:
        case "small":
            return small_grid_masks()
        case "vjepa2":
            return vjepa2_masks()
        case "vjepa2.1-pictures":
            return (MultiBlockMask(num_blocks=10, spatial_scale=(0.15, 0.15)),)
        case "tubes":
            return (TubeMask(),)
        case "images":
            return (ImageBlockMask(truncation="random"),)
        case "future":
            return (FutureMask(),)
        case "parts":
            return (PartsMask(),)
    raise ValueError(f"masks must be one of {', '.join(get_args(MaskPreset))}, got {preset!r}")
