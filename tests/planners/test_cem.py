from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vjepa_wm.planners import CEM, ActionBox, CEMConfig, shift, vjepa2_box
from vjepa_wm.planners.cem import cpu, dino_wm, jepa_wms, vjepa2

BOX = ActionBox(torch.tensor([-1.0, -1.0, -0.5]), torch.tensor([1.0, 1.0, 0.5]))
CONFIG = CEMConfig(num_samples=200, num_elites=20, iterations=12)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quadratic(optimum: torch.Tensor):
    return lambda actions: (actions - optimum).square().sum(dim=(1, 2))


def test_finds_the_optimum_inside_the_box():
    optimum = torch.tensor([[0.6, -0.3, 0.2], [-0.8, 0.1, 0.0]])
    plan = CEM(CONFIG).plan(quadratic(optimum), horizon=2, action_space=BOX, generator=rng())
    torch.testing.assert_close(plan.actions, optimum, atol=1e-2, rtol=0)


def test_finds_the_optimum_in_a_narrow_tilted_valley():
    # steep across, shallow along the diagonal: the dimensions cannot be solved one by one
    target = torch.tensor([0.5, 0.3, -0.2])

    def cost(actions: torch.Tensor) -> torch.Tensor:
        difference = actions[:, 0] - target
        across = difference[:, 0] - difference[:, 1]
        return difference.square().sum(dim=1) + 10 * across.square()

    config = replace(CONFIG, num_samples=400, num_elites=40, iterations=25)
    plan = CEM(config).plan(cost, horizon=1, action_space=BOX, generator=rng())
    torch.testing.assert_close(plan.actions[0], target, atol=2e-2, rtol=0)


def test_an_optimum_outside_the_box_is_met_at_the_boundary():
    optimum = torch.tensor([[3.0, -0.3, -2.0]])
    plan = CEM(CONFIG).plan(quadratic(optimum), horizon=1, action_space=BOX, generator=rng())
    torch.testing.assert_close(plan.actions, torch.tensor([[1.0, -0.3, -0.5]]), atol=1e-2, rtol=0)


def test_every_candidate_lies_in_the_box_and_pinned_dimensions_never_move():
    box = ActionBox(torch.tensor([-1.0, 0.3, -0.5]), torch.tensor([1.0, 0.3, 0.5]), torch.tensor([4.0, 9.0, 4.0]))
    seen = []

    def cost(actions: torch.Tensor) -> torch.Tensor:
        seen.append(actions)
        return actions.square().sum(dim=(1, 2))

    config = replace(CONFIG, min_std=0.2, momentum_mean=0.15, momentum_std=0.15)
    plan = CEM(config).plan(cost, horizon=2, action_space=box, generator=rng())
    candidates = torch.cat(seen)
    assert (candidates >= box.low).all()
    assert (candidates <= box.high).all()
    torch.testing.assert_close(candidates[..., 1].unique(), torch.tensor([0.3]))
    torch.testing.assert_close(plan.actions[:, 1], torch.tensor([0.3, 0.3]))
    assert candidates[..., 0].unique().numel() > 1000


def test_the_update_is_the_published_one():
    # one iteration over known candidates against the formula: new = (1 - m) * elites + m * old
    seen = []

    def cost(actions: torch.Tensor) -> torch.Tensor:
        seen.append(actions)
        return actions[:, 0, 0]

    momentum = (0.15, 0.5, 0.9)
    config = CEMConfig(num_samples=50, num_elites=5, iterations=1, momentum_mean=momentum)
    old = torch.tensor([[0.2, 0.2, 0.2]])
    plan = CEM(config).plan(cost, horizon=1, action_space=BOX, warm_start=old, generator=rng())
    elites = seen[0][seen[0][:, 0, 0].argsort()[:5]]
    share = torch.tensor(momentum)
    torch.testing.assert_close(plan.actions, (1 - share) * elites.mean(dim=0) + share * old)
    torch.testing.assert_close(plan.elite_costs[0], elites[:, 0, 0].mean().item())


