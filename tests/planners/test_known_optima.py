"""Planners against costs whose optimum is known from a formula."""

from __future__ import annotations

import pytest
import torch
from known_optima import PROBLEMS, two_modes

from vjepa_wm.planners import (
    CEM,
    ICEM,
    MPPI,
    CEMConfig,
    GradientConfig,
    GradientPlanner,
    ICEMConfig,
    MPPIConfig,
    Polish,
    RandomShooting,
    RandomShootingConfig,
)

SAMPLED = CEMConfig(num_samples=100, num_elites=12, iterations=6, keep_mean=True, return_best=True)
PLANNERS = {  # at most 801 evaluations, and how much of the way down may be left: a bowl, two modes
    "random_shooting": (RandomShooting(RandomShootingConfig(num_samples=800)), 0.999, 1.0),
    "cem": (CEM(CEMConfig(num_samples=100, num_elites=12, iterations=8, keep_mean=True)), 0.2, 0.5),
    "icem": (ICEM(ICEMConfig(num_samples=190, num_elites=12, iterations=8, noise_beta=0.5)), 0.25, 0.5),
    "mppi": (MPPI(MPPIConfig(num_samples=100, num_elites=20, iterations=8)), 0.2, 0.5),
    "gradient": (GradientPlanner(GradientConfig(num_starts=4, steps=60, learning_rate=0.2)), 2e-3, 0.3),
    "polish": (Polish(CEM(SAMPLED), GradientPlanner(GradientConfig(num_starts=1, steps=60))), 2e-3, 0.3),
}


def plan_for(problem, planner, **arguments):
    return planner.plan(
        problem.cost,
        horizon=problem.horizon,
        action_space=problem.box,
        generator=torch.Generator().manual_seed(0),
        **arguments,
    )


@pytest.mark.parametrize("problem", PROBLEMS)
def test_no_slope_leads_on_from_the_formulas_optimum(problem):
    known = PROBLEMS[problem]()
    optimum = known.optimum.clone().requires_grad_()
    (slope,) = torch.autograd.grad(known.cost(optimum.unsqueeze(0)).sum(), optimum)
    torch.testing.assert_close(known.box.project(known.optimum - slope), known.optimum, atol=1e-4, rtol=0)
    assert known.gap(known.optimum) == 0
    assert known.gap(known.box.start.expand_as(known.optimum)) == 1
    drawn = known.box.project(torch.randn(1000, *known.optimum.shape, generator=torch.Generator().manual_seed(0)))
    assert known.cost(drawn).min() > known.cost(known.optimum.unsqueeze(0)).item()


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", PLANNERS)
def test_plans_come_near_the_optimum(name, problem):
    planner, on_a_bowl, with_two_modes = PLANNERS[name]
    known = PROBLEMS[problem]()
    plan = plan_for(known, planner)
    assert plan.num_evaluations <= 801
    assert known.gap(plan.actions) <= (with_two_modes if problem == "two modes" else on_a_bowl)
    if name in ("gradient", "polish") and problem != "two modes":
        torch.testing.assert_close(plan.actions, known.optimum, atol=0.1, rtol=0)
    if name in ("gradient", "polish") and problem == "on the bound":
        at_bound = known.optimum.abs() == 1
        assert at_bound.sum() >= 10 and torch.equal(plan.actions[at_bound], known.optimum[at_bound])


@pytest.mark.parametrize("name", PLANNERS)
def test_proposals_of_both_modes_lead_to_the_deeper_one(name):
    known = two_modes()
    generator = torch.Generator().manual_seed(3)
    both = torch.cat([known.optimum, -0.8 * known.optimum]).reshape(2, 5, 4)
    candidates = both + 0.05 * torch.randn(2, 5, 4, generator=generator)
    planner = PLANNERS[name][0]
    if name in ("cem", "mppi"):
        planner = type(planner)(type(planner.config)(return_best=True))  # few samples: the mean may be in between
    plan = plan_for(known, planner, candidates=candidates)
    assert (plan.actions - known.optimum).abs().max() < 0.25


def test_one_start_takes_the_nearer_mode_and_several_the_deeper():
    known = two_modes()
    one = plan_for(known, GradientPlanner(GradientConfig(num_starts=1, steps=60)))
    torch.testing.assert_close(one.actions, -0.8 * known.optimum, atol=1e-2, rtol=0)
    several = plan_for(known, GradientPlanner(GradientConfig(num_starts=8, steps=60)))
    torch.testing.assert_close(several.actions, known.optimum, atol=0.1, rtol=0)
