"""Costs over 20 numbers whose cheapest sequence is known from a formula; for planners to find.

Letters: K candidates, H horizon, A action dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vjepa_wm.planners import ActionBox, Cost


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """A cost and its only cheapest sequence."""

    cost: Cost
    """Scores candidates (K, H, A) with (K,); can be differentiated."""
    box: ActionBox
    """Allowed actions."""
    optimum: Tensor
    """The cheapest sequence, (H, A)."""

    @property
    def horizon(self) -> int:
        """Give the number of steps H."""
        return len(self.optimum)

    def gap(self, actions: Tensor) -> float:
        """Give how much dearer a plan (H, A) is than the optimum: 0 is the optimum, 1 where the search begins."""
        start = self.box.start.expand_as(self.optimum)
        found, least, first = self.cost(torch.stack([actions, self.optimum, start])).tolist()
        return (found - least) / (first - least)


def quadratic() -> Problem:
    """Make a bowl ten times as steep in one dimension as in another, its bottom inside the box."""
    return _bowl(0.8)


def on_the_bound() -> Problem:
    """Make the same bowl with its bottom outside the box in most dimensions, so that the optimum lies on the bound."""
    return _bowl(3.0)


def slow_curve() -> Problem:
    """Make a round bowl whose bottom changes slowly over 20 steps of one number, as the path of an arm does."""
    bottom = 0.8 * torch.sin(torch.arange(20.0) / 4).unsqueeze(1)
    return Problem(cost=lambda actions: _squares(actions - bottom), box=_unit_box(1), optimum=bottom)


def two_modes() -> Problem:
    """Make two hollows, of which the nearer one is not the deeper one."""
    direction = torch.ones(5, 4)
    direction[:, 1::2] = -1.0
    near, far = -0.4 * direction, 0.5 * direction

    def cost(actions: Tensor) -> Tensor:
        return torch.minimum(_squares(actions - near) + 1.0, _squares(actions - far))

    return Problem(cost=cost, box=_unit_box(4), optimum=far)


def linear_dynamics() -> Problem:
    """Make a cart on a plane that is pushed to the origin in 10 steps, its cost quadratic in states and pushes."""
    step, effort = 0.3, 0.05
    eye, zero = torch.eye(2), torch.zeros(2, 2)
    moves = torch.cat([torch.cat([eye, step * eye], dim=1), torch.cat([zero, eye], dim=1)])
    pushes = torch.cat([zero, step * eye])
    weights = torch.diag(torch.tensor([1.0, 1.0, 0.1, 0.1]))
    start = torch.tensor([0.8, -0.5, 0.0, 0.3])

    def cost(actions: Tensor) -> Tensor:
        state, total = start.expand(len(actions), 4), torch.zeros(len(actions))
        for action in actions.unbind(dim=1):
            state = state @ moves.T + action @ pushes.T
            total = total + ((state @ weights) * state).sum(dim=1) + effort * action.square().sum(dim=1)
        return total

    optimum = riccati(moves, pushes, weights, effort * eye, start, horizon=10)
    return Problem(cost=cost, box=ActionBox(torch.full((2,), -2.5), torch.full((2,), 2.5)), optimum=optimum)


def riccati(moves: Tensor, pushes: Tensor, weights: Tensor, effort: Tensor, start: Tensor, horizon: int) -> Tensor:
    """Solve linear dynamics with a quadratic cost of the states after each step, backwards in time.

    Args:
        moves: next state from the state.
        pushes: next state from the action.
        weights: cost of a state.
        effort: cost of an action.
        start: first state.
        horizon: number of steps H.

    Returns:
        The cheapest actions, (H, A).
    """
    ahead, gains = torch.zeros_like(weights), []
    for _ in range(horizon):
        after = weights + ahead
        gain = torch.linalg.solve(effort + pushes.T @ after @ pushes, pushes.T @ after @ moves)
        ahead = moves.T @ after @ (moves - pushes @ gain)
        gains.append(gain)
    actions, state = [], start
    for gain in reversed(gains):
        actions.append(-gain @ state)
        state = moves @ state + pushes @ actions[-1]
    return torch.stack(actions)


def _bowl(reach: float) -> Problem:
    bottom = reach * torch.sin(torch.arange(1.0, 21.0)).reshape(5, 4)
    steepness = torch.logspace(0, 1, 20)[torch.randperm(20, generator=torch.Generator().manual_seed(0))].reshape(5, 4)

    def cost(actions: Tensor) -> Tensor:
        return _squares((actions - bottom) * steepness.sqrt())

    return Problem(cost=cost, box=_unit_box(4), optimum=bottom.clamp(-1, 1))


def _squares(difference: Tensor) -> Tensor:
    return difference.square().sum(dim=(1, 2))


def _unit_box(dim: int) -> ActionBox:
    return ActionBox(-torch.ones(dim), torch.ones(dim))


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "quadratic": quadratic,
    "on the bound": on_the_bound,
    "slow curve": slow_curve,
    "linear dynamics": linear_dynamics,
    "two modes": two_modes,
}
