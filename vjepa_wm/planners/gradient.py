"""Planning by gradient: follow the slope of the cost from several starts.

Where a cost is smooth, a slope says more than any number of draws; where it is not, it leads into the nearest hollow,
so starts come from a proposal or from another planner.

Letters: S starts, C of them given by the caller, H horizon, A action dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vjepa_wm.checks import check_at_least
from vjepa_wm.planners.action_box import ActionBox
from vjepa_wm.planners.candidates import allowed, draw, place, start_mean
from vjepa_wm.planners.per_dim import PerDim, check_not_negative, check_shares, std_floor
from vjepa_wm.planners.planner import Cost, Plan
from vjepa_wm.planners.scoring import Scorer, cheapest


@dataclass(frozen=True, kw_only=True)
class GradientConfig:
    """From where and how far to descend.

    Raises:
        ValueError: if a count or number is out of range.
    """

    num_starts: int = 4
    """Sequences that descend side by side, S: the mean, the caller's candidates, the rest drawn around the mean. Of
    more candidates than there is place for the cheapest descend; to find them counts one evaluation of each."""
    steps: int = 40
    """Steps of each."""
    learning_rate: float = 0.1
    """Size of a step, as a share of the first search's standard deviation in each dimension."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Memory of Adam's averages of the gradient and of its square."""
    min_std: PerDim = 0.0
    """Floor of the standard deviation of the starts that are drawn, in the units of the action; one number, or one per
    dimension."""
    tolerance: float = 0.0
    """Stop early when a step moves no start, in any dimension, by more than this share of the first search's standard
    deviation. 0: never."""
    max_batch: int | None = None
    """Most sequences scored in one call of the cost, which bounds memory; all at once if None. One with its gradient
    takes several times the memory of one without."""

    def __post_init__(self) -> None:
        check_at_least(1, num_starts=self.num_starts, steps=self.steps, max_batch=self.max_batch)
        check_at_least(0, tolerance=self.tolerance)
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        check_shares(betas=self.betas)
        check_not_negative(min_std=self.min_std)

    @property
    def num_evaluations(self) -> int:
        """Give what a plan counts unless it stops early: two for each start and step, one for where each ends.

        Candidates for which there is no start are not among them.
        """
        return self.num_starts * (2 * self.steps + 1)


class GradientPlanner:
    """Adam on action sequences, moved back into the action space after every step.

    Discrete dimensions keep the value of their start, as nothing lies between their values for a slope to lead to;
    starts of different values try each.
    """

    def __init__(self, config: GradientConfig) -> None:
        """Make a planner.

        Args:
            config: from where and how far to descend.
        """
        self.config = config

    @torch.no_grad()
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
            cost: scores sequences (S, H, A) with (S,), lower is better, and can be differentiated; it is called with
                gradients enabled.
            horizon: number of steps H.
            action_space: allowed actions; nothing else is scored.
            warm_start: the first start, (H, A); the action nearest to zero if None.
            candidates: further starts, (C, H, A); see `num_starts`.
            generator: source of the other starts; it may live on another device than the box.

        Returns:
            The best sequence of all that were scored, and the cost of the cheapest one at each step.

        Raises:
            ValueError: if horizon is below 1, warm_start, candidates or min_std do not fit, or the cost returns a wrong
                shape, NaN, or nothing that can be differentiated.

        Source: Kingma and Ba 2015, "Adam: a method for stochastic optimization" (arXiv 1412.6980).
        """
        config = self.config
        scorer = Scorer(cost, config.max_batch)
        mean = start_mean(horizon, action_space, warm_start)
        if candidates is not None and len(candidates) >= config.num_starts:
            candidates = allowed(candidates, horizon, action_space)
            candidates = candidates[cheapest(scorer.score(candidates, 0), config.num_starts - 1)]
        starts = self._starts(mean, candidates, action_space, generator)
        unit = _free_spread(action_space)
        # in units of the spread: Adam's steps are of one size for all dimensions, whatever their units
        moved = torch.zeros_like(starts, requires_grad=True)
        optimizer = torch.optim.Adam([moved], lr=config.learning_rate, betas=config.betas)
        actions, elite_costs = starts, []
        for step in range(config.steps):
            costs, gradients = scorer.score_with_gradients(actions, step)
            elite_costs.append(costs.min())
            moved.grad = gradients * unit
            before = moved.clone()
            optimizer.step()
            actions = action_space.project(starts + moved * unit)
            moved.copy_(((actions - starts) / unit).masked_fill(unit == 0, 0.0))
            if config.tolerance and bool(((moved - before).abs() <= config.tolerance).all()):
                break
        costs = scorer.score(actions, len(elite_costs))
        return scorer.give_best(actions[cheapest(costs, len(costs))], elite_costs)

    def _starts(self, mean: Tensor, candidates: Tensor | None, box: ActionBox, generator: torch.Generator) -> Tensor:
        """Give where to descend from, (S, H, A): the mean (H, A), what the caller gave, and draws."""
        std = box.spread.maximum(std_floor(box, self.config.min_std))
        drawn = draw(self.config.num_starts, mean, std, box, generator)
        drawn[0] = mean
        return place(drawn, candidates, box, num_kept=1)


def _free_spread(box: ActionBox) -> Tensor:
    """Give the standard deviation of the first search, 0 for what a gradient cannot change, (A,)."""
    unit = box.spread.clone()
    unit[list(box.discrete)] = 0.0
    return unit
