"""The improved cross-entropy method: CEM whose noise is correlated in time and whose best candidates live on.

Smooth sequences are the ones that a robot can follow and that its data hold, so fewer candidates suffice; a good one,
once found, is not lost to the next draw.

Letters: K candidates, C of them given by the caller, H horizon, A action dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vjepa_wm.checks import check_at_least
from vjepa_wm.planners.action_box import ActionBox
from vjepa_wm.planners.candidates import draw, place, start_mean
from vjepa_wm.planners.per_dim import PerDim, check_not_negative, check_shares, over_dims, std_floor
from vjepa_wm.planners.planner import Cost, Plan
from vjepa_wm.planners.scoring import Scorer, agree, cheapest


@dataclass(frozen=True, kw_only=True)
class ICEMConfig:
    """How widely and how long to search; the paper's settings but for the counts, which are for a small model.

    Raises:
        ValueError: if a count or share is out of range.
    """

    num_samples: int = 128
    """Candidates of the first iteration, K."""
    num_elites: int = 10
    """Best candidates that the next Gaussian is fitted to."""
    iterations: int = 6
    """Rounds of drawing and fitting."""
    decay: float = 1.25
    """By which the number of candidates is divided after every iteration; it stays at least twice the elites."""
    noise_beta: float = 2.0
    """Colour of the noise in time: power falls with the frequency as f^-beta. 0 is CEM's; the paper takes 0.25 for
    running and 2 to 3.5 for arms."""
    keep_elites: float = 0.3
    """Share of the elites, the best ones, that compete in the next iteration too, without being scored again."""
    momentum: PerDim = 0.1
    """Share of the old mean and standard deviation that is kept, 0 to below 1; one number, or one per dimension."""
    min_std: PerDim = 0.0
    """Floor of the standard deviation in the units of the action; one number, or one per dimension."""
    tolerance: float = 0.0
    """Stop early when the elites agree: when their first actions differ, in every dimension, by a standard deviation
    of at most this share of the first search's. 0: never."""
    max_batch: int | None = None
    """Most candidates scored in one call of the cost, which bounds memory; all at once if None."""

    def __post_init__(self) -> None:
        check_at_least(2, num_elites=self.num_elites)
        if 2 * self.num_elites > self.num_samples:
            raise ValueError(f"num_samples must be at least twice num_elites {self.num_elites}, got {self.num_samples}")
        check_at_least(1, iterations=self.iterations, decay=self.decay, max_batch=self.max_batch)
        check_at_least(0, tolerance=self.tolerance, noise_beta=self.noise_beta, keep_elites=self.keep_elites)
        if self.keep_elites > 1:
            raise ValueError(f"keep_elites must be a share of at most 1, got {self.keep_elites}")
        check_shares(momentum=self.momentum)
        check_not_negative(min_std=self.min_std)

    @property
    def num_evaluations(self) -> int:
        """Give how many sequences a plan scores unless it stops early."""
        return sum(self.num_drawn(iteration) for iteration in range(self.iterations))

    def num_drawn(self, iteration: int) -> int:
        """Give how many candidates an iteration draws, the first being 0."""
        return max(2 * self.num_elites, int(self.num_samples / self.decay**iteration))


class ICEM:
    """CEM with coloured noise, kept elites and fewer candidates every iteration; it gives the best one it scored."""

    def __init__(self, config: ICEMConfig) -> None:
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

        A planner has no memory, so the paper's elites that live on from one step of the robot to the next are the
        caller's: give `shift(last.elites[:3])` as candidates and `shift(last.actions)` as the warm start.

        Args:
            cost: scores candidates (K, H, A) with (K,), lower is better.
            horizon: number of steps H.
            action_space: allowed actions; every candidate is moved into it before it is scored.
            warm_start: mean to start from, (H, A); the action nearest to zero if None.
            candidates: sequences that take the place of draws of the first iteration, (C, H, A).
            generator: source of all randomness; it may live on another device than the box.

        Returns:
            The best sequence that was scored, the mean of the last iteration among them; and the elites' mean cost per
            iteration.

        Raises:
            ValueError: if horizon is below 1, warm_start, candidates or a per-dimension setting do not fit, or the cost
                returns a wrong shape or NaN.

        Source: Pinneri et al. 2020, "Sample-efficient cross-entropy method for real-time planning" (arXiv 2008.06389).
        """
        config = self.config
        momentum, min_std = (
            over_dims(action_space, "momentum", config.momentum),
            std_floor(action_space, config.min_std),
        )
        num_kept = round(config.keep_elites * config.num_elites)
        scorer = Scorer(cost, config.max_batch)
        mean = start_mean(horizon, action_space, warm_start)
        std = action_space.spread.maximum(min_std).expand_as(mean)
        kept, kept_costs = mean.new_empty(0, *mean.shape), mean.new_empty(0)
        elite_costs: list[Tensor] = []
        for iteration in range(config.iterations):
            is_last = iteration == config.iterations - 1
            num_drawn = config.num_drawn(iteration)
            drawn = draw(num_drawn, mean, std, action_space, generator, noise_beta=config.noise_beta)
            if is_last:
                drawn[0] = action_space.project(mean)
            if iteration == 0:
                drawn = place(drawn, candidates, action_space, num_kept=int(is_last))
            costs = torch.cat([scorer.score(drawn, iteration), kept_costs])
            order = cheapest(costs, config.num_elites)
            elites, costs = torch.cat([drawn, kept])[order], costs[order]
            kept, kept_costs = elites[:num_kept], costs[:num_kept]
            elite_costs.append(costs.mean())
            mean = torch.lerp(elites.mean(dim=0), mean, momentum)
            std = torch.lerp(elites.std(dim=0, correction=1), std, momentum).maximum(min_std)
            if agree(elites, action_space, config.tolerance):
                break
        return scorer.give_best(elites, elite_costs)
