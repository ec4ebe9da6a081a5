"""What every planner keeps, whatever it does inside."""

from __future__ import annotations

import pytest
import torch
from all_planners import NAMES, SAMPLING, Seen, make_planner, num_evaluations, quadratic, run

from vjepa_wm.planners import ActionBox, Polish

BOX = ActionBox(torch.tensor([-1.0, -1.0, -0.5]), torch.tensor([1.0, 1.0, 0.5]))
OPTIMUM = torch.tensor([[0.6, -0.3, 0.2], [-0.8, 0.1, 0.0], [0.2, 0.9, -0.4]])
LONG = {
    "cem": {"iterations": 60},
    "icem": {"iterations": 60},
    "mppi": {"iterations": 60},
    "gradient": {"num_starts": 1, "steps": 200},
}
EVERY = pytest.mark.parametrize("name", NAMES)


@EVERY
def test_all_that_is_scored_is_allowed_and_so_is_the_plan(name):
    box = ActionBox(
        torch.tensor([-0.5, -0.5, 0.3, -0.2]),
        torch.tensor([0.5, 0.5, 0.3, 0.4]),
        std=torch.tensor([2.0, 2.0, 9.0, 2.0]),
        discrete=(3,),
        norm_dims=(0, 1),
        max_norm=0.6,
    )
    cost = Seen(quadratic(torch.tensor([3.0, 2.0, 1.0, 0.3])))
    wild = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(5)) * 4
    plan = run(make_planner(name), cost, box, warm_start=wild[0], candidates=wild[1:])
    for actions in (cost.all, plan.actions, plan.elites):
        assert actions[..., :2].abs().max() <= 0.5
        assert actions[..., :2].norm(dim=-1).max() <= 0.6
        assert (actions[..., 2] == 0.3).all()
        assert set(actions[..., 3].unique().tolist()) <= set(torch.tensor([-0.2, 0.0, 0.4]).tolist())
    assert cost.all[..., 3].unique().numel() == 3
    assert cost.all[..., 0].unique().numel() > 10
    torch.testing.assert_close(plan.actions[:, :2].norm(dim=1), torch.full((3,), 0.6), atol=2e-2, rtol=0)


@EVERY
def test_the_cost_is_that_of_exactly_the_plan(name):
    cost = quadratic(OPTIMUM)
    plan = run(make_planner(name), cost, BOX)
    assert plan.cost == cost(plan.actions.unsqueeze(0)).item()
    assert plan.cost < cost(torch.zeros(1, 3, 3)).item()
    assert plan.actions.shape == (3, 3) and not plan.actions.requires_grad


@EVERY
@pytest.mark.parametrize("num_candidates", [0, 3])
def test_evaluations_are_counted_and_candidates_cost_none_more(name, num_candidates):
    cost, planner = Seen(quadratic(OPTIMUM)), make_planner(name)
    candidates = 0.3 * torch.ones(num_candidates, 3, 3) if num_candidates else None
    plan = run(planner, cost, BOX, candidates=candidates)
    assert plan.num_evaluations == cost.counted == num_evaluations(planner)
    assert len(plan.elite_costs) > 0 and plan.elite_costs[-1] <= plan.elite_costs[0]


@EVERY
def test_candidates_are_scored_first_beside_draws(name):
    cost = Seen(quadratic(OPTIMUM))
    candidates = torch.stack([torch.full((3, 3), 0.25), torch.full((3, 3), 7.0)])
    run(make_planner(name), cost, BOX, candidates=candidates)
    first = cost.batches[0]
    for wanted in (candidates[0], BOX.high.expand(3, 3)):
        assert (first == wanted).all(dim=(1, 2)).any()
    assert len(first.unique(dim=0)) == len(first)


