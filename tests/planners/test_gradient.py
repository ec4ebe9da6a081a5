from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from all_planners import Seen, quadratic, run

from vjepa_wm.planners import (
    CEM,
    ActionBox,
    CEMConfig,
    GradientConfig,
    GradientPlanner,
    Polish,
    RandomShooting,
    RandomShootingConfig,
)

BOX = ActionBox(torch.tensor([-1.0, -1.0, -0.5]), torch.tensor([1.0, 1.0, 0.5]))
OPTIMUM = torch.tensor([[0.6, -0.3, 0.2], [-0.8, 0.1, 0.0]])
ONE = GradientConfig(num_starts=1, steps=20)


def turning(actions: torch.Tensor) -> torch.Tensor:
    """Push the first number up at first, and down once the second has come far enough."""
    first, second, third = actions[:, 0].unbind(dim=1)
    return (first + 2 * second).square() + 10 * (second - 0.4).square() + (third - 0.1).square()


@pytest.mark.parametrize("limit", [1e3, 0.4])
def test_it_steps_as_adam_does_and_comes_back_into_the_box_after_each(limit):
    # the third dimension is searched four times as widely: the same descent in units of 4
    units = torch.tensor([1.0, 1.0, 4.0])
    box = ActionBox(torch.full((3,), -limit), torch.full((3,), limit), units)
    seen, start = Seen(turning), torch.tensor([[0.3, -0.4, 0.0]])
    config = replace(ONE, steps=30, learning_rate=0.05, betas=(0.8, 0.99))
    run(GradientPlanner(config), seen, box, horizon=1, warm_start=start)
    moved = (start / units).requires_grad_()
    optimizer = torch.optim.Adam([moved], lr=0.05, betas=(0.8, 0.99))
    for batch in seen.batches:
        torch.testing.assert_close(batch[0], (moved * units).detach(), atol=1e-5, rtol=0)
        optimizer.zero_grad()
        turning((moved * units).unsqueeze(0)).sum().backward()
        optimizer.step()
        moved.data = (moved.data * units).clamp(-limit, limit) / units
    first = torch.cat(seen.batches)[:, 0, 0]
    assert len(first) == 31 and first[-1] < 0.2
    assert ((first == 0.4).sum() >= 3) == (limit == 0.4)


def test_starts_are_the_mean_then_candidates_then_draws():
    cost = Seen(quadratic(OPTIMUM))
    warm_start, candidates = torch.full((2, 3), 0.1), torch.full((1, 2, 3), 0.2)
    planner = GradientPlanner(GradientConfig(num_starts=40, steps=1))
    run(planner, cost, BOX, horizon=2, warm_start=warm_start, candidates=candidates)
    starts = cost.batches[0]
    assert torch.equal(starts[0], warm_start) and torch.equal(starts[-1], candidates[0])
    assert len(starts) == 40 and starts[1:-1, 0, 0].std() > 0.5


def test_of_more_candidates_than_starts_the_cheapest_descend():
    cost = Seen(quadratic(OPTIMUM))
    config = GradientConfig(num_starts=3, steps=2)
    candidates = OPTIMUM + torch.tensor([0.3, 0.1, -0.4, 0.2, 9.0]).reshape(-1, 1, 1)
    plan = run(GradientPlanner(config), cost, BOX, horizon=2, candidates=candidates)
    assert torch.equal(cost.batches[0], BOX.project(candidates))
    assert torch.equal(cost.batches[1][1:], BOX.project(candidates[[1, 3]]))
    assert plan.num_evaluations == cost.counted == config.num_evaluations + 5
    wrong = torch.zeros(5, 1, 3)
    with pytest.raises(ValueError, match=r"candidates must have the shape .* \(C, 2, 3\), got \(5, 1, 3\)"):
        run(GradientPlanner(config), cost, BOX, horizon=2, candidates=wrong)


def test_an_action_on_the_bound_comes_back_when_the_slope_turns():
    box = ActionBox(torch.tensor([-1.0]), torch.tensor([1.0]))
    plan = run(
        GradientPlanner(GradientConfig(num_starts=1, steps=80)),
        quadratic(torch.tensor([[-0.5]])),
        box,
        horizon=1,
        warm_start=torch.tensor([[1.0]]),
    )
    torch.testing.assert_close(plan.actions, torch.tensor([[-0.5]]), atol=1e-2, rtol=0)