@pytest.mark.parametrize(("momentum", "min_std"), [(0.0, 0.0), (0.75, 0.0), (0.0, 0.7)])
def test_the_second_gaussian_has_the_spread_of_the_elites(momentum, min_std):
    box = ActionBox(torch.full((1,), -1e6), torch.full((1,), 1e6), torch.ones(1))  # wide: nothing is clipped
    seen = []

    def cost(actions: torch.Tensor) -> torch.Tensor:
        seen.append(actions)
        return actions[:, 0, 0].abs()

    config = CEMConfig(num_samples=4000, num_elites=3, iterations=2, momentum_std=momentum, min_std=min_std)
    CEM(config).plan(cost, horizon=1, action_space=box, generator=rng())
    elites = seen[0][seen[0].flatten().abs().argsort()[:3]].flatten()
    unbiased = ((elites - elites.mean()).square().sum() / 2).sqrt()
    expected = ((1 - momentum) * unbiased + momentum * 1.0).clamp(min=min_std)
    torch.testing.assert_close(seen[1].std(), expected, rtol=0.05, atol=0)


@pytest.mark.parametrize("max_batch", [1, 7, 64, 1000])
def test_chunks_give_the_same_plan(max_batch):
    sizes = []

    def cost(actions: torch.Tensor) -> torch.Tensor:
        sizes.append(len(actions))
        return (actions - 0.3).square().sum(dim=(1, 2))

    whole = CEM(CEMConfig()).plan(cost, horizon=3, action_space=BOX, generator=rng())
    sizes.clear()
    parts = CEM(replace(CEMConfig(), max_batch=max_batch)).plan(cost, horizon=3, action_space=BOX, generator=rng())
    assert max(sizes) == min(max_batch, 64)
    assert torch.equal(whole.actions, parts.actions)
    assert whole.cost == parts.cost


def test_a_warm_start_helps_a_short_search():
    optimum = torch.tensor([[0.9, -0.8, 0.4], [0.9, -0.8, 0.4], [-0.9, 0.8, -0.4]])
    config = CEMConfig(num_samples=20, num_elites=4, iterations=2, keep_mean=True)
    cold, warm = [], []
    for seed in range(10):
        start = optimum + 0.05 * torch.randn(3, 3, generator=rng(100 + seed))
        arguments = {"horizon": 3, "action_space": BOX}
        cold.append(CEM(config).plan(quadratic(optimum), generator=rng(seed), **arguments).cost)
        warm.append(CEM(config).plan(quadratic(optimum), warm_start=start, generator=rng(seed), **arguments).cost)
    assert sum(warm) < 0.7 * sum(cold)


def test_a_warm_start_outside_the_box_is_clipped():
    plan = CEM(CONFIG).plan(
        quadratic(torch.zeros(1, 3)),
        horizon=1,
        action_space=BOX,
        warm_start=torch.full((1, 3), 9.0),
        generator=rng(),
    )
    torch.testing.assert_close(plan.actions, torch.zeros(1, 3), atol=1e-2, rtol=0)


def test_the_generator_decides_everything():
    cost = quadratic(torch.full((2, 3), 0.2))

    def plan(seed: int) -> torch.Tensor:
        return CEM(cpu()).plan(cost, horizon=2, action_space=BOX, generator=rng(seed)).actions

    before = torch.get_rng_state()
    first = plan(1)
    torch.manual_seed(123)
    again = plan(1)
    torch.set_rng_state(before)
    assert torch.equal(first, again)
    assert not torch.equal(first, plan(2))


def test_planning_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    CEM(cpu()).plan(quadratic(torch.zeros(1, 3)), horizon=1, action_space=BOX, generator=rng())
    assert torch.equal(before, torch.get_rng_state())


def test_the_mean_is_a_candidate_when_kept():
    optimum = torch.tensor([[0.4, 0.4, 0.1]])
    config = CEMConfig(num_samples=4, num_elites=2, iterations=1, keep_mean=True)
    seen = []

    def cost(actions: torch.Tensor) -> torch.Tensor:
        seen.append(actions)
        return quadratic(optimum)(actions)

    CEM(config).plan(cost, horizon=1, action_space=BOX, warm_start=optimum, generator=rng())
    assert torch.equal(seen[0][0], optimum)
    CEM(replace(config, keep_mean=False)).plan(cost, horizon=1, action_space=BOX, warm_start=optimum, generator=rng())
    assert not torch.equal(seen[2][0], optimum)


