"""The box of allowed actions, the only thing a planner knows about what it steers.

A world model is right only where it saw data, so a planner must stay within the actions of its training set; the box
says where that is, how widely to search at first, and which dimensions not to plan at all.

Letters: A action dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ActionBox:
    """Limits of every action dimension and the spread of the first search.

    A dimension whose limits are equal is pinned: it keeps that value and is not searched.

    Raises:
        ValueError: if the shapes differ, a number is not finite, low exceeds high, a std is negative, or 0 where
            the box is open, a discrete dimension excludes 0, or a norm is limited of nothing, by nothing, or of
            dimensions that are discrete or exclude 0.
    """

    low: Tensor
    """Lowest allowed action, (A,), in the units of the action."""
    high: Tensor
    """Highest allowed action, (A,)."""
    std: Tensor | None = None
    """Standard deviation of the first search, (A,); half the width of the box if None. May exceed the box: draws are
    clipped. It counts as 0 where a dimension is pinned."""
    discrete: tuple[int, ...] = ()
    """Dimensions that are at their lowest, 0 or at their highest and nowhere in between."""
    norm_dims: tuple[int, ...] = ()
    """Dimensions whose common length is limited, such as the three of a displacement."""
    max_norm: float | None = None
    """Largest Euclidean length of these, in their unit; within the limits of each. None: no limit."""

    def __post_init__(self) -> None:
        """Check that the parts fit each other."""
        for name in ("low", "high", "std"):
            value = getattr(self, name)
            if value is not None and (value.ndim != 1 or value.shape != self.low.shape):
                raise ValueError(
                    f"low, high and std must be (A,) of one length, got {name} {tuple(value.shape)} "
                    f"beside low {tuple(self.low.shape)}"
                )
            if value is not None and not value.isfinite().all():
                raise ValueError(f"{name} must be finite, got {value.tolist()}")
        if (self.low > self.high).any():
            raise ValueError(f"low must not exceed high, got {self.low.tolist()} and {self.high.tolist()}")
        if self.std is not None and (self.std[~self.pinned] <= 0).any():
            raise ValueError(f"std must be positive where low < high, got {self.std.tolist()}")
        wrong = [k for k in self.discrete if not 0 <= k < self.dim or not self.low[k] <= 0 <= self.high[k]]
        if wrong:
            raise ValueError(f"discrete must name dimensions of 0 to {self.dim - 1} that allow 0, got {wrong}")
        self._check_norm()

    def _check_norm(self) -> None:
        if (self.max_norm is None) == bool(self.norm_dims) or not (self.max_norm is None or self.max_norm > 0):
            raise ValueError(
                f"norm_dims and a positive max_norm belong together, got {self.norm_dims} and {self.max_norm}"
            )
        wrong = [
            k
            for k in self.norm_dims
            if not 0 <= k < self.dim or k in self.discrete or not self.low[k] <= 0 <= self.high[k]
        ]
        if wrong:
            raise ValueError(
                f"norm_dims must name dimensions of 0 to {self.dim - 1} that allow 0 and are not discrete, got {wrong}"
            )

    @property
    def dim(self) -> int:
        """Give the number of action dimensions A."""
        return self.low.numel()

    @property
    def pinned(self) -> Tensor:
        """Tell which dimensions have one allowed value, bool (A,)."""
        return self.low == self.high

    @property
    def start(self) -> Tensor:
        """Give the action nearest to zero, where a search starts, (A,)."""
        return self.project(torch.zeros_like(self.low))

    @property
    def spread(self) -> Tensor:
        """Give the standard deviation of the first search, 0 where pinned, (A,)."""
        std = (self.high - self.low) / 2 if self.std is None else self.std
        return std.masked_fill(self.pinned, 0.0)

    def project(self, actions: Tensor) -> Tensor:
        """Move actions to allowed ones; those that are allowed stay what they are.

        Each dimension goes to its nearest allowed value, then what is too long becomes shorter in its direction.

        Args:
            actions: any actions, (..., A).

        Returns:
            Allowed actions, (..., A).
        """
        actions = torch.clamp(actions, self.low, self.high)
        for k in self.discrete:
            value, low, high = actions[..., k], self.low[k], self.high[k]
            actions[..., k] = torch.where(value > high / 2, high, torch.where(value < low / 2, low, 0.0))
        if self.max_norm is not None:
            together = actions[..., self.norm_dims]
            norm = together.norm(dim=-1, keepdim=True)
            # a hair shorter, so that no rounding leaves the limit
            shorter = together * (self.max_norm * (1 - 4 * torch.finfo(norm.dtype).eps) / norm)
            actions[..., self.norm_dims] = torch.where(norm > self.max_norm, shorter, together)
        return actions

    def to(self, device: torch.device | str) -> ActionBox:
        """Give the same box with its tensors on a device."""
        std = None if self.std is None else self.std.to(device)
        return replace(self, low=self.low.to(device), high=self.high.to(device), std=std)


def vjepa2_box(max_displacement: float = 0.075, max_gripper: float = 0.75) -> ActionBox:
    """Build the box of V-JEPA 2-AC's planner: xyz and gripper are planned, rotations stay 0.

    The paper calls it an L1 ball of radius 0.075 m; its "about 13 cm" per action and the released code say that it is
    this box, whose corner is sqrt(3) * 0.075 m away. It belongs to actions at 4 frames a second; scale the displacement
    to the steps of the data that a world model was trained on.

    Args:
        max_displacement: largest displacement along x, y and z [m]; also the first standard deviation.
        max_gripper: largest change of the gripper; its first standard deviation is 1.0.

    Returns:
        A box of 7 dimensions: dxyz [m], rotation [rad], gripper.

    Raises:
        ValueError: if a limit is negative.

    Source: V-JEPA 2 (arXiv 2506.09985), section 4.2, and the released planner.
    """
    if max_displacement < 0 or max_gripper < 0:
        raise ValueError(
            f"max_displacement and max_gripper must not be negative, got {max_displacement} and {max_gripper}"
        )
    high = torch.tensor([max_displacement] * 3 + [0.0] * 3 + [max_gripper])
    return ActionBox(-high, high, torch.tensor([max_displacement] * 3 + [0.0] * 3 + [1.0]))
