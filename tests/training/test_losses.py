import pytest
import torch

from vjepa_wm.training.losses import (
    context_loss,
    context_weights,
    covariance_loss,
    prediction_loss,
    token_loss,
    variance_loss,
)


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


def test_losses_by_hand():
    prediction, target = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 0.5]])
    expected = {"l1": 1.75, "l2": (9 + 0.25) / 4, "smooth_l1": (2.5 + 0.125) / 2, "cosine": 1.0}
    for name, value in expected.items():
        assert token_loss(prediction, target, name).tolist() == pytest.approx([value])
    assert token_loss(target, 3 * target, "cosine").item() == pytest.approx(0.0)
    with pytest.raises(ValueError, match="loss must be l1, l2, smooth_l1 or cosine, got 'l3'"):
        token_loss(prediction, target, "l3")


def test_spread_features_are_not_penalised_and_collapsed_ones_are():
    spread = 3.0 * torch.randn(4, 5000, 3, generator=torch.Generator().manual_seed(0))
    assert variance_loss(spread).item() == 0.0
    assert variance_loss(torch.ones(4, 50, 3)).item() == pytest.approx(0.99)
    assert covariance_loss(spread).item() < 0.05
    twins = spread[..., :1].expand(-1, -1, 2)
    assert covariance_loss(twins).item() == pytest.approx(81.0, rel=0.1)  # two entries of 9 squared, over two channels
