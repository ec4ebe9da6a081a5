from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from all_planners import Seen, quadratic, run

from vjepa_wm.planners import MPPI, ActionBox, MPPIConfig, RandomShootingConfig
from vjepa_wm.planners.mppi import soft_minimum

BOX = ActionBox(torch.tensor([-1.0, -1.0, -0.5]), torch.tensor([1.0, 1.0, 0.5]))
WIDE = ActionBox(torch.full((2,), -1e6), torch.full((2,), 1e6), torch.ones(2))  # nothing is clipped
CONFIG = MPPIConfig(num_samples=64, num_elites=64, iterations=1)


@pytest.mark.parametrize("num_elites", [64, 9])
def test_the_mean_is_the_published_average(num_elites):
    target = torch.tensor([[0.3, -1.0], [0.5, 2.0]])
    cost = Seen(quadratic(target))
    config = replace(CONFIG, num_elites=num_elites, temperature=0.4, iterations=2)
    plan = run(MPPI(config), cost, WIDE, horizon=2)
    drawn, costs = cost.batches[0].double().numpy(), quadratic(target)(cost.batches[0]).double().numpy()
    order = np.argsort(costs)[:num_elites]
    weights = np.exp(-(costs[order] - costs.min()) / (0.4 * costs[order].std()))
    weights /= weights.sum()
    mean = np.einsum("k,kha->ha", weights, drawn[order])
    std = np.sqrt(np.einsum("k,kha->ha", weights, (drawn[order] - mean) ** 2))
    # the second iteration draws around it: what is left of its candidates is the noise of the generator
    generator = torch.Generator().manual_seed(0)
    torch.randn(64, 2, 2, generator=generator)
    noise = torch.randn(64, 2, 2, generator=generator).double().numpy()
    np.testing.assert_allclose(cost.batches[1].numpy(), mean + std * noise, atol=1e-5)
    assert plan.elite_costs[0] == pytest.approx(costs[order].mean(), rel=1e-6)


def test_the_original_method_keeps_its_deviation():
    cost = Seen(quadratic(torch.zeros(2, 2)))
    config = replace(CONFIG, num_samples=4000, num_elites=4000, iterations=3)
    run(MPPI(replace(config, adapt_std=False)), cost, WIDE, horizon=2)
    torch.testing.assert_close(cost.batches[2].std(dim=0), torch.ones(2, 2), atol=0.05, rtol=0)
    cost.batches.clear()
    run(MPPI(config), cost, WIDE, horizon=2)
    assert (cost.batches[2].std(dim=0) < 0.7).all()


def test_weights_do_not_depend_on_the_scale_of_the_costs():
    costs = torch.tensor([3.0, 1.0, 2.0, 7.0])
    weights = soft_minimum(costs, 0.5)
    assert weights.sum() == pytest.approx(1.0)
    assert weights.argsort(descending=True).tolist() == [1, 2, 0, 3]
    torch.testing.assert_close(soft_minimum(1e-4 * costs + 5.0, 0.5), weights, rtol=1e-2, atol=1e-3)
    assert (soft_minimum(costs, 0.1)[1] > weights[1]) and (soft_minimum(costs, 100.0) - 0.25).abs().max() < 0.01


def test_equal_and_infinite_costs_have_weights_too():
    assert soft_minimum(torch.tensor([2.0, 2.0]), 0.5).tolist() == [0.5, 0.5]
    assert soft_minimum(torch.tensor([2.0, torch.inf, 2.0]), 0.5).tolist() == [0.5, 0.0, 0.5]
    assert soft_minimum(torch.tensor([torch.inf, torch.inf]), 0.5).tolist() == [0.5, 0.5]


def test_it_gives_the_mean_or_with_return_best_the_best():
    def away_from_the_middle(actions: torch.Tensor) -> torch.Tensor:  # the mean of its elites is in the middle
        return -actions.square().sum(dim=(1, 2))

    config = MPPIConfig(num_samples=12, num_elites=6, iterations=1)
    cost = Seen(away_from_the_middle)
    plan = run(MPPI(config), cost, BOX, horizon=2)
    assert torch.equal(plan.actions, cost.batches[-1][0])
    best = run(MPPI(replace(config, return_best=True)), cost, BOX, horizon=2)
    assert best.cost == away_from_the_middle(cost.all).min() < plan.cost
    assert best.num_evaluations == plan.num_evaluations


def test_noise_may_be_correlated_in_time():
    for beta, least in ((0.0, -1.0), (3.0, 0.5)):
        cost = Seen(quadratic(torch.zeros(8, 3)))
        run(MPPI(MPPIConfig(num_samples=2000, iterations=1, noise_beta=beta)), cost, BOX, horizon=8)
        drawn = cost.batches[0][..., 0]
        correlation = torch.corrcoef(torch.stack([drawn[:, 2], drawn[:, 3]]))[0, 1]
        assert least < correlation and (beta or abs(correlation) < 0.1)


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (MPPIConfig(), {"num_elites": 1}, "num_elites must be at least 2, got 1"),
        (MPPIConfig(), {"num_elites": 129}, "num_elites must not exceed num_samples 128, got 129"),
        (MPPIConfig(), {"iterations": 0}, "iterations must be at least 1, got 0"),
        (MPPIConfig(), {"temperature": 0.0}, "temperature must be positive, got 0.0"),
        (MPPIConfig(), {"noise_beta": -1.0}, "noise_beta must be at least 0, got -1.0"),
        (RandomShootingConfig(), {"num_elites": 0}, "num_elites must be at least 1, got 0"),
        (RandomShootingConfig(), {"num_samples": 7}, "num_elites must not exceed num_samples 7, got 8"),
        (RandomShootingConfig(), {"noise_beta": -1.0}, "noise_beta must be at least 0, got -1.0"),
    ],
)
def test_settings_out_of_range_are_named(config, change, message):
    with pytest.raises(ValueError, match=message):
        replace(config, **change)
