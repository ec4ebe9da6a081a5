"""Options that are one number for all action dimensions, or one for each.

Displacements, angles and a gripper have different units, so a floor or a momentum may differ between them.

Letters: A action dimensions.
"""

from __future__ import annotations

from torch import Tensor

from vjepa_wm.planners.action_box import ActionBox

PerDim = float | tuple[float, ...]
"""One number for all action dimensions, or one for each."""


def check_not_negative(**values: PerDim) -> None:
    """Raise a ValueError that names the first option with a number below 0."""
    for name, value in values.items():
        if not all(number >= 0 for number in _numbers(value)):
            raise ValueError(f"{name} must not be negative, got {value}")


def check_shares(**values: PerDim) -> None:
    """Raise a ValueError that names the first option with a number below 0, or not below 1."""
    for name, value in values.items():
        if not all(0 <= share < 1 for share in _numbers(value)):
            raise ValueError(f"{name} must be at least 0 and below 1, got {value}")


def over_dims(box: ActionBox, name: str, value: PerDim) -> Tensor:
    """Spread an option over the dimensions of a box.

    Args:
        box: the allowed actions.
        name: of the option, for the error.
        value: one number, or one for each dimension.

    Returns:
        One number for each dimension, (A,).

    Raises:
        ValueError: if there are neither one nor A numbers.
    """
    numbers = _numbers(value)
    if len(numbers) not in (1, box.dim):
        raise ValueError(
            f"{name} must be one number or one per action dimension ({box.dim}), got {len(numbers)} numbers"
        )
    return box.low.new_tensor(numbers).expand(box.dim)


def std_floor(box: ActionBox, min_std: PerDim) -> Tensor:
    """Give the lowest standard deviation of each dimension, 0 where the box is pinned, (A,)."""
    return over_dims(box, "min_std", min_std).masked_fill(box.pinned, 0.0)


def _numbers(value: PerDim) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)
