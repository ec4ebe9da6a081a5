"""The masks of V-JEPA 2: the union of several blocks is hidden.

Letters: N tokens of a clip.

Source: V-JEPA 2 (arXiv 2506.09985), section 2; V-JEPA (arXiv 2404.08471), appendix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
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


@dataclass(frozen=True, kw_only=True)
class MultiBlockMask:
    """Hide the union of several blocks, whose places are drawn for each clip."""

    num_blocks: int = 8
    """Blocks per clip."""
    spatial_scale: tuple[float, float] = (0.15, 0.15)
    """Smallest and largest share of a frame's patches in a block."""
    temporal_scale: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest share of the clip's duration in a block."""
    aspect_ratio: tuple[float, float] = (0.75, 1.5)
    """Smallest and largest height over width of a block."""
    max_temporal_keep: float = 1.0
    """Share of the clip's duration from which context may come; all later tokens are targets."""
    max_keep: int | None = None
    """Largest number of context tokens."""
    full_complement: bool = False
    """Make every token outside the (cut) context a target."""
    pred_full_complement: bool = False
    """Make every token outside the (cut) targets context."""
    inverse: bool = False
    """Swap the two sets: predict the outside from the inside."""
    truncation: Truncation = "first"
    """How sets are cut to one length in a batch: `first` drops the latest tokens, as V-JEPA 2; `random` has no bias."""
    sizes: Sizes = "batch"
    """Whether all blocks of a step have one size, or each its own."""
    total_ratio: float | None = None
    """Share of tokens that is hidden, exactly: the last block is cut, or blocks are added; None: what they cover."""
    move_one: bool = False
    """If blocks leave no visible token, or none to predict, move one from the other set instead of failing."""

    def __post_init__(self) -> None:
        check_at_least(1, num_blocks=self.num_blocks, max_keep=self.max_keep)
        check_scale("spatial_scale", self.spatial_scale)
        check_scale("temporal_scale", self.temporal_scale)
        check_scale("aspect_ratio", self.aspect_ratio, largest=math.inf)
        check_share("max_temporal_keep", self.max_temporal_keep)
        if self.full_complement and self.pred_full_complement:
            raise ValueError("full_complement and pred_full_complement exclude each other")
        check_truncation(self.truncation)
        check_sizes(self.sizes)
        if self.total_ratio is not None:
            check_share("total_ratio", self.total_ratio, below_one=True)
            if self.max_temporal_keep < 1.0:
                raise ValueError("total_ratio and max_temporal_keep below 1 exclude each other")

    def sample(self, grid: tuple[int, int, int], batch_size: int, *, step: int, generator: torch.Generator) -> Mask:
        """Draw one mask for each clip of a batch.

        Args:
            grid: tokens of a clip in time, rows and columns.
            batch_size: number of clips.
            step: number of the training step; it alone decides the size of the blocks.
            generator: decides their places.

        Returns:
            Context and target ids, disjoint and of equal length over the batch.

        Raises:
            MaskError: if blocks of this size leave no visible token, or none to predict.
        """
        check_request(grid, batch_size)
        size = None if self.sizes == "block" else self._sizes(grid, (), torch.Generator().manual_seed(step))
        named = "of their own sizes" if size is None else f"of {tuple(size.tolist())}"
        count = None
        if self.total_ratio is not None:
            tokens = math.prod(grid)
            count = count_share(
                "total_ratio", self.total_ratio, tokens, "tokens", largest=tokens - 1, nearest=self.move_one
            )
        visible, hidden = draw_filled(
            lambda num_clips: self._draw(grid, size, count, num_clips, generator),
            batch_size,
            f"masks need visible and hidden tokens in every clip, but {self.num_blocks} blocks {named} on a grid "
            f"of {grid} leave none; lower spatial_scale {self.spatial_scale} or enlarge the clip",
            generator if self.move_one else None,
        )
        keep = fewest(visible)
        keep = keep if self.max_keep is None else min(keep, self.max_keep)
        context_ids = cut(visible, keep, self.truncation, generator)
        target_ids = cut(hidden, fewest(hidden), self.truncation, generator)
        if self.full_complement:
            target_ids = complement(context_ids, visible.shape[1])
        if self.pred_full_complement:
            context_ids = complement(target_ids, visible.shape[1])
        return check_mask(Mask(target_ids, context_ids) if self.inverse else Mask(context_ids, target_ids), grid)

    def block_size(self, grid: tuple[int, int, int], step: int) -> tuple[int, int, int]:
        """Return the size of a step's blocks in time, rows and columns of tokens, where all have one."""
        time, rows, columns = self._sizes(grid, (), torch.Generator().manual_seed(step)).tolist()
        return time, rows, columns

    def _sizes(self, grid: tuple[int, int, int], shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return block_sizes(
            grid,
            shape,
            spatial_scale=self.spatial_scale,
            aspect_ratio=self.aspect_ratio,
            generator=generator,
            temporal_scale=self.temporal_scale,
        )

    def _draw(
        self,
        grid: tuple[int, int, int],
        size: Tensor | None,
        count: int | None,
        num_clips: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Return True for visible and for hidden tokens, (num_clips, N); there may be none of one kind."""

        def blocks() -> Tensor:
            sizes = self._sizes(grid, (num_clips, self.num_blocks), generator) if size is None else size
            return draw_blocks(grid, sizes, num_blocks=self.num_blocks, batch_size=num_clips, generator=generator)

        hidden = draw_covered(blocks, count, generator)
        late = max(1, int(grid[0] * self.max_temporal_keep)) * grid[1] * grid[2]
        hidden[:, late:] = True
        return ~hidden, hidden


def vjepa2_masks(truncation: Truncation = "first") -> tuple[MultiBlockMask, MultiBlockMask]:
    """Return the two mask settings V-JEPA 2 is trained with: eight short blocks, and two long ones."""
    return (
        MultiBlockMask(num_blocks=8, spatial_scale=(0.15, 0.15), truncation=truncation),
        MultiBlockMask(num_blocks=2, spatial_scale=(0.7, 0.7), truncation=truncation),
    )


def small_grid_masks() -> tuple[MultiBlockMask, MultiBlockMask]:
    """Return milder settings for grids of a few dozen patches, where V-JEPA 2's two long blocks hide nearly all."""
    return (
        MultiBlockMask(num_blocks=6, spatial_scale=(0.15, 0.15), truncation="random"),
        MultiBlockMask(num_blocks=2, spatial_scale=(0.4, 0.4), truncation="random"),
    )