@EVERY
def test_a_plan_is_never_worse_than_the_best_candidate(name):
    needle = torch.full((3, 3), 0.4)  # a cost that only this one sequence escapes, where no slope and no mean leads to

    def cost(actions: torch.Tensor) -> torch.Tensor:
        return quadratic(OPTIMUM)(actions) + 50.0 * (actions != needle).any(dim=(1, 2))

    candidates = torch.stack([needle - 0.8, needle, needle + 0.1])
    plan = run(make_planner(name), cost, BOX, candidates=candidates)
    assert torch.equal(plan.actions, needle)
    assert run(make_planner(name), cost, BOX).cost > 50.0


@EVERY
def test_a_warm_start_is_where_the_search_begins(name):
    short = {"cem": {"iterations": 2}, "icem": {"iterations": 2}, "mppi": {"iterations": 2}, "gradient": {"steps": 3}}
    planner = make_planner(name, **short.get(name, {}))
    far = torch.tensor([[0.9, -0.8, 0.4], [0.9, -0.8, 0.4], [-0.9, 0.8, -0.4]])
    cold, warm = 0.0, 0.0
    for seed in range(3):
        start = far + 0.05 * torch.randn(3, 3, generator=torch.Generator().manual_seed(100 + seed))
        cold += run(planner, quadratic(far), BOX, seed=seed).cost
        warm += run(planner, quadratic(far), BOX, seed=seed, warm_start=start).cost
    assert warm < 0.7 * cold


