"""What a policy is, and the one that serves every task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import numpy as np
from gymnasium import spaces

Policy = Callable[[Mapping[str, np.ndarray], Mapping[str, Any]], np.ndarray]
"""From observation and info to an action, (A,) float32; it draws from the generator it was made with."""
PolicyName = Literal["play", "random", "expert", "noisy_expert"]
"""play wanders between contacts, random draws every action, expert solves the task, noisy_expert nearly."""
POLICY_NAMES: tuple[PolicyName, ...] = get_args(PolicyName)


class RandomPolicy:
    """Draws every action uniformly from the action space."""

    def __init__(self, rng: np.random.Generator, action_space: spaces.Box) -> None:
        """Make the policy.

        Args:
            rng: generator to draw from.
            action_space: box of A numbers.
        """
        self._rng = rng
        self._low, self._high = action_space.low, action_space.high

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return an action, (A,) float32."""
        return self._rng.uniform(self._low, self._high).astype(np.float32)
