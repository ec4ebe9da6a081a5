"""The joint between planning and everything else: a cost goes in, a plan comes out.

Whatever can score action sequences can be planned for, be it a world model, a simulator or a formula in a test.

Letters: K candidates, C of them given by the caller, E elites, H horizon, A action dimensions.
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
    """Mean cost of the best share of the candidates, one number per iteration; each planner says which share."""
    num_evaluations: int
    """Candidate sequences that were scored, the plan itself among them if it was; a gradient counts as one more."""
    elites: Tensor
    """Best sequences of the last iteration, best first, (E, H, A). Moved on by `shift`, they can be candidates of the
    next plan."""


class Planner(Protocol):
    """Anything that minimises a cost over action sequences.

    A planner keeps nothing from one plan to the next: the same arguments and the same state of the generator give the
    same plan, whatever it planned before, however many candidates go to the cost at once, and (but for rounding) on
    whatever device.
    """

    def plan(
        self,
        cost: Cost,
        *,
        horizon: int,
        action_space: ActionBox,
        warm_start: Tensor | None = None,
        candidates: Tensor | None = None,
        generator: torch.Generator,
    ) -> Plan:
        """Search for the sequence of least cost.

        A proposal goes in as `warm_start` if it is to be the mean that the search begins around, and as one of the
        `candidates` if it is to compete with what is drawn; both is fine. Each is moved into the action space.

        Args:
            cost: scores candidates (K, H, A) with (K,).
            horizon: number of steps H.
            action_space: allowed actions; nothing else is ever scored.
            warm_start: sequence to start the search around, (H, A); the action nearest to zero if None.
            candidates: sequences to score first, (C, H, A). They take the place of as many draws, so that the number
                of evaluations stays what the planner's options say.
            generator: source of all randomness.

        Returns:
            The plan.
        """
        ...


def shift(actions: Tensor, rest: Tensor | None = None) -> Tensor:
    """Move plans on by one executed step, as the warm start or the candidates of the next one.

    Args:
        actions: plans whose first action was executed, (..., H, A).
        rest: the action that fills the new last step, (A,); zeros if None.

    Returns:
        Steps 2 to H followed by the filling action, (..., H, A).
    """
    first = actions[..., :1, :]
    last = torch.zeros_like(first) if rest is None else rest.expand_as(first)
    return torch.cat([actions[..., 1:, :], last], dim=-2)
