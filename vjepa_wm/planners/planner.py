"""The joint between planning and everything else: a cost goes in, a plan comes out.

Whatever can score action sequences can be planned for, be it a world model, a simulator or a formula in a test.

Letters: K candidates, H horizon, A action dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vjepa_wm.planners.action_box import ActionBox

Cost = Callable[[Tensor], Tensor]
"""Scores candidates (K, H, A) with costs (K,), lower is better; each candidate's cost depends on it alone."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a planner found."""

    actions: Tensor
    """The sequence to execute, (H, A)."""
    cost: float
    """The cost of exactly these actions."""
    elite_costs: tuple[float, ...]
    """Mean cost of the elites, one number per iteration of the planner."""


class Planner(Protocol):
    """Anything that minimises a cost over action sequences."""

    def plan(
        self,
        cost: Cost,
        *,
        horizon: int,
        action_space: ActionBox,
        warm_start: Tensor | None = None,
        generator: torch.Generator,
    ) -> Plan:
        """Search for the sequence of least cost.

        Args:
            cost: scores candidates (K, H, A) with (K,).
            horizon: number of steps H.
            action_space: allowed actions.
            warm_start: sequence to start the search from, (H, A); the action nearest to zero if None.
            generator: source of all randomness.

        Returns:
            The plan.
        """
        ...


def shift(actions: Tensor, rest: Tensor | None = None) -> Tensor:
    """Move a plan on by one executed step, as the warm start of the next one.

    Args:
        actions: the plan whose first action was executed, (H, A).
        rest: the action that fills the new last step, (A,); zeros if None.

    Returns:
        Steps 2 to H followed by the filling action, (H, A).
    """
    last = torch.zeros_like(actions[0]) if rest is None else rest
    return torch.cat([actions[1:], last.unsqueeze(0)])
