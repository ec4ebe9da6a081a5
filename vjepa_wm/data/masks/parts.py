"""Masks drawn token by token, with shares of their own for each part of the clip.

As it stands the mask is biased towards the future without being blind to the past: most early tokens are shown and
most late ones are to be predicted, but some early tokens are targets and some late ones context.

Letters: B clips, K tokens of a set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from vjepa_wm.data.masks.mask import Mask, MaskError, check_mask, check_request


@dataclass(frozen=True, kw_only=True)
class PartsMask:
    """Show and hide exact shares of each part of a clip, at random tokens; what is in neither share is left out."""

    ends: tuple[float, ...] = (0.5, 1.0)
    """Where each part ends, as a share of the duration; the last is 1."""
    context: tuple[float, ...] = (0.8, 0.2)
    """Share of the tokens of each part that is visible, rounded to a whole number of them."""
    targets: tuple[float, ...] = (0.2, 0.8)
    """Share of the tokens of each part that is to be predicted; one token fewer where both shares are rounded up."""
    move_one: bool = False
    """If the shares are of no token in any part, take one instead of failing."""

    def __post_init__(self) -> None:
        if not (len(self.ends) == len(self.context) == len(self.targets) > 0):
            counts = len(self.ends), len(self.context), len(self.targets)
            raise ValueError(f"ends, context and targets must have a number for each part, got {counts}")
        if list(self.ends) != sorted(set(self.ends)) or self.ends[0] <= 0.0 or self.ends[-1] != 1.0:
            raise ValueError(f"ends must ascend from above 0 and end with 1, got {self.ends}")
        for seen, hidden in zip(self.context, self.targets, strict=True):
            if not (0.0 <= seen <= 1.0 and 0.0 <= hidden <= 1.0 and seen + hidden <= 1.0 + 1e-9):
                raise ValueError(
                    f"context and targets must be shares that add up to at most 1 in each part, got {self.context} and "
                    f"{self.targets}"
                )

    def sample(self, grid: tuple[int, int, int], batch_size: int, *, step: int, generator: torch.Generator) -> Mask:
        """Draw one mask for each clip of a batch.

        Args:
            grid: tokens of a clip in time, rows and columns.
            batch_size: number of clips.
            step: number of the training step; nothing here depends on it.
            generator: decides the places.

        Returns:
            Context and target ids, disjoint and of equal length over the batch.

        Raises:
            MaskError: if a part has no time step, or there is no visible or no hidden token.
        """
        check_request(grid, batch_size)
        ends = [round(grid[0] * end) * grid[1] * grid[2] for end in self.ends]
        sizes = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
        if min(sizes) < 1:
            raise MaskError(f"ends {self.ends} leave a part of {grid[0]} time steps without any; enlarge the clip")
        context, targets = [], []
        for end, size, (num_context, num_targets) in zip(ends, sizes, self._counts(sizes, grid), strict=True):
            order = end - size + torch.rand(batch_size, size, generator=generator).argsort(dim=1)
            shown, hidden, _ = order.split((num_context, num_targets, size - num_context - num_targets), dim=1)
            context.append(shown.sort(dim=1).values)
            targets.append(hidden.sort(dim=1).values)
        return check_mask(Mask(torch.cat(context, dim=1), torch.cat(targets, dim=1)), grid)

    def _counts(self, sizes: list[int], grid: tuple[int, int, int]) -> list[tuple[int, int]]:
        """Return how many tokens of each part are visible, and how many hidden."""
        shares = torch.tensor((self.context, self.targets), dtype=torch.float64)
        counts = (shares * torch.tensor(sizes)).round().long()
        counts[1] = counts[1].minimum(torch.tensor(sizes) - counts[0])
        for name, row, other in (("context", 0, 1), ("targets", 1, 0)):
            if counts[row].any():
                continue
            if not self.move_one:
                raise MaskError(
                    f"{name} {getattr(self, name)} of {math.prod(grid)} tokens on the grid {grid} is none; "
                    "raise a share, enlarge the clip, or set move_one"
                )
            part = int((counts[other] + torch.tensor(sizes)).argmax())
            counts[row, part] = 1
            counts[other, part] = counts[other, part].clamp_max(sizes[part] - 1)
        return [(int(seen), int(hidden)) for seen, hidden in counts.T]
