import pytest
import torch

from vjepa_wm.models.ac_predictor import ActionConditionedPredictor, frame_causal_mask
from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.key_value_cache import KeyValueCache


def make(**options) -> ActionConditionedPredictor:
    torch.manual_seed(0)
    size = {"embed_dim": 48, "depth": 2, "num_heads": 2}
    config = ActionConditionedPredictorConfig(encoder_dim=20, **(size | options))
    return ActionConditionedPredictor(config).eval()


def inputs(steps=4, tokens=9):
    generator = torch.Generator().manual_seed(steps)
    shapes = ((2, steps, tokens, 20), (2, steps, 7), (2, steps, 7), (2, steps, 6))
    return [torch.randn(shape, generator=generator) for shape in shapes]


def test_default_size_is_the_published_one():
    config = ActionConditionedPredictorConfig(encoder_dim=1408, use_extrinsics=True)
    with torch.device("meta"):
        model = ActionConditionedPredictor(config)
    assert sum(p.numel() for p in model.parameters()) == 305_220_992
    assert len(model.state_dict()) == 300


def test_mask_is_full_inside_a_step_and_causal_over_steps():
    mask = frame_causal_mask(2, 2, 1, torch.device("cpu"))
    assert mask.int().tolist() == [[1, 1, 1, 1, 0, 0]] * 2 + [[1, 1, 1, 1, 1, 1]] * 2
    assert frame_causal_mask(1, 2, 3, torch.device("cpu")) is None


@pytest.mark.parametrize("steps", [1, 2, 5, 9])
def test_any_number_of_steps(steps):
    z, actions, states, _ = inputs(steps)
    assert make()(z, actions, states).shape == z.shape


def test_the_future_changes_nothing_and_the_present_does():
    model = make()
    z, actions, states, _ = inputs()
    base = model(z, actions, states)
    late = [value.clone() for value in (z, actions, states)]
    for value in late:
        value[:, 3] += 1.0
    changed = model(*late)
    torch.testing.assert_close(changed[:, :3], base[:, :3], atol=1e-6, rtol=1e-6)
    assert not torch.allclose(changed[:, 3], base[:, 3], atol=1e-3)
    actions[:, 0] += 1.0
    assert not torch.allclose(model(z, actions, states)[:, 0], base[:, 0], atol=1e-3)


