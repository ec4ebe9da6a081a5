"""The cross-entropy method: sample action sequences, keep the best, fit a Gaussian to them, repeat.

It needs no gradients of the world model and is the planner with the best published record on latent world models, so
it is the one that everything else here is compared with.

Letters: K candidates, H horizon, A action dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vjepa_wm.checks import check_at_least
from vjepa_wm.planners.action_box import ActionBox
from vjepa_wm.planners.planner import Cost, Plan

PerDim = float | tuple[float, ...]
"""One number for all action dimensions, or one for each."""


@dataclass(frozen=True, kw_only=True)
class CEMConfig:
    """How widely and how long to search.

    Raises:
        ValueError: if a count or share is out of range.
    """

    num_samples: int = 64
    """Candidates drawn per iteration, K."""
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
    """Planned values of smaller size than this become 0 in the result, in the units of the action."""
    keep_mean: bool = False
    """Score the mean itself as one of the candidates."""
    max_batch: int | None = None
    """Most candidates scored in one call of the cost, which bounds memory; all at once if None."""

    def __post_init__(self) -> None:
        if self.num_elites < 2:
            raise ValueError(f"num_elites must be at least 2 to have a standard deviation, got {self.num_elites}")
        if self.num_elites > self.num_samples:
            raise ValueError(f"num_elites must not exceed num_samples {self.num_samples}, got {self.num_elites}")
        check_at_least(1, iterations=self.iterations, max_batch=self.max_batch)
        for name in ("momentum_mean", "momentum_std"):
            value = getattr(self, name)
            if not all(0 <= share < 1 for share in _numbers(value)):
                raise ValueError(f"{name} must be at least 0 and below 1, got {value}")
        for name in ("min_std", "deadzone"):
            value = getattr(self, name)
            if not all(number >= 0 for number in _numbers(value)):
                raise ValueError(f"{name} must not be negative, got {value}")


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
        generator: torch.Generator,
    ) -> Plan:
        """Search for the sequence of least cost.

        Args:
            cost: scores candidates (K, H, A) with (K,), lower is better.
            horizon: number of steps H.
            action_space: allowed actions; every candidate is clipped to it before it is scored.
            warm_start: mean to start from, (H, A); the action nearest to zero if None.
            generator: source of all randomness; it may live on another device than the box.

        Returns:
            The final mean (not the best sample), its cost, and the elites' mean cost per iteration.

        Raises:
            ValueError: if horizon is below 1, warm_start or a per-dimension setting does not fit the action space, or
                the cost returns a wrong shape or NaN.

        Source: V-JEPA 2 (arXiv 2506.09985), section 3.2; De Boer et al. 2005, "A tutorial on the cross-entropy method".
        """
        momentum_mean, momentum_std, min_std, deadzone = self._per_dim(action_space)
        mean = _start_mean(horizon, action_space, warm_start)
        std = action_space.spread.expand_as(mean)
        elite_costs = []
        for iteration in range(self.config.iterations):
            candidates = self._draw(mean, std, action_space, generator)
            costs = self._score(cost, candidates, iteration)
            best = costs.topk(self.config.num_elites, largest=False)
            elites = candidates[best.indices]
            mean = torch.lerp(elites.mean(dim=0), mean, momentum_mean)
            std = torch.lerp(elites.std(dim=0, correction=1), std, momentum_std).maximum(min_std)
            elite_costs.append(best.values.mean())
        actions = action_space.project(mean.masked_fill(mean.abs() < deadzone, 0.0))
        final = self._score(cost, actions.unsqueeze(0), self.config.iterations)
        return Plan(actions=actions, cost=final.item(), elite_costs=tuple(torch.stack(elite_costs).tolist()))

    def _per_dim(self, box: ActionBox) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Spread the per-dimension settings over the dimensions of the box; pinned ones keep a std of 0."""
        values = []
        for name in ("momentum_mean", "momentum_std", "min_std", "deadzone"):
            numbers = _numbers(getattr(self.config, name))
            if len(numbers) not in (1, box.dim):
                raise ValueError(
                    f"{name} must be one number or one per action dimension ({box.dim}), got {len(numbers)} numbers"
                )
            values.append(box.low.new_tensor(numbers).expand(box.dim))
        momentum_mean, momentum_std, min_std, deadzone = values
        return momentum_mean, momentum_std, min_std.masked_fill(box.pinned, 0.0), deadzone

    def _draw(self, mean: Tensor, std: Tensor, box: ActionBox, generator: torch.Generator) -> Tensor:
        """Draw candidates (K, H, A) around the mean, clipped to the box."""
        shape = (self.config.num_samples, *mean.shape)
        # drawn where the generator lives, so that a plan does not depend on the device it is scored on
        noise = torch.randn(shape, generator=generator, device=generator.device, dtype=mean.dtype).to(mean.device)
        candidates = box.project(mean + std * noise)
        if self.config.keep_mean:
            candidates[0] = box.project(mean)
        return candidates

    def _score(self, cost: Cost, candidates: Tensor, iteration: int) -> Tensor:
        """Score candidates in batches of at most max_batch and refuse what cannot be ranked."""
        chunks = candidates.split(self.config.max_batch or len(candidates))
        parts = []
        for chunk in chunks:
            part = cost(chunk)
            if part.shape != (len(chunk),):
                raise ValueError(
                    f"cost must return one number per candidate, shape ({len(chunk)},), got {tuple(part.shape)}"
                )
            parts.append(part)
        costs = torch.cat(parts)
        num_bad = int(costs.isnan().sum())
        if num_bad:
            raise ValueError(f"cost returned NaN for {num_bad} of {len(costs)} candidates in iteration {iteration}")
        return costs


def _numbers(value: PerDim) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _start_mean(horizon: int, box: ActionBox, warm_start: Tensor | None) -> Tensor:
    """Give the first mean (H, A), inside the box."""
    check_at_least(1, horizon=horizon)
    if warm_start is None:
        return box.start.expand(horizon, box.dim)
    if warm_start.shape != (horizon, box.dim):
        raise ValueError(
            f"warm_start must have the shape (horizon, A) ({horizon}, {box.dim}), got {tuple(warm_start.shape)}"
        )
    return box.project(warm_start.to(box.low))
