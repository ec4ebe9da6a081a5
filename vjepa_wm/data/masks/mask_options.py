"""The options that ways to draw a mask share, and how they are checked: shares, ranges of shares, and truncation."""

from __future__ import annotations

import math
from typing import Literal

from vjepa_wm.data.masks.mask import MaskError

Truncation = Literal["first", "random"]
"""How sets are cut to one length in a batch: dropping the latest tokens, or any."""
Sizes = Literal["batch", "block"]
"""Whether all blocks of a batch have one size, or each its own."""


def check_scale(name: str, pair: tuple[float, float], *, largest: float = 1.0) -> None:
    """Refuse a pair that is not ascending within (0, largest].

    Raises:
        ValueError: if it is not.
    """
    low, high = pair
    if not (0.0 < low <= high <= largest and math.isfinite(high)):
        within = f"within (0, {largest:g}]" if math.isfinite(largest) else "of finite numbers above 0"
        raise ValueError(f"{name} must be an ascending pair {within}, got {(low, high)}")


def check_share(name: str, share: float, *, below_one: bool = False) -> None:
    """Refuse a share outside (0, 1], or outside (0, 1) if `below_one`.

    Raises:
        ValueError: if it is outside.
    """
    if not 0.0 < share <= 1.0 or (below_one and share == 1.0):
        raise ValueError(f"{name} must be within (0, 1{')' if below_one else ']'}, got {share}")


def check_truncation(truncation: str) -> None:
    """Refuse anything that is no way to cut sets to one length.

    Raises:
        ValueError: if it is none.
    """
    if truncation not in ("first", "random"):
        raise ValueError(f"truncation must be 'first' or 'random', got {truncation!r}")


def check_sizes(sizes: str) -> None:
    """Refuse anything that says not for what the size of a block is drawn.

    Raises:
        ValueError: if it does not.
    """
    if sizes not in ("batch", "block"):
        raise ValueError(f"sizes must be 'batch' or 'block', got {sizes!r}")


def count_share(name: str, share: float, total: int, things: str, *, largest: int, nearest: bool = False) -> int:
    """Return how many of `total` things a share is, rounded to the nearest.

    Args:
        name: the option that holds the share.
        share: within (0, 1].
        total: number of things there are.
        things: what they are, for the message.
        largest: the greatest number that leaves a mask; the smallest is 1.
        nearest: whether the nearest such number is taken where the share gives no mask.

    Raises:
        MaskError: if the number is not within 1 to `largest` and has to be.
    """
    if largest < 1:
        raise MaskError(
            f"{name} needs at least {total + 1 - largest} {things} to divide, got {total}; enlarge the clip"
        )
    count = round(total * share)
    if nearest:
        return min(max(count, 1), largest)
    if not 1 <= count <= largest:
        better = min(max(count, 1), largest) / total
        raise MaskError(
            f"{name} {share} of {total} {things} is {count}, but must be 1 to {largest}; "
            f"{name} {better:.4g} would do, or a larger clip"
        )
    return count
