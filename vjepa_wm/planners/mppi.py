"""Model predictive path integral control: the next mean is an average of candidates, weighted by how cheap they are.

Where CEM counts its elites alike, the cheapest counts most here, which suits few candidates and few iterations.

Letters: K candidates, C of them given by the caller, E elites, H horizon, A action dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vjepa_wm.checks import check_at_least
from vjepa_wm.planners.action_box import ActionBox
from vjepa_wm.planners.candidates import draw, place, start_mean
from vjepa_wm.planners.per_dim import PerDim, check_not_negative, std_floor
from vjepa_wm.planners.planner import Cost, Plan
from vjepa_wm.planners.scoring import Scorer, agree, cheapest


@dataclass(frozen=True, kw_only=True)
class MPPIConfig:
    """How widely and how long to search.

    Raises:
        ValueError: if a count or number is out of range.
    """

    num_samples: int = 128
    """Candidates per iteration, K."""
    num_elites: int = 24
    """Best candidates that are averaged; all of them (`num_samples`) is the original method."""
    iterations: int = 6
    """Rounds of drawing and averaging."""
    temperature: float = 1.0
    """Gap to the cheapest elite at which a weight falls by a factor e, in standard deviations of the elites' costs:
    latent energies have no scale of their own, and theirs shrinks as the search closes in."""
    adapt_std: bool = True
    """Take the weighted standard deviation of the elites for the next iteration; false: keep the first, as the original
    method does."""
    noise_beta: float = 0.0
    """Colour of the noise in time: power falls with the frequency as f^-beta. 0: independent steps."""
    min_std: PerDim = 0.0
    """Floor of the standard deviation in the units of the action; one number, or one per dimension."""
    return_best: bool = False
    """Give the best sequence that was scored if it is cheaper than the final mean."""
    tolerance: float = 0.0
    """Stop early when the elites agree: when their first actions differ, in every dimension, by a standard deviation
    of at most this share of the first search's. 0: never."""
    max_batch: int | None = None
    """Most candidates scored in one call of the cost, which bounds memory; all at once if None."""

    def __post_init__(self) -> None:
        check_at_least(2, num_elites=self.num_elites)
        if self.num_elites > self.num_samples:
            raise ValueError(f"num_elites must not exceed num_samples {self.num_samples}, got {self.num_elites}")
        check_at_least(1, iterations=self.iterations, max_batch=self.max_batch)
        check_at_least(0, tolerance=self.tolerance, noise_beta=self.noise_beta)
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        check_not_negative(min_std=self.min_std)

    @property
    def num_evaluations(self) -> int:
        """Give how many sequences a plan scores unless it stops early, the final mean among them."""
        return self.num_samples * self.iterations + 1


class MPPI:
    """Path integral control with a diagonal Gaussian over clipped action sequences."""

    def __init__(self, config: MPPIConfig) -> None:
        """Make a planner.

        Args:
            config: how widely and how long to search.
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
            cost: scores candidates (K, H, A) with (K,), lower is better.
            horizon: number of steps H.
            action_space: allowed actions; every candidate is moved into it before it is scored.
            warm_start: mean to start from, (H, A); the action nearest to zero if None.
            candidates: sequences that take the place of draws of the first iteration, (C, H, A).
            generator: source of all randomness; it may live on another device than the box.

        Returns:
            The final mean, or with `return_best` the best sequence that was scored; and the elites' mean cost per
            iteration.

        Raises:
            ValueError: if horizon is below 1, warm_start, candidates or min_std do not fit, or the cost returns a wrong
                shape or NaN.

        Source: Williams et al. 2017, "Information theoretic MPC for model-based reinforcement learning"; elites and
        adapted deviation as in TD-MPC2 (arXiv 2310.16828), appendix.
        """
        config, min_std = self.config, std_floor(action_space, self.config.min_std)
        scorer = Scorer(cost, config.max_batch)
        mean = start_mean(horizon, action_space, warm_start)
        std = action_space.spread.maximum(min_std).expand_as(mean)
        elite_costs: list[Tensor] = []
        for iteration in range(config.iterations):
            drawn = draw(config.num_samples, mean, std, action_space, generator, noise_beta=config.noise_beta)
            if iteration == 0:
                drawn = place(drawn, candidates, action_space)
            costs = scorer.score(drawn, iteration)
            order = cheapest(costs, config.num_elites)
            elites, costs = drawn[order], costs[order]
            elite_costs.append(costs.mean())
            weights = soft_minimum(costs, config.temperature).to(mean).reshape(-1, 1, 1)
            mean = (weights * elites).sum(dim=0)
            if config.adapt_std:
                std = (weights * (elites - mean).square()).sum(dim=0).sqrt().maximum(min_std)
            if agree(elites, action_space, config.tolerance):
                break
        return scorer.give(action_space.project(mean), elites, elite_costs, return_best=config.return_best)


def soft_minimum(costs: Tensor, temperature: float) -> Tensor:
    """Weigh costs by exp(-(cost - lowest) / (temperature * their standard deviation)).

    Args:
        costs: costs, (E,); infinite ones weigh nothing, unless all are.
        temperature: in standard deviations of those that are finite.

    Returns:
        Weights that sum to 1, (E,); equal ones if the costs are.
    """
    gap = (costs - costs.min()).nan_to_num(nan=0.0, posinf=torch.inf)  # inf - inf: all are infinite
    scale = temperature * gap[gap.isfinite()].std(correction=0)
    return torch.softmax(-gap / scale if scale > 0 else -gap, dim=0)
