"""What a policy is, and the one that serves every task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

Policy = Callable[[Mapping[str, np.ndarray], Mapping[str, Any]], np.ndarray]
"""From observation and info to an action, (A,) float32; it draws from the generator it was made with."""
PolicyName = Literal["play", "random", "expert", "noisy_expert"]
"""play wanders between contacts, random draws every action, expert solves the task, noisy_expert nearly."""


class RandomPolicy:
    """Draws every action uniformly from the action box."""

    def __init__(self, rng: np.random.Generator, action_high: np.ndarray) -> None:
        """Make the policy.

        Args:
            rng: generator to draw from.
            action_high: largest action, (A,); the smallest is its negative.
        """
        self._rng = rng
        self._high = action_high

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (A,) float32."""
        return self._rng.uniform(-self._high, self._high).astype(np.float32)
