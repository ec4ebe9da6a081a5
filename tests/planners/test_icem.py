from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from all_planners import Seen, quadratic, run

from vjepa_wm.planners import CEM, ICEM, ActionBox, CEMConfig, ICEMConfig, shift
from vjepa_wm.planners.candidates import colour

BOX = ActionBox(torch.tensor([-1.0, -1.0, -0.5]), torch.tensor([1.0, 1.0, 0.5]))
OPTIMUM = torch.tensor([[0.6, -0.3, 0.2], [-0.8, 0.1, 0.0]])
CONFIG = ICEMConfig(num_samples=100, num_elites=10, iterations=5)


def test_with_everything_off_it_draws_what_cem_draws():
    plain = replace(CONFIG, decay=1.0, noise_beta=0.0, keep_elites=0.0, momentum=0.0)
    cost, other = Seen(quadratic(OPTIMUM)), Seen(quadratic(OPTIMUM))
    run(ICEM(plain), cost, BOX, horizon=2)
    run(CEM(CEMConfig(num_samples=100, num_elites=10, iterations=5)), other, BOX, horizon=2)
    for ours, cems in zip(cost.batches[:4], other.batches[:4], strict=True):
        assert torch.equal(ours, cems)
    assert torch.equal(cost.batches[4][1:], other.batches[4][1:])  # the first is the mean


def test_fewer_are_drawn_every_iteration_but_twice_the_elites():
    cost = Seen(quadratic(OPTIMUM))
    plan = run(ICEM(replace(CONFIG, iterations=9)), cost, BOX, horizon=2)
    assert [len(batch) for batch in cost.batches] == [100, 80, 64, 51, 40, 32, 26, 20, 20]
    assert plan.num_evaluations == 433


def test_the_mean_is_scored_in_the_last_iteration_alone():
    cost = Seen(quadratic(OPTIMUM))
    run(ICEM(replace(CONFIG, keep_elites=0.0, momentum=0.5)), cost, BOX, horizon=2)
    mean = torch.zeros(2, 3)
    for batch in cost.batches[:-1]:
        elites = batch[quadratic(OPTIMUM)(batch).argsort()[:10]]
        assert not (batch - mean).abs().amax(dim=(1, 2)).lt(1e-6).any()
        mean = 0.5 * mean + 0.5 * elites.mean(dim=0)
    torch.testing.assert_close(cost.batches[-1][0], mean)


def test_kept_elites_compete_again_without_being_scored_again():
    cost = Seen(quadratic(OPTIMUM))
    plan = run(ICEM(replace(CONFIG, keep_elites=1.0)), cost, BOX, horizon=2)
    assert len(cost.all.unique(dim=0)) == len(cost.all)
    assert list(plan.elite_costs) == sorted(plan.elite_costs, reverse=True)
    best = cost.all[quadratic(OPTIMUM)(cost.all).argsort()[:10]]
    assert torch.equal(plan.elites, best)  # of all iterations
    forgetful = run(ICEM(replace(CONFIG, keep_elites=0.0)), Seen(quadratic(OPTIMUM)), BOX, horizon=2)
    assert forgetful.elite_costs[0] == plan.elite_costs[0] and forgetful.elite_costs != plan.elite_costs


def test_the_best_that_was_scored_is_the_plan():
    cost = Seen(quadratic(OPTIMUM))
    plan = run(ICEM(CONFIG), cost, BOX, horizon=2)
    assert plan.cost == quadratic(OPTIMUM)(cost.all).min()


def test_elites_live_on_in_the_next_plan_as_candidates():
    last = run(ICEM(CONFIG), quadratic(OPTIMUM), BOX, horizon=2)
    moved = shift(last.elites[:3])
    assert torch.equal(moved[:, 0], last.elites[:3, 1]) and (moved[:, 1] == 0).all()
    cost = Seen(quadratic(shift(OPTIMUM)))
    plan = run(ICEM(CONFIG), cost, BOX, horizon=2, warm_start=shift(last.actions), candidates=moved)
    assert torch.equal(cost.batches[0][-3:], moved)
    assert plan.cost < 0.02


@pytest.mark.parametrize("beta", [0.25, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("horizon", [1, 2, 5, 16])
def test_coloured_noise_has_the_power_law_and_every_step_a_variance_of_1(horizon, beta):
    white = torch.randn(20000, horizon, 2, generator=torch.Generator().manual_seed(0))
    noise = colour(white, beta)
    torch.testing.assert_close(noise.var(dim=0), torch.ones(horizon, 2), atol=0.06, rtol=0)
    # against a discrete Fourier transform written out
    steps = torch.arange(horizon, dtype=torch.float64)
    waves = torch.exp(-2j * torch.pi * steps[:, None] * steps / horizon)
    power = (waves @ noise[..., 0].T.to(torch.complex128)).abs().square().mean(dim=1)[: horizon // 2 + 1]
    frequencies = (steps / horizon).clamp_min(1 / horizon)[: horizon // 2 + 1]
    torch.testing.assert_close(power / power[-1], (frequencies / frequencies[-1]) ** -beta, rtol=0.1, atol=0)


def test_coloured_noise_of_exponent_0_is_white():
    white = torch.randn(10, 7, 2)
    assert colour(white, 0.0) is white
    torch.testing.assert_close(colour(white, 1e-9), white)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_elites": 1}, "num_elites must be at least 2, got 1"),
        ({"num_elites": 51}, "num_samples must be at least twice num_elites 51, got 100"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"decay": 0.5}, "decay must be at least 1, got 0.5"),
        ({"noise_beta": -1.0}, "noise_beta must be at least 0, got -1.0"),
        ({"keep_elites": 1.5}, "keep_elites must be a share of at most 1, got 1.5"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, got 1.0"),
        ({"tolerance": -0.1}, "tolerance must be at least 0, got -0.1"),
    ],
)
def test_settings_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)
