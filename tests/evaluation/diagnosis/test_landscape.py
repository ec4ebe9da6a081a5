"""The energy landscape where its lowest place is known."""

from __future__ import annotations

import numpy as np
import pytest
from point_model import PointModel
from point_world import POINT

from vjepa_wm.evaluation.diagnosis.candidate_bank import StateBank
from vjepa_wm.evaluation.diagnosis.landscape import action_pairs, draw_landscapes, measure_landscape


def bank(goal, expert):
    """Return a state of the point task whose latents are places."""
    place = np.float32([0.2, 0.2, 0.2])
    empty = np.zeros((0, 7), dtype=np.float32)
    return StateBank(
        sources=np.array([]),
        actions=empty,
        distances=empty,
        reached=empty,
        objects=empty,
        state=np.concatenate([place, np.zeros(4, np.float32)]),
        z_start=place[None],
        z_goal=np.float32(goal)[None],
        z_true=empty,
        z_imagined=empty,
        expert_action=np.float32(expert),
        mode_means=np.float32([[0.01, 0.02, 0, 0, 0, 0, 0]]),
        mode_weights=np.float32([1.0]),
    )


def test_the_pairs_are_those_of_numbers_that_plans_move():
    assert action_pairs((0.1, 0.1, 0.1, 0, 0, 0, 1)) == [(0, 1), (0, 2)]
    assert action_pairs((0, 0.1, 0, 0.2)) == [(1, 3)]
    assert action_pairs((0.1,)) == []


def test_the_lowest_place_is_the_way_to_the_goal():
    state = bank([0.25, 0.15, 0.2], [0.05, -0.05, 0, 0, 0, 0, 0])
    landscape = measure_landscape(PointModel(), state, (0, 1), POINT.limits.size)
    lowest = np.unravel_index(landscape.energies.argmin(), landscape.energies.shape)
    spacing = 2 * 0.075 / 10
    assert landscape.first[lowest[0]] == pytest.approx(0.05, abs=spacing / 2)
    assert landscape.second[lowest[1]] == pytest.approx(-0.05, abs=spacing / 2)
    assert landscape.better_than_expert == 0.0
    assert landscape.energies[5, 5] == pytest.approx((0.05**2 + 0.05**2) / 3, rel=1e-2)  # standing still


def test_an_expert_that_goes_away_is_worse_than_nearly_all():
    state = bank([0.25, 0.25, 0.2], [-0.075, -0.07, 0, 0, 0, 0, 0])
    landscape = measure_landscape(PointModel(), state, (0, 1), POINT.limits.size)
    assert landscape.better_than_expert > 0.98
    without = measure_landscape(PointModel(), bank([0.2] * 3, [np.nan] * 7), (0, 2), POINT.limits.size)
    assert np.isnan(without.better_than_expert) and np.isfinite(without.energies).all()
    names = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "dgripper")
    figure = draw_landscapes([[landscape, without]], [state], names)
    assert [axes.get_xlabel() for axes in figure.axes[:2]] == ["dx", "dx"]
    assert [axes.get_ylabel() for axes in figure.axes[:2]] == ["dy", "dz"]
