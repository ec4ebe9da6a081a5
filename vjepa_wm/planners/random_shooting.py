"""Random shooting: draw action sequences once and take the best.

It is the floor that a planner has to beat at the same number of evaluations, and enough where a good proposal needs
only to be chosen among a few.

Letters: K candidates, C of them given by the caller, H horizon, A action dimensions.
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
from vjepa_wm.planners.scoring import Scorer, cheapest


@dataclass(frozen=True, kw_only=True)
class RandomShootingConfig:
    """How much to draw. All is drawn at once, so there is nothing that could stop early.

    Raises:
        ValueError: if a count or number is out of range.
    """

    num_samples: int = 768
    """Candidates, K, the first of which is the mean that the others are drawn around."""
    num_elites: int = 8
    """Best candidates that the plan reports."""
    noise_beta: float = 0.0
    """Colour of the noise in time: power falls with the frequency as f^-beta. 0: independent steps."""
    min_std: PerDim = 0.0
    """Floor of the standard deviation in the units of the action; one number, or one per dimension."""
    max_batch: int | None = None
    """Most candidates scored in one call of the cost, which bounds memory; all at once if None."""

    def __post_init__(self) -> None:
        check_at_least(1, num_elites=self.num_elites, max_batch=self.max_batch)
        if self.num_elites > self.num_samples:
            raise ValueError(f"num_elites must not exceed num_samples {self.num_samples}, got {self.num_elites}")
        check_at_least(0, noise_beta=self.noise_beta)
        check_not_negative(min_std=self.min_std)

    @property
    def num_evaluations(self) -> int:
        """Give how many sequences a plan scores."""
        return self.num_samples


class RandomShooting:
    """The best of many sequences drawn from one Gaussian and clipped."""

    def __init__(self, config: RandomShootingConfig) -> None:
        """Make a planner.

        Args:
            config: how much to draw.
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
            warm_start: mean to draw around, (H, A), itself a candidate; the action nearest to zero if None.
            candidates: sequences that take the place of draws, (C, H, A).
            generator: source of all randomness; it may live on another device than the box.

        Returns:
            The best sequence that was scored, and the mean cost of the best `num_elites`.

        Raises:
            ValueError: if horizon is below 1, warm_start, candidates or min_std do not fit, or the cost returns a wrong
                shape or NaN.
        """
        config = self.config
        scorer = Scorer(cost, config.max_batch)
        mean = start_mean(horizon, action_space, warm_start)
        std = action_space.spread.maximum(std_floor(action_space, config.min_std))
        drawn = draw(config.num_samples, mean, std, action_space, generator, noise_beta=config.noise_beta)
        drawn[0] = mean
        drawn = place(drawn, candidates, action_space, num_kept=1)
        costs = scorer.score(drawn, 0)
        order = cheapest(costs, config.num_elites)
        return scorer.give_best(drawn[order], [costs[order].mean()])
