"""Polishing: descend by gradient from the plan of a planner that only samples.

Samples find the right hollow, a slope its bottom; from random starts alone gradients often find the wrong one.

Letters: K candidates, C of them given by the caller, H horizon, A action dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vjepa_wm.planners.action_box import ActionBox
from vjepa_wm.planners.gradient import GradientPlanner
from vjepa_wm.planners.planner import Cost, Plan, Planner


class Polish:
    """A planner, then a gradient from where it ended; it gives the cheaper of both plans."""

    def __init__(self, planner: Planner, gradient: GradientPlanner) -> None:
        """Put both together.

        Args:
            planner: finds a plan.
            gradient: goes on from it; with `num_starts` above 1 from the best of its elites too.
        """
        self.planner, self.gradient = planner, gradient

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

        Args:
            cost: scores candidates (K, H, A) with (K,), lower is better, and can be differentiated.
            horizon: number of steps H.
            action_space: allowed actions.
            warm_start: as the planner takes it.
            candidates: as the planner takes them.
            generator: source of all randomness.

        Returns:
            The cheaper of the planner's plan and the best sequence that the gradient came by. The evaluations of both
            are counted, and the costs per iteration are the planner's followed by those per step.

        Raises:
            ValueError: as the planner and `GradientPlanner` raise it.
        """
        found = self.planner.plan(
            cost,
            horizon=horizon,
            action_space=action_space,
            warm_start=warm_start,
            candidates=candidates,
            generator=generator,
        )
        polished = self.gradient.plan(
            cost,
            horizon=horizon,
            action_space=action_space,
            warm_start=found.actions,
            candidates=found.elites[: self.gradient.config.num_starts - 1],
            generator=generator,
        )
        best = min(found, polished, key=lambda plan: plan.cost)
        return Plan(
            actions=best.actions,
            cost=best.cost,
            elite_costs=found.elite_costs + polished.elite_costs,
            num_evaluations=found.num_evaluations + polished.num_evaluations,
            elites=found.elites,
        )