def test_discrete_dimensions_keep_the_value_of_their_start():
    box = ActionBox(torch.tensor([-1.0, -0.7]), torch.tensor([1.0, 0.7]), discrete=(1,))
    cost = Seen(quadratic(torch.tensor([[0.3, 0.7]])))
    start = torch.tensor([[-0.5, -0.7]])
    plan = run(GradientPlanner(replace(ONE, steps=60)), cost, box, horizon=1, warm_start=start)
    assert (cost.all[..., 1] == -0.7).all()
    assert plan.actions[0, 0] == pytest.approx(0.3, abs=1e-2)
    several = GradientPlanner(GradientConfig(num_starts=3, steps=60))
    candidates = torch.tensor([[[-0.5, 0.0]], [[-0.5, 0.7]]])
    plan = run(several, cost, box, horizon=1, warm_start=start, candidates=candidates)
    torch.testing.assert_close(plan.actions, torch.tensor([[0.3, 0.7]]), atol=1e-2, rtol=0)


def test_it_runs_where_gradients_are_off_and_leaves_none_behind():
    weight = torch.ones(3, requires_grad=True)
    with torch.no_grad():
        plan = run(
            GradientPlanner(ONE), lambda actions: (weight * actions).square().sum(dim=(1, 2)), BOX, horizon=2, seed=1
        )
        assert not torch.is_grad_enabled()
    assert weight.grad is None
    assert not plan.actions.requires_grad and not plan.elites.requires_grad


def test_it_gives_the_best_of_all_steps_and_says_what_each_cost():
    cost = Seen(quadratic(OPTIMUM))
    plan = run(GradientPlanner(replace(ONE, learning_rate=0.9)), cost, BOX, horizon=2)  # jumps over the optimum
    costs = torch.stack([quadratic(OPTIMUM)(batch)[0] for batch in cost.batches])
    assert plan.cost == costs.min() < costs[-1]
    assert list(plan.elite_costs) == costs[:-1].tolist()


@pytest.mark.parametrize(
    "cost",
    [
        lambda actions: torch.from_numpy(actions.detach().numpy()).square().sum(dim=(1, 2)),
        lambda actions: actions.detach().square().sum(dim=(1, 2)) * torch.ones(1, requires_grad=True),
    ],
)
def test_a_cost_without_gradient_is_refused_with_what_needs_none(cost):
    with pytest.raises(ValueError, match=r"cost gives no gradient .* CEM, ICEM, MPPI and RandomShooting need none"):
        run(GradientPlanner(ONE), cost, BOX, horizon=2)


def test_a_gradient_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="gradient of the cost is not finite for 1 of 1 candidates in iteration 0"):
        run(GradientPlanner(ONE), lambda actions: actions.sum(dim=(1, 2)).abs().sqrt(), BOX, horizon=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_starts": 0}, "num_starts must be at least 1, got 0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"betas": (0.9, 1.0)}, "betas must be at least 0 and below 1"),
        ({"tolerance": -0.1}, "tolerance must be at least 0, got -0.1"),
    ],
)
def test_settings_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(ONE, **change)


SAMPLED = CEM(CEMConfig(num_samples=20, num_elites=5, iterations=2))


def test_polish_goes_on_from_the_plan_and_counts_both():
    cost = Seen(quadratic(OPTIMUM))
    before = run(SAMPLED, cost, BOX, horizon=2)
    plan = run(Polish(SAMPLED, GradientPlanner(replace(ONE, steps=60))), cost, BOX, horizon=2)
    assert plan.cost < 0.01 * before.cost
    assert plan.num_evaluations == before.num_evaluations + 121
    assert plan.elite_costs[:3] == (*before.elite_costs, before.cost) and len(plan.elite_costs) == 62
    assert torch.equal(plan.elites, before.elites)


def test_polish_keeps_the_plan_if_the_slope_leads_nowhere_better():
    def rough(actions: torch.Tensor) -> torch.Tensor:  # its slope points away from where it is cheap
        return quadratic(OPTIMUM)(actions).detach() - 1e-3 * (quadratic(OPTIMUM)(actions) - 1.0).clamp_max(1e-9)

    before = run(SAMPLED, rough, BOX, horizon=2)
    plan = run(Polish(SAMPLED, GradientPlanner(replace(ONE, learning_rate=0.5))), rough, BOX, horizon=2)
    assert torch.equal(plan.actions, before.actions) and plan.cost == before.cost


def test_polish_may_start_at_the_elites_too():
    cost = Seen(quadratic(OPTIMUM))
    shooting = RandomShooting(RandomShootingConfig(num_samples=50, num_elites=6))
    plan = run(Polish(shooting, GradientPlanner(GradientConfig(num_starts=3, steps=5))), cost, BOX, horizon=2)
    starts = cost.batches[1]
    assert torch.equal(starts[0], plan.elites[0]) and torch.equal(starts[1:], plan.elites[:2])
