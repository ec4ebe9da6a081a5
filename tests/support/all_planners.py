"""Every planner with a small search, for what all of them must keep."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vjepa_wm.planners import (
    CEM,
    ICEM,
    MPPI,
    ActionBox,
    CEMConfig,
    GradientConfig,
    GradientPlanner,
    ICEMConfig,
    MPPIConfig,
    Plan,
    Polish,
    RandomShooting,
    RandomShootingConfig,
)

CONFIGS = {
    "cem": CEMConfig(num_samples=24, num_elites=6, iterations=4, keep_mean=True, return_best=True),
    "icem": ICEMConfig(num_samples=30, num_elites=6, iterations=4),
    "mppi": MPPIConfig(num_samples=24, num_elites=6, iterations=4, return_best=True),
    "random_shooting": RandomShootingConfig(num_samples=100),
    "gradient": GradientConfig(num_starts=5, steps=12),
}
KINDS = {
    "cem": CEM,
    "icem": ICEM,
    "mppi": MPPI,
    "random_shooting": RandomShooting,
    "gradient": GradientPlanner,
}
SAMPLING = ("cem", "icem", "mppi", "random_shooting")
NAMES = (*KINDS, "polish")


def make_planner(name: str, **changes):
    """Make a planner whose options, and those of what polishes it, are changed."""
    if name == "polish":
        return Polish(make_planner("cem", **changes), make_planner("gradient", num_starts=1, **changes))
    return KINDS[name](replace(CONFIGS[name], **changes))


def num_evaluations(planner) -> int:
    """Give what a planner says that it counts."""
    if isinstance(planner, Polish):
        return num_evaluations(planner.planner) + num_evaluations(planner.gradient)
    return planner.config.num_evaluations


class Seen:
    """A cost that keeps what it was given, and counts a gradient as one more evaluation."""

    def __init__(self, cost):
        self.cost, self.batches, self.counted = cost, [], 0

    def __call__(self, actions: Tensor) -> Tensor:
        self.batches.append(actions.detach())
        self.counted += len(actions) * (2 if actions.requires_grad else 1)
        return self.cost(actions)

    @property
    def all(self) -> Tensor:
        return torch.cat(self.batches)


def run(planner, cost, box: ActionBox, *, horizon: int = 3, seed: int = 0, **arguments) -> Plan:
    generator = torch.Generator().manual_seed(seed)
    return planner.plan(cost, horizon=horizon, action_space=box, generator=generator, **arguments)


def quadratic(optimum: Tensor):
    return lambda actions: (actions - optimum).square().sum(dim=(1, 2))