def test_small_values_become_zero_in_the_plan_and_its_cost_is_of_the_plan():
    optimum = torch.tensor([[0.05, 0.6, 0.2]])
    config = replace(CONFIG, deadzone=(0.0, 0.0, 0.25))
    plan = CEM(config).plan(quadratic(optimum), horizon=1, action_space=BOX, generator=rng())
    assert plan.actions[0, 2] == 0
    torch.testing.assert_close(plan.actions[0, :2], optimum[0, :2], atol=1e-2, rtol=0)
    assert plan.cost == pytest.approx(0.04, abs=1e-3)


def test_elite_costs_fall():
    plan = CEM(CONFIG).plan(quadratic(torch.full((2, 3), 0.3)), horizon=2, action_space=BOX, generator=rng())
    assert len(plan.elite_costs) == CONFIG.iterations
    assert plan.elite_costs[-1] < 0.01 * plan.elite_costs[0]


def test_no_gradients_are_kept():
    weight = torch.ones(3, requires_grad=True)
    plan = CEM(cpu()).plan(
        lambda actions: (weight * actions).sum(dim=(1, 2)), horizon=1, action_space=BOX, generator=rng()
    )
    assert not plan.actions.requires_grad


def test_vjepa2_has_the_published_numbers():
    config = vjepa2()
    assert (config.num_samples, config.num_elites, config.iterations) == (800, 10, 10)
    assert (config.momentum_mean, config.momentum_std) == (0.15, 0.15)
    assert config.deadzone == (0, 0, 0, 0, 0, 0, 0.25)
    assert not config.keep_mean
    assert config.min_std == 0
    box = vjepa2_box()
    torch.testing.assert_close(box.high, torch.tensor([0.075, 0.075, 0.075, 0, 0, 0, 0.75]))
    torch.testing.assert_close(box.low, -box.high)
    torch.testing.assert_close(box.spread, torch.tensor([0.075, 0.075, 0.075, 0, 0, 0, 1.0]))


def test_vjepa2_plans_in_its_box():
    optimum = torch.tensor([0.05, -0.2, 0.01, 0.4, 0.4, 0.4, 0.6])
    plan = CEM(vjepa2()).plan(quadratic(optimum), horizon=1, action_space=vjepa2_box(), generator=rng())
    expected = torch.tensor([[0.05, -0.075, 0.01, 0, 0, 0, 0.6]])
    torch.testing.assert_close(plan.actions, expected, atol=2e-3, rtol=0)


def test_the_published_settings_of_others():
    for config, num_elites, iterations in ((jepa_wms(), 10, 15), (dino_wm(), 30, 30)):
        assert (config.num_samples, config.num_elites, config.iterations) == (300, num_elites, iterations)
        assert config.keep_mean and not config.return_best
        assert (config.momentum_mean, config.momentum_std, config.min_std, config.deadzone) == (0, 0, 0, 0)
    assert vjepa2().num_evaluations == 8001


def test_with_return_best_the_best_that_was_scored_is_the_plan():
    seen = []

    def away_from_the_middle(actions: torch.Tensor) -> torch.Tensor:  # the mean of its elites is in the middle
        seen.append(-actions.square().sum(dim=(1, 2)))
        return seen[-1]

    config = CEMConfig(num_samples=12, num_elites=6, iterations=1)
    arguments = {"horizon": 2, "action_space": BOX}
    mean = CEM(config).plan(away_from_the_middle, generator=rng(), **arguments)
    assert mean.cost == seen[-1].item()
    best = CEM(replace(config, return_best=True)).plan(away_from_the_middle, generator=rng(), **arguments)
    assert best.cost == torch.cat(seen).min() < mean.cost


def test_cpu_is_small_and_takes_any_action():
    config = cpu()
    assert config.num_samples * config.iterations <= vjepa2().num_samples * vjepa2().iterations / 10
    optimum = torch.tensor([[0.6, -0.3, 0.2], [-0.8, 0.1, 0.0]])
    for seed in range(5):
        plan = CEM(config).plan(quadratic(optimum), horizon=2, action_space=BOX, generator=rng(seed))
        assert plan.cost < 0.1 * optimum.square().sum()


