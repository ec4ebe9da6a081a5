"""The cross-entropy method: sample action sequences, keep the best, fit a Gaussian to them, repeat.

It needs no gradients of the world model and is the planner with the best published record on latent world models, so
it is the one that everything else here is compared with.

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
class CEMConfig:
    """How widely and how long to search.

    Raises:
        ValueError: if a count or share is out of range.
    """

    num_samples: int = 64
    """Candidates per iteration, K."""
    num_elites: int = 8
    """Best candidates that the next Gaussian is fitted to."""
    iterations: int = 4
    """Rounds of drawing and fitting."""
    momentum_mean: PerDim = 0.0
    """Share of the old mean that is kept, 0 to below 1; one number, or one per action dimension."""
    momentum_std: PerDim = 0.0
    """Share of the old standard deviation that is kept, likewise."""
    min_std: PerDim = 0.0
    """Floor of the standard deviation in the units of the action; it keeps a long search from freezing."""
    deadzone: PerDim = 0.0
    """Values of the final mean of smaller size than this become 0, in the units of the action."""
    keep_mean: bool = False
    """Score the mean itself as one of the candidates."""
    return_best: bool = False
    """Give the best sequence that was scored if it is cheaper than the final mean."""
    tolerance: float = 0.0
    """Stop early when the elites agree: when their first actions differ, in every dimension, by a standard deviation
    of at most this share of the first search's. 0: never."""
    max_batch: int | None = None
    """Most candidates scored in one call of the cost, which bounds memory; all at once if None."""

    def __post_init__(self) -> None:
        if self.num_elites < 2:
            raise ValueError(f"num_elites must be at least 2 to have a standard deviation, got {self.num_elites}")
        if self.num_elites > self.num_samples:
            raise ValueError(f"num_elites must not exceed num_samples {self.num_samples}, got {self.num_elites}")
        check_at_least(1, iterations=self.iterations, max_batch=self.max_batch)
        check_at_least(0, tolerance=self.tolerance)
        check_shares(momentum_mean=self.momentum_mean, momentum_std=self.momentum_std)
        check_not_negative(min_std=self.min_std, deadzone=self.deadzone)

    @property
    def num_evaluations(self) -> int:
        """Give how many sequences a plan scores unless it stops early, the final mean among them."""
        return self.num_samples * self.iterations + 1


def vjepa2() -> CEMConfig:
    """Give the settings of V-JEPA 2-AC's robot experiments; use them with `vjepa2_box()` and horizon 1.

    The paper states 800 samples, 10 elites, 10 iterations and horizon 1, but no momenta: 0.15 of mean and standard
    deviation is what the released planner takes for ten iterations (its notebook, with two, keeps 0.75 of the standard
    deviation of xyz). Gripper commands below 0.25 become 0.

    Returns:
        A config for actions of 7 dimensions.

    Source: V-JEPA 2 (arXiv 2506.09985), section 4.2, and the released planner.
    """
    return CEMConfig(
        num_samples=800,
        num_elites=10,
        iterations=10,
        momentum_mean=0.15,
        momentum_std=0.15,
        deadzone=(0.0,) * 6 + (0.25,),
    )


def jepa_wms() -> CEMConfig:
    """Give the settings of JEPA-WMs for robot arms (Metaworld, RoboCasa, DROID): 300 samples, 10 elites, 15 iterations.

    They plan 6 steps (Metaworld) or 3 (RoboCasa, DROID) with an L2 energy of the last one. Its mazes and Push-T take 30
    iterations. The first standard deviation belongs to the box: 1 for actions in units of their deviation, 0.1 for
    DROID's in metres and radians, there with limits of 0.1, and 0.75 for the gripper.

    Returns:
        A config for actions of any dimension.

    Source: JEPA-WMs (arXiv 2512.24497) and the configurations released with it.
    """
    return CEMConfig(num_samples=300, num_elites=10, iterations=15, keep_mean=True)


def dino_wm() -> CEMConfig:
    """Give the settings of DINO-WM for Push-T: 300 samples, 30 elites, 30 iterations.

    It plans 5 steps of actions in units of their deviation, which is the first standard deviation, and executes all of
    them. Its mazes take 10 iterations.

    Returns:
        A config for actions of any dimension.

    Source: DINO-WM (arXiv 2411.04983) and the configurations released with it.
    """
    return CEMConfig(num_samples=300, num_elites=30, iterations=30, keep_mean=True)


def cpu() -> CEMConfig:
    """Give settings for two CPU cores and a small model: 128 samples, 12 elites, 6 iterations.

    Half the samples and fewer iterations take a third of the time, and leave the arm of the reach task restless at the
    goal.

    Returns:
        A config for actions of any dimension.
    """
    return CEMConfig(num_samples=128, num_elites=12, iterations=6, keep_mean=True)


class CEM:
    """Cross-entropy method with a diagonal Gaussian over clipped action sequences."""

    def __init__(self, config: CEMConfig) -> None:
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
            ValueError: if horizon is below 1, warm_start, candidates or a per-dimension setting do not fit, or the cost
                returns a wrong shape or NaN.

        Source: V-JEPA 2 (arXiv 2506.09985), section 3.2; De Boer et al. 2005, "A tutorial on the cross-entropy method".
        """
        config = self.config
        momentum_mean, momentum_std, deadzone = (
            over_dims(action_space, name, getattr(config, name))
            for name in ("momentum_mean", "momentum_std", "deadzone")
        )
        min_std = std_floor(action_space, config.min_std)
        scorer = Scorer(cost, config.max_batch)
        mean = start_mean(horizon, action_space, warm_start)
        std = action_space.spread.maximum(min_std).expand_as(mean)
        elite_costs: list[Tensor] = []
        for iteration in range(config.iterations):
            drawn = draw(config.num_samples, mean, std, action_space, generator)
            if config.keep_mean:
                drawn[0] = action_space.project(mean)
            if iteration == 0:
                drawn = place(drawn, candidates, action_space, num_kept=int(config.keep_mean))
            costs = scorer.score(drawn, iteration)
            order = cheapest(costs, config.num_elites)
            elites = drawn[order]
            elite_costs.append(costs[order].mean())
            mean = torch.lerp(elites.mean(dim=0), mean, momentum_mean)
            std = torch.lerp(elites.std(dim=0, correction=1), std, momentum_std).maximum(min_std)
            if agree(elites, action_space, config.tolerance):
                break
        actions = action_space.project(mean.masked_fill(mean.abs() < deadzone, 0.0))
        return scorer.give(actions, elites, elite_costs, return_best=config.return_best)
