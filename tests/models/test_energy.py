from __future__ import annotations

import pytest
import torch

from vjepa_wm.models.energy import energy, l1_energy, l2_energy

Z = torch.tensor([[[0.0, 1.0], [2.0, 3.0]], [[1.0, 1.0], [1.0, 1.0]]])  # (B 2, N 2, D 2)
Z_GOAL = torch.tensor([[0.0, 1.0], [2.0, -1.0]])


def test_l1_is_the_mean_absolute_difference():
    torch.testing.assert_close(l1_energy(Z, Z_GOAL), torch.tensor([4 / 4, (1 + 0 + 1 + 2) / 4]))


def test_l2_is_the_mean_squared_difference():
    torch.testing.assert_close(l2_energy(Z, Z_GOAL), torch.tensor([16 / 4, (1 + 0 + 1 + 4) / 4]))


@pytest.mark.parametrize("function", [l1_energy, l2_energy])
def test_a_goal_for_each_of_the_batch(function):
    goals = torch.stack([Z[0], Z_GOAL])
    values = function(Z, goals)
    assert values[0] == 0
    torch.testing.assert_close(values[1], function(Z[1:], Z_GOAL)[0])


def test_names_lead_to_the_functions():
    assert energy("l1") is l1_energy
    assert energy("l2") is l2_energy


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown energy 'l3'; known energies: l1, l2, cosine"):
        energy("l3")


@pytest.mark.parametrize("goal_shape", [(3, 2), (1, 2, 2), (2,)])
def test_shapes_that_do_not_fit_are_named(goal_shape):
    with pytest.raises(ValueError, match=r"z must be \(B, N, D\) and z_goal"):
        l2_energy(Z, torch.zeros(goal_shape))