def test_a_box_without_zero_starts_at_its_nearest_edge():
    box = ActionBox(torch.tensor([0.5, -2.0]), torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(box.start, torch.tensor([0.5, -1.0]))
    torch.testing.assert_close(box.spread, torch.tensor([0.25, 0.5]))
    config = replace(CONFIG, deadzone=0.7)
    plan = CEM(config).plan(quadratic(torch.tensor([[0.6, -1.4]])), horizon=1, action_space=box, generator=rng())
    torch.testing.assert_close(plan.actions, torch.tensor([[0.5, -1.4]]), atol=1e-2, rtol=0)


def test_shift_drops_the_executed_step():
    actions = torch.arange(6.0).reshape(3, 2)
    assert shift(actions).tolist() == [[2, 3], [4, 5], [0, 0]]
    assert shift(actions, rest=torch.tensor([7.0, 8.0])).tolist() == [[2, 3], [4, 5], [7, 8]]
    several = torch.stack([actions, 10 * actions])
    assert shift(several)[1].tolist() == [[20, 30], [40, 50], [0, 0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_elites": 65}, "num_elites must not exceed num_samples 64, got 65"),
        ({"num_elites": 1}, "num_elites must be at least 2 .* got 1"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"max_batch": 0}, "max_batch must be at least 1, got 0"),
        ({"momentum_mean": 1.0}, "momentum_mean must be at least 0 and below 1, got 1.0"),
        ({"momentum_std": (0.1, -0.1)}, "momentum_std must be at least 0 and below 1"),
        ({"min_std": -0.1}, "min_std must not be negative, got -0.1"),
        ({"deadzone": (0.0, -1.0)}, "deadzone must not be negative"),
        ({"tolerance": -0.1}, "tolerance must be at least 0, got -0.1"),
    ],
)
def test_settings_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        CEMConfig(**change)


@pytest.mark.parametrize(
    ("config", "arguments", "message"),
    [
        (cpu(), {"horizon": 0}, "horizon must be at least 1, got 0"),
        (cpu(), {"warm_start": torch.zeros(2, 3)}, r"warm_start must have the shape .* \(1, 3\), got \(2, 3\)"),
        (vjepa2(), {}, r"deadzone must be one number or one per action dimension \(3\), got 7 numbers"),
    ],
)
def test_arguments_that_do_not_fit_are_named(config, arguments, message):
    with pytest.raises(ValueError, match=message):
        CEM(config).plan(
            quadratic(torch.zeros(3)), **{"horizon": 1, "action_space": BOX, "generator": rng(), **arguments}
        )


def test_nan_costs_are_counted():
    def cost(actions: torch.Tensor) -> torch.Tensor:
        costs = actions.square().sum(dim=(1, 2))
        costs[:3] = torch.nan
        return costs

    with pytest.raises(ValueError, match="cost returned NaN for 3 of 64 candidates in iteration 0"):
        CEM(CEMConfig()).plan(cost, horizon=1, action_space=BOX, generator=rng())


def test_a_cost_of_the_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"one number per candidate, shape \(64,\), got \(64, 1\)"):
        CEM(CEMConfig()).plan(lambda actions: actions.sum(dim=2), horizon=1, action_space=BOX, generator=rng())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ActionBox(torch.zeros(2), torch.ones(3)), r"must be \(A,\) of one length, got high \(3,\)"),
        (lambda: ActionBox(torch.ones(2), torch.zeros(2)), "low must not exceed high"),
        (lambda: ActionBox(torch.zeros(2), torch.full((2,), torch.inf)), "high must be finite"),
        (lambda: ActionBox(torch.zeros(2), torch.ones(2), torch.tensor([0.1, 0.0])), "std must be positive"),
        (lambda: vjepa2_box(max_displacement=-1), "must not be negative, got -1 and 0.75"),
    ],
)
def test_wrong_boxes_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_the_kept_mean_is_an_allowed_action():
    # elites of a discrete number are -1, 0 and 1, and their mean is none of these
    box = ActionBox(torch.tensor([-1.0, -1.0]), torch.tensor([1.0, 1.0]), discrete=(1,))
    seen = []

    def cost(actions: torch.Tensor) -> torch.Tensor:
        seen.append(actions[:, 0, 1])
        return actions[:, 0, 0].square()

    CEM(replace(CONFIG, keep_mean=True)).plan(cost, horizon=1, action_space=box, generator=rng())
    assert set(torch.cat(seen).tolist()) == {-1.0, 0.0, 1.0}