@EVERY
def test_the_generator_decides_everything(name):
    planner, cost, before = make_planner(name), quadratic(OPTIMUM), torch.get_rng_state()
    first = run(planner, cost, BOX, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    other = run(planner, cost, BOX, seed=2)
    torch.manual_seed(123)
    again = run(planner, cost, BOX, seed=1)
    torch.set_rng_state(before)
    assert torch.equal(first.actions, again.actions) and first.elite_costs == again.elite_costs
    assert not torch.equal(first.elites, other.elites)


@EVERY
@pytest.mark.parametrize("max_batch", [1, 7, 1000])
def test_chunks_give_the_same_plan(name, max_batch):
    whole = run(make_planner(name), quadratic(OPTIMUM), BOX)
    cost = Seen(quadratic(OPTIMUM))
    parts = run(make_planner(name, max_batch=max_batch), cost, BOX)
    assert max(len(batch) for batch in cost.batches) <= max_batch
    assert torch.equal(whole.actions, parts.actions) and whole.elite_costs == parts.elite_costs
    assert whole.num_evaluations == parts.num_evaluations


@EVERY
def test_a_floor_keeps_draws_wide_in_its_dimension_alone(name):
    box = ActionBox(-torch.ones(3), torch.ones(3), std=torch.full((3,), 0.01))
    cost = Seen(quadratic(torch.zeros(3, 3)))
    changes = {"num_starts": 200, "steps": 1} if name == "gradient" else {}
    run(make_planner(name, min_std=(0.3, 0.0, 0.0), **changes), cost, box)
    last = cost.batches[-2] if name in ("cem", "mppi") else cost.batches[-16] if name == "polish" else cost.batches[-1]
    std = last.std(dim=(0, 1))
    assert 0.2 < std[0] < 0.4
    assert std[1] < 0.02 and std[2] < 0.02


@pytest.mark.parametrize("name", [name for name in NAMES if name != "random_shooting"])
def test_an_early_stop_saves_evaluations_once_all_agree(name):
    if name == "polish":
        sampler, gradient = (make_planner(part, tolerance=0.02, **LONG[part]) for part in ("cem", "gradient"))
        planner = Polish(sampler, gradient)
    else:
        planner = make_planner(name, tolerance=0.02, **LONG[name])
    cost = quadratic(OPTIMUM)
    plan = run(planner, cost, BOX)
    assert plan.num_evaluations < 0.7 * num_evaluations(planner)
    assert plan.cost == cost(plan.actions.unsqueeze(0)).item() < 0.1 * OPTIMUM.square().sum()


@EVERY
def test_infinite_costs_mark_what_is_not_wanted(name):
    def cost(actions: torch.Tensor) -> torch.Tensor:
        return torch.where(actions[:, 0, 0] < 0.1, torch.inf, quadratic(OPTIMUM)(actions))

    plan = run(make_planner(name), cost, BOX)
    assert plan.cost < quadratic(OPTIMUM)(torch.zeros(1, 3, 3)).item()
    nothing = run(make_planner(name), lambda actions: cost(actions) + torch.inf, BOX)
    assert nothing.cost == torch.inf and nothing.actions.isfinite().all()


@EVERY
def test_one_step_of_one_number_is_enough(name):
    box = ActionBox(torch.tensor([0.5]), torch.tensor([1.0]))
    plan = run(make_planner(name), quadratic(torch.tensor([[0.7]])), box, horizon=1)
    torch.testing.assert_close(plan.actions, torch.tensor([[0.7]]), atol=1e-2, rtol=0)


@EVERY
def test_costs_that_cannot_be_ranked_are_refused(name):
    def with_nan(actions: torch.Tensor) -> torch.Tensor:
        return quadratic(OPTIMUM)(actions) * torch.where(torch.arange(len(actions)) < 2, torch.nan, 1.0)

    with pytest.raises(ValueError, match=r"cost returned NaN for 2 of \d+ candidates in iteration 0"):
        run(make_planner(name), with_nan, BOX)
    with pytest.raises(ValueError, match=r"cost must return one number per candidate, shape \(\d+,\), got"):
        run(make_planner(name), lambda actions: actions.sum(dim=2), BOX)


@EVERY
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"horizon": 0}, "horizon must be at least 1, got 0"),
        ({"warm_start": torch.zeros(2, 3)}, r"warm_start must have the shape .* \(3, 3\), got \(2, 3\)"),
        ({"candidates": torch.zeros(3, 3)}, r"candidates must have the shape .* \(C, 3, 3\), got \(3, 3\)"),
        ({"candidates": torch.zeros(2, 3, 4)}, r"candidates must have the shape .* \(C, 3, 3\), got \(2, 3, 4\)"),
    ],
)
def test_arguments_that_do_not_fit_are_named(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        run(make_planner(name), quadratic(torch.zeros(3)), BOX, **arguments)


@pytest.mark.parametrize("name", [*SAMPLING, "polish"])
def test_more_candidates_than_draws_are_refused(name):
    with pytest.raises(ValueError, match=r"candidates must be at most \d+, the draws they take the place of, got 101"):
        run(make_planner(name), quadratic(OPTIMUM), BOX, candidates=torch.zeros(101, 3, 3))


@EVERY
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_batch": 0}, "max_batch must be at least 1, got 0"),
        ({"min_std": -0.1}, "min_std must not be negative, got -0.1"),
    ],
)
def test_settings_out_of_range_are_named(name, change, message):
    with pytest.raises(ValueError, match=message):
        make_planner(name, **change)


@EVERY
def test_a_setting_for_another_number_of_dimensions_is_named(name):
    with pytest.raises(ValueError, match=r"min_std must be one number or one per action dimension \(3\), got 2"):
        run(make_planner(name, min_std=(0.1, 0.1)), quadratic(OPTIMUM), BOX)


@pytest.mark.parametrize("name", SAMPLING)
def test_samples_need_no_gradient(name):
    plan = run(make_planner(name), lambda actions: torch.from_numpy(actions.numpy()).square().sum(dim=(1, 2)), BOX)
    assert plan.cost < 0.5


@pytest.mark.parametrize("name", [*SAMPLING, "polish"])
def test_discrete_dimensions_are_found(name):
    box = ActionBox(torch.tensor([-1.0, -0.7]), torch.tensor([1.0, 0.7]), discrete=(1,))
    optimum = torch.tensor([[0.3, 0.7], [-0.2, 0.0], [0.1, -0.7]])
    planner = make_planner(name, **({"num_samples": 600} if name == "random_shooting" else {}))
    plan = run(planner, lambda actions: ((actions - optimum).square() * torch.tensor([0.1, 1.0])).sum(dim=(1, 2)), box)
    torch.testing.assert_close(plan.actions[:, 1], optimum[:, 1])
