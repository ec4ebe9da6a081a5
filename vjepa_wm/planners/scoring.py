"""Scoring: how every planner asks a cost, and what it refuses to rank.

Candidates go to the cost in chunks of at most `max_batch`, which bounds memory. A planner cannot know how many bytes a
candidate takes, since it sees neither network nor pictures; who has B bytes and made a cost that takes b for each of
the candidates it is given at once, says `max_batch = B // b`. What is scored does not depend on it.

Letters: K candidates, E elites, H horizon, A action dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vjepa_wm.planners.action_box import ActionBox
from vjepa_wm.planners.planner import Cost, Plan


class Scorer:
    """Scores candidates for one plan, counts them and remembers the best.

    Attributes:
        num_evaluations: how many candidates were scored; a gradient counts as one more.
        best: the cheapest sequence so far, (H, A).
        best_cost: its cost, a tensor without dimensions, on the device of the cost.
    """

    def __init__(self, cost: Cost, max_batch: int | None) -> None:
        """Begin.

        Args:
            cost: scores candidates (K, H, A) with (K,).
            max_batch: most candidates in one call of it; all at once if None.
        """
        self.num_evaluations = 0
        self.best: Tensor | None = None
        self.best_cost: Tensor | None = None
        self._cost, self._max_batch = cost, max_batch

    def score(self, candidates: Tensor, iteration: int) -> Tensor:
        """Score candidates.

        Args:
            candidates: allowed sequences, (K, H, A).
            iteration: of the planner, for the error.

        Returns:
            Their costs, (K,).

        Raises:
            ValueError: if the cost returns a wrong shape or NaN.
        """
        costs = torch.cat([self._call(chunk) for chunk in self._chunks(candidates)])
        self._note(candidates, costs, iteration)
        return costs

    def score_with_gradients(self, candidates: Tensor, iteration: int) -> tuple[Tensor, Tensor]:
        """Score candidates and differentiate their costs.

        Args:
            candidates: allowed sequences, (K, H, A).
            iteration: of the planner, for the error.

        Returns:
            Their costs, (K,), and the gradients of these with respect to the actions, (K, H, A).

        Raises:
            ValueError: if the cost returns a wrong shape or NaN, or has no gradient, or one that is not finite.
        """
        parts = []
        for chunk in self._chunks(candidates):
            with torch.enable_grad():
                leaf = chunk.detach().requires_grad_()
                part = self._call(leaf)
                parts.append((part.detach(), _differentiate(part, leaf)))
        costs, gradients = (torch.cat(each) for each in zip(*parts, strict=True))
        self._note(candidates, costs, iteration)
        self.num_evaluations += len(candidates)
        num_bad = int((~gradients.isfinite()).flatten(1).any(dim=1).sum())
        if num_bad:
            raise ValueError(
                f"the gradient of the cost is not finite for {num_bad} of {len(candidates)} candidates in iteration "
                f"{iteration}"
            )
        return costs, gradients

    def give_best(self, elites: Tensor, elite_costs: list[Tensor]) -> Plan:
        """Make a plan of the best sequence that was scored.

        Args:
            elites: best sequences of the last iteration, best first, (E, H, A).
            elite_costs: a tensor without dimensions per iteration.

        Returns:
            The plan.
        """
        assert self.best is not None and self.best_cost is not None  # planners score before they end
        return self._plan(self.best, self.best_cost, elites, elite_costs)

    def give(self, actions: Tensor, elites: Tensor, elite_costs: list[Tensor], *, return_best: bool) -> Plan:
        """Score a last sequence and make a plan of it.

        Args:
            actions: an allowed sequence, (H, A).
            elites: best sequences of the last iteration, best first, (E, H, A).
            elite_costs: a tensor without dimensions per iteration.
            return_best: take the best sequence that was scored instead, if it is cheaper.

        Returns:
            The plan.

        Raises:
            ValueError: if the cost of the sequence is NaN.
        """
        cost = self.score(actions.unsqueeze(0), len(elite_costs))[0]
        return self.give_best(elites, elite_costs) if return_best else self._plan(actions, cost, elites, elite_costs)

    def _plan(self, actions: Tensor, cost: Tensor, elites: Tensor, elite_costs: list[Tensor]) -> Plan:
        return Plan(
            actions=actions,
            cost=cost.item(),
            elite_costs=tuple(torch.stack(elite_costs).tolist()),
            num_evaluations=self.num_evaluations,
            elites=elites,
        )

    def _chunks(self, candidates: Tensor) -> tuple[Tensor, ...]:
        return candidates.split(self._max_batch or len(candidates))

    def _call(self, chunk: Tensor) -> Tensor:
        """Give the costs of some candidates, (K,)."""
        costs = self._cost(chunk)
        if costs.shape != (len(chunk),):
            raise ValueError(
                f"cost must return one number per candidate, shape ({len(chunk)},), got {tuple(costs.shape)}"
            )
        return costs

    def _note(self, candidates: Tensor, costs: Tensor, iteration: int) -> None:
        """Count what was scored, refuse NaN and remember the best; of equal ones the first."""
        num_bad = int(costs.isnan().sum())
        if num_bad:
            raise ValueError(f"cost returned NaN for {num_bad} of {len(costs)} candidates in iteration {iteration}")
        self.num_evaluations += len(candidates)
        index = costs.argmin()
        actions, cost = candidates[index], costs[index]
        if self.best is None or self.best_cost is None:
            self.best, self.best_cost = actions, cost
        else:
            is_better = cost < self.best_cost
            self.best = torch.where(is_better, actions, self.best)
            self.best_cost = torch.where(is_better, cost, self.best_cost)


def cheapest(costs: Tensor, num: int) -> Tensor:
    """Give the indices of the lowest costs (K,), lowest first, of equal ones the first on every device, (num,)."""
    return costs.argsort(stable=True)[:num]


def agree(elites: Tensor, box: ActionBox, tolerance: float) -> bool:
    """Tell whether elites agree about the action that is executed first.

    Args:
        elites: sequences, (E, H, A).
        box: the allowed actions.
        tolerance: largest standard deviation of their first actions, as a share of the first search's in each
            dimension, so that it has no unit; 0: they never do.
    """
    if not tolerance:
        return False
    is_narrow = elites[:, 0].std(dim=0, correction=1) <= tolerance * box.spread
    return bool((is_narrow | box.pinned).all())


def _differentiate(costs: Tensor, leaf: Tensor) -> Tensor:
    """Give the gradients of costs (K,) with respect to the candidates that they were made from, (K, H, A)."""
    gradient = torch.autograd.grad(costs.sum(), leaf, allow_unused=True)[0] if costs.requires_grad else None
    if gradient is None:
        raise ValueError(
            "cost gives no gradient with respect to the actions (that of a simulator never does), and planning by "
            "gradient needs one; CEM, ICEM, MPPI and RandomShooting need none"
        )
    return gradient
