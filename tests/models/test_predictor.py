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


def test_targets_alone_are_those_predicted_with_the_context(predictor):
    gradients = []
    for recompute in (False, True):
        predictor.recompute_activations = recompute
        for alone in (False, True):
            hidden = predictor(*inputs(), grid=GRID) if alone else predictor.predict_all(*inputs(), grid=GRID)[0]
            predictor.zero_grad()
            hidden.square().sum().backward()
            gradients.append([hidden.detach(), *(block.attn.qkv.weight.grad for block in predictor.predictor_blocks)])
    for other in gradients[1:]:
        for a, b in zip(gradients[0], other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


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


def make(**options) -> MaskedPredictor:
    torch.manual_seed(0)
    config = MaskedPredictorConfig(**{"encoder_dim": 48, "embed_dim": 32, "depth": 2, "num_heads": 2} | options)
    model = MaskedPredictor(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


VJEPA21 = {"rope_grid": 16, "num_mask_tokens": 8, "predict_context": True, "modality_embedding": True}


@pytest.mark.parametrize(
    ("options", "parameters", "tensors"),
    [
        ({"encoder_dim": 768, "depth": 12, "target_dim": 1664}, 22_874_752, 162),
        ({"encoder_dim": 1024, "depth": 12, "target_dim": 1664}, 22_973_056, 162),
        ({"encoder_dim": 1408, "depth": 24, "num_levels": 4}, 55_400_704, 308),
        ({"encoder_dim": 1664, "depth": 24, "num_levels": 4}, 59_433_472, 308),
    ],
)
def test_vjepa21_size_is_the_published_one(options, parameters, tensors):
    with torch.device("meta"):
        model = MaskedPredictor(MaskedPredictorConfig(**options, **VJEPA21))
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == tensors


@pytest.mark.parametrize("name", ["num_mask_tokens", "num_levels"])
def test_there_is_a_mask_token_and_a_level(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        make(**{name: 0})


def test_four_levels_come_in_and_go_out():
    model = make(num_levels=4, **VJEPA21)
    _, context_ids, target_ids = inputs()
    context = torch.randn(2, 5, 4 * 48, generator=torch.Generator().manual_seed(0))
    hidden, seen = model.predict_all(context, context_ids, target_ids, GRID)
    assert hidden.shape == (2, 3, 4 * 48) and seen.shape == (2, 5, 4 * 48)
    picture, _ = model.predict_all(context, context_ids, target_ids, GRID, image=True)
    assert not torch.allclose(picture, hidden, atol=1e-3)
    with pytest.raises(ValueError, match=r"context must be 192 wide \(4 levels of encoder_dim 48\), got 48"):
        model(context[..., :48], context_ids, target_ids, GRID)
    assert make(target_dim=20)(*inputs(), GRID).shape == (2, 3, 20)


def test_any_grid_and_fixed_positions():
    model = make(rope=None, grid=GRID)
    for grid in (GRID, (2, 8, 4), (4, 4, 4)):
        assert model(*inputs(), grid).shape == (2, 3, 48)
    assert not torch.allclose(model(*inputs(), GRID), model(*inputs(), (2, 8, 4)), atol=1e-3)
    with pytest.raises(ValueError, match="grid must be given for fixed positions"):
        make(rope=None)


def test_it_compiles_without_graph_breaks():
    model = make()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*inputs(), GRID), model(*inputs(), GRID), atol=1e-5, rtol=1e-4)
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # of torch.compile itself
def test_compiled_blocks_train_on_masks_of_any_length():
    model, plain = make(depth=1), make(depth=1)  # each block is compiled by itself, which takes long
    for block in model.predictor_blocks:
        block.compile(backend="aot_eager", dynamic=True)
    for seen, hidden in ((5, 7), (9, 4), (4, 4)):
        ids = torch.randperm(32, generator=torch.Generator().manual_seed(0))[: seen + hidden].expand(2, -1)
        context = torch.randn(2, seen, 48)
        gradients = []
        for network in (model, plain):
            network.zero_grad()
            network(context, *ids.split((seen, hidden), dim=1), GRID).square().sum().backward()
            gradients.append([p.grad for p in network.predictor_blocks.parameters()])
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    torch._dynamo.reset()


def test_recomputed_activations_give_the_same_gradients():
    gradients = []
    for recompute in (False, True):
        model = make().train()
        model.recompute_activations = recompute
        model(*inputs(), GRID).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(*gradients)


def test_errors(predictor):
    context, context_ids, target_ids = inputs()
    with pytest.raises(ValueError, match=r"context \(2, 5, 48\) needs context_ids \(2, 5\)"):
        predictor(context, context_ids[:, :4], target_ids, grid=GRID)
    plain = MaskedPredictor(MaskedPredictorConfig(encoder_dim=48, embed_dim=32, depth=1, num_heads=2))
    with pytest.raises(ValueError, match="build it with predict_context=True"):
        plain.predict_all(context, context_ids, target_ids, grid=GRID)


def test_without_targets_there_is_nothing_to_predict(predictor):
    context, context_ids, target_ids = inputs()
    for call in (predictor, predictor.predict_all):
        with pytest.raises(ValueError, match="target_ids must name at least one token of each clip"):
            call(context, context_ids, target_ids[:, :0], grid=GRID)
