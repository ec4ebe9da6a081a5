"""The rollout against the plain one, which keeps nothing and predicts all steps again for each new one."""

from collections import Counter
from functools import partial

import pytest
import torch

from vjepa_wm.models import rollout
from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.pose import integrate_pose, pose_difference
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig

CANDIDATES = 3


def make(**options) -> WorldModel:
    """Make a world model whose actions make a difference; tokens of two candidates at once are 20."""
    torch.manual_seed(0)
    predictor = ActionConditionedPredictorConfig(encoder_dim=24, embed_dim=48, num_heads=2, **{"depth": 3} | options)
    encoder = VideoEncoderConfig(image_size=32, embed_dim=24, depth=1, num_heads=2)
    model = WorldModel(WorldModelConfig(encoder=encoder, predictor=predictor)).eval()
    with torch.no_grad():
        for parameter in model.predictor.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def draw(episodes=1, steps=1, horizon=2):
    """Draw latents, states and actions (E, K, H, A)."""
    generator = torch.Generator().manual_seed(horizon)
    z = torch.nn.functional.layer_norm(torch.randn(episodes, steps, 9, 24, generator=generator), (24,))
    states = 0.3 * torch.rand(episodes, steps, 7, generator=generator)
    return z, states, 0.2 * torch.randn(episodes, CANDIDATES, horizon, 7, generator=generator)


def plain_rollout(model, z, states, actions):
    """Roll out without a cache: predict all steps so far again for each new one."""
    episodes, candidates = actions.shape[:2]
    z, states = (part.repeat_interleave(candidates, dim=0) for part in (z, states))
    taken, first = pose_difference(states[:, :-1], states[:, 1:]), z.shape[1]
    for action in actions.flatten(0, 1).split(1, dim=1):
        taken = torch.cat((taken, action), dim=1)
        z = torch.cat((z, model.predict(z, taken, states)[:, -1:]), dim=1)
        states = torch.cat((states, integrate_pose(states[:, -1:], action)), dim=1)
    return z[:, first:].unflatten(0, (episodes, candidates))


@pytest.mark.parametrize("use_state", [False, True])
@pytest.mark.parametrize("episodes", [1, 3])
@pytest.mark.parametrize("context", [1, 3])
@pytest.mark.parametrize("horizon", [1, 2, 5, 8])
def test_it_equals_the_plain_rollout(monkeypatch, horizon, context, episodes, use_state):
    monkeypatch.setattr(rollout, "_MOST_TOKENS", 24)  # two candidates'
    model, given = make(use_state=use_state), draw(episodes, context, horizon)
    with torch.no_grad():
        imagined, expected = model.rollout(*given), plain_rollout(model, *given)
    assert imagined.shape == (episodes, CANDIDATES, horizon, 9, 24)
    torch.testing.assert_close(imagined, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("rope", "depth"), [("tiled", 3), ("true", 1)])
def test_it_equals_the_plain_rollout_in_other_forms(rope, depth):
    model, given = make(rope=rope, depth=depth, action_scale=(0.5,) * 7, state_mean=(0.1,) * 7), draw(horizon=3)
    with torch.no_grad():
        torch.testing.assert_close(model.rollout(*given), plain_rollout(model, *given), atol=1e-5, rtol=0)


@pytest.mark.parametrize("context", [1, 3])
def test_gradients_of_actions_are_those_of_the_plain_rollout(monkeypatch, context):
    model, (z, states, actions) = make(), draw(2, context, horizon=3)
    monkeypatch.setattr(rollout, "_MOST_TOKENS", 24)
    weight = torch.randn(2, CANDIDATES, 3, 9, 24)
    results, gradients = [], []
    for roll in (model.rollout, partial(plain_rollout, model)):
        leaf = actions.clone().requires_grad_()
        results.append(roll(z, states, leaf))
        gradients += torch.autograd.grad((results[-1] * weight).sum(), leaf)
    torch.testing.assert_close(*results, atol=1e-5, rtol=0)
    found, expected = gradients
    assert (expected.abs().amax(dim=(0, 1, 3)) > 1.0).all()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


@torch.no_grad()
def test_actions_may_come_without_their_episode_or_their_candidate():
    model, (z, states, actions) = make(), draw(3)
    whole = model.rollout(z, states, actions)
    one_each = model.rollout(z, states, actions[:, 1])
    torch.testing.assert_close(one_each, whole[:, 1], atol=1e-5, rtol=0)
    of_one = model.rollout(z[:1], states[:1], actions[0])
    torch.testing.assert_close(of_one, whole[0], atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_last_step_alone():
    model, given = make(), draw(3, 2, horizon=3)
    last = model.rollout(*given, last_only=True)
    assert torch.equal(last, model.rollout(*given)[:, :, -1:])


def test_pure_bfloat16_agrees():
    model, (z, states, actions) = make(), draw(horizon=3)
    with torch.no_grad():
        exact, rough = model.rollout(z, states, actions), model.bfloat16().rollout(z, states, actions)
    assert rough.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(exact.flatten(), rough.flatten(), dim=0) > 0.99


@torch.no_grad()
def test_what_candidates_share_is_computed_once_and_what_does_not_count_not_at_all():
    model, tokens = make(), Counter()

    def count(name, module, inputs, _):
        tokens[name] += inputs[0][..., 0].numel()

    blocks = model.predictor.predictor_blocks
    for name, module in {
        "embed": model.predictor.predictor_embed,
        "first": blocks[0].attn,
        "last": blocks[-1].mlp,
    }.items():
        (module.qkv if name == "first" else module).register_forward_hook(partial(count, name))
    model.rollout(*draw(horizon=3))
    imagined = CANDIDATES * 9
    assert tokens == {"embed": 9 + 2 * imagined, "first": 9 + 2 * imagined + CANDIDATES * 3 * 2, "last": 3 * imagined}


def test_shapes_that_do_not_fit_are_refused():
    model, (z, states, actions) = make(), draw(3, 2)
    with pytest.raises(ValueError, match=r"actions must be \(E, K, H, 7\) or \(E, H, 7\) for the 3 episodes of z"):
        model.rollout(z, states, actions[:2])
    with pytest.raises(ValueError, match=r"actions must be .*, got \(3, 3, 2, 6\)"):
        model.rollout(z, states, actions[..., :6])
    with pytest.raises(ValueError, match=r"states must be \(3, 2, 7\) for z \(3, 2, 9, 24\), got \(3, 1, 7\)"):
        model.rollout(z, states[:, :1], actions)


@pytest.mark.parametrize(("context", "horizon"), [(1, 1), (1, 3), (3, 2)])
def test_adaptive_norms_are_rolled_out_as_the_plain_rollout_does(monkeypatch, horizon, context):
    monkeypatch.setattr(rollout, "_MOST_TOKENS", 24)
    model, given = make(conditioning="adaln"), draw(2, context, horizon)
    with torch.no_grad():
        imagined, expected = model.rollout(*given), plain_rollout(model, *given)
        torch.testing.assert_close(imagined, expected, atol=1e-5, rtol=0)
        other = (*given[:2], given[2] + 0.5)
        assert not torch.allclose(model.rollout(*other), imagined, atol=1e-3)