def test_one_step_is_the_first_of_many():
    model = make()
    z, actions, states, _ = inputs()
    one = model(z[:, :1], actions[:, :1], states[:, :1])
    torch.testing.assert_close(one, model(z, actions, states)[:, :1], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("split", [(1, 1, 1, 1), (2, 2), (1, 3)])
def test_cache_gives_what_one_pass_gives(split):
    model = make()
    z, actions, states, _ = inputs()
    cache, parts, start = KeyValueCache(), [], 0
    for length in split:
        part = slice(start, start + length)
        parts.append(model(z[:, part], actions[:, part], states[:, part], cache=cache))
        start += length
    assert cache.steps == 4
    torch.testing.assert_close(torch.cat(parts, dim=1), model(z, actions, states), atol=2e-6, rtol=1e-5)


def test_pure_bfloat16_runs_and_agrees():
    model = make()
    z, actions, states, _ = inputs()
    exact = model(z, actions, states)
    rough = model.bfloat16()(z, actions, states)
    assert rough.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(exact.flatten(), rough.float().flatten(), dim=0) > 0.999


def test_units_are_applied_to_actions_and_states():
    scale, mean = tuple(float(i + 1) for i in range(7)), (0.5,) * 7
    scaled = make(action_scale=scale, state_mean=mean, state_scale=scale)
    raw = make()
    z, actions, states, _ = inputs()
    unit = torch.tensor(scale)
    torch.testing.assert_close(scaled(z, actions * unit, states * unit + 0.5), raw(z, actions, states))


def open_gates(model: ActionConditionedPredictor) -> ActionConditionedPredictor:
    with torch.no_grad():
        for block in model.predictor_blocks:
            block.modulation.weight.normal_(std=0.1)
            block.modulation.bias.normal_(std=0.1)
    return model


def test_adaptive_norms_follow_their_formula():
    block = open_gates(make(conditioning="adaln", depth=1)).predictor_blocks[0]
    x, condition = torch.randn(2, 6, 48), torch.randn(2, 2, 48)
    parts = block.modulation(torch.nn.functional.silu(condition)).repeat_interleave(3, dim=1).chunk(6, dim=-1)
    shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = parts
    expected = x + gate * block.attn(block.norm1(x) * (1 + scale) + shift, None)
    expected = expected + mlp_gate * block.mlp(block.norm2(expected) * (1 + mlp_scale) + mlp_shift)
    torch.testing.assert_close(block(x, None, condition=condition), expected)


def test_adaln_takes_no_token_begins_closed_and_then_heeds_every_condition():
    model = make(conditioning="adaln", use_extrinsics=True)
    z, actions, states, extrinsics = inputs()
    cache = KeyValueCache()
    closed = model(z, actions, states, extrinsics, cache=cache)
    assert cache.tokens_per_step == 9
    assert torch.equal(closed, model(z, actions + 1.0, states, extrinsics))
    model(z, actions, states).square().sum().backward()
    assert all(block.modulation.weight.grad.abs().sum() > 0 for block in model.predictor_blocks)
    base = open_gates(model)(z, actions, states, extrinsics)
    for changed in (
        (actions + 1.0, states, extrinsics),
        (actions, states + 1.0, extrinsics),
        (actions, states, -extrinsics),
    ):
        assert not torch.allclose(model(z, *changed), base, atol=1e-3)
    late = actions.clone()
    late[:, 2:] += 1.0
    after = model(z, late, states, extrinsics)
    torch.testing.assert_close(after[:, :2], base[:, :2], atol=1e-6, rtol=1e-6)
    assert not torch.allclose(after[:, 2], base[:, 2], atol=1e-3)


def test_extrinsics_are_one_more_token():
    model = make(use_extrinsics=True)
    z, actions, states, extrinsics = inputs()
    base = model(z, actions, states, extrinsics)
    assert base.shape == z.shape
    assert not torch.allclose(base, model(z, actions, states, extrinsics + 1.0), atol=1e-3)


def test_extrinsics_may_be_left_out():
    model, without = make(use_extrinsics=True), make()
    without.load_state_dict({k: v for k, v in model.state_dict().items() if "extrinsics" not in k})
    z, actions, states, _ = inputs()
    assert torch.equal(model(z, actions, states), without(z, actions, states))


def test_without_a_state_token_states_do_not_matter():
    model = make(use_state=False)
    z, actions, states, _ = inputs()
    assert not any("state" in name for name in model.state_dict())
    assert torch.equal(model(z, actions, states), model(z, actions, None))
    with pytest.raises(ValueError, match=r"states must be \(2, 4, 7\) for this predictor, got None"):
        make()(z, actions, None)


def test_a_cache_takes_steps_of_one_kind_only():
    model, cache = make(use_extrinsics=True), KeyValueCache()
    z, actions, states, extrinsics = inputs(1)
    model(z, actions, states, cache=cache)
    with pytest.raises(ValueError, match="every step must have the 11 tokens of the cached ones, got 12"):
        model(z, actions, states, extrinsics, cache=cache)


def test_non_square_frames_need_their_grid():
    z, actions, states, _ = inputs(tokens=6)
    assert make()(z, actions, states, grid=(2, 3)).shape == z.shape
    with pytest.raises(ValueError, match=r"grid \(2, 2\) does not hold the 6 patch tokens"):
        make()(z, actions, states)


def test_it_compiles_without_graph_breaks():
    model = make()
    z, actions, states, _ = inputs()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(z, actions, states), model(z, actions, states), atol=1e-5, rtol=1e-4)
    torch._dynamo.reset()


def test_wrong_shapes_are_named():
    z, actions, states, extrinsics = inputs()
    with pytest.raises(ValueError, match=r"actions must be \(2, 4, 7\) .* got \(2, 4, 6\)"):
        make()(z, actions[..., :6], states)
    with pytest.raises(ValueError, match="use_extrinsics, which is False"):
        make()(z, actions, states, extrinsics)
    with pytest.raises(ValueError, match="action_scale must be empty or hold 7 numbers, got 2"):
        make(action_scale=(1.0, 2.0))
    with pytest.raises(ValueError, match="rope must be tiled or true for this predictor, got None"):
        make(rope=None)
    with pytest.raises(ValueError, match="conditioning must be tokens or adaln, got 'film'"):
        make(conditioning="film")
    with pytest.raises(ValueError, match=r"head_dim \(embed_dim over num_heads\) must be at least 6 .*, got 4"):
        make(num_heads=12)
