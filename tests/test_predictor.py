import pytest
import torch

from vjepa_wm.models.predictor import MaskedPredictor, MaskedPredictorConfig

GRID = (2, 4, 4)


@pytest.fixture
def predictor() -> MaskedPredictor:
    torch.manual_seed(0)
    config = MaskedPredictorConfig(encoder_dim=48, embed_dim=32, depth=2, num_heads=2, predict_context=True)
    model = MaskedPredictor(config).eval()
    for token in model.mask_tokens:
        torch.nn.init.normal_(token)
    return model


@pytest.mark.parametrize(("encoder_dim", "parameters"), [(1024, 22_086_016), (1280, 22_282_880), (1408, 22_381_312)])
def test_default_size_is_the_published_one(encoder_dim, parameters):
    config = MaskedPredictorConfig(encoder_dim=encoder_dim, num_mask_tokens=10)
    with torch.device("meta"):
        model = MaskedPredictor(config)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == 160


def inputs():
    context = torch.randn(2, 5, 48, generator=torch.Generator().manual_seed(0))
    context_ids = torch.tensor([[0, 1, 9, 16, 31], [2, 3, 4, 5, 6]])
    target_ids = torch.tensor([[2, 30, 7], [0, 20, 31]])
    return context, context_ids, target_ids


def test_shapes_of_targets_and_context(predictor):
    assert predictor(*inputs(), grid=GRID).shape == (2, 3, 48)
    hidden, seen = predictor.predict_all(*inputs(), grid=GRID)
    assert hidden.shape == (2, 3, 48)
    assert seen.shape == (2, 5, 48)


def test_targets_come_in_the_order_asked_for(predictor):
    context, context_ids, target_ids = inputs()
    turned = predictor(context, context_ids, target_ids.flip(1), grid=GRID)
    torch.testing.assert_close(turned.flip(1), predictor(*inputs(), grid=GRID), atol=1e-5, rtol=1e-5)


def test_position_mask_token_and_context_all_matter(predictor):
    context, context_ids, target_ids = inputs()
    base = predictor(context, context_ids, target_ids, grid=GRID)
    assert not torch.allclose(base, predictor(context, context_ids, target_ids, grid=GRID, mask_index=1), atol=1e-4)
    assert not torch.allclose(base, predictor(context, context_ids, target_ids + 1 - 2 * (target_ids % 2), grid=GRID))
    assert not torch.allclose(base, predictor(context.flip(1), context_ids, target_ids, grid=GRID))
    assert torch.equal(base, predictor(context, context_ids, target_ids, grid=GRID, mask_index=2))


def test_errors(predictor):
    context, context_ids, target_ids = inputs()
    with pytest.raises(ValueError, match=r"context \(2, 5, 48\) needs context_ids \(2, 5\)"):
        predictor(context, context_ids[:, :4], target_ids, grid=GRID)
    plain = MaskedPredictor(MaskedPredictorConfig(encoder_dim=48, embed_dim=32, depth=1, num_heads=2))
    with pytest.raises(ValueError, match="build it with predict_context=True"):
        plain.predict_all(context, context_ids, target_ids, grid=GRID)
