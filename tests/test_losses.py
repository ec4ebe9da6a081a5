import pytest
import torch

from vjepa_wm.training.losses import context_loss, context_weights, prediction_loss


def test_prediction_loss_is_the_mean_absolute_difference():
    assert prediction_loss(torch.zeros(1, 2, 2), torch.tensor([[[1.0, -2.0], [0.0, 5.0]]])).item() == 2.0


def test_context_weights_fall_with_the_root_of_the_distance():
    # One row of nine patches and two tubelets; token 0 of the first is hidden.
    weights = context_weights(torch.tensor([[1, 2, 4, 8, 9]]), torch.tensor([[0]]), (1, 9))
    assert weights[0].tolist() == pytest.approx([1.0, 2**-0.5, 0.5, 8**-0.5, 1.0])


def test_context_weights_take_the_nearest_hidden_token():
    weights = context_weights(torch.tensor([[4]]), torch.tensor([[0, 8, 6]]), (1, 9))
    assert weights.item() == pytest.approx(2**-0.5)


def test_context_loss_weighs_tokens():
    prediction, target = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    assert context_loss(prediction, target, torch.tensor([[1.0, 0.5]])).item() == pytest.approx(0.75)
