from dataclasses import replace

import pytest
import torch

from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.load import load_world_model
from vjepa_wm.models.pose import integrate_pose, pose_difference
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig, save_world_model

ENCODER = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)
PREDICTOR = ActionConditionedPredictorConfig(encoder_dim=24, embed_dim=24, depth=2, num_heads=2)


@pytest.fixture
def model() -> WorldModel:
    torch.manual_seed(0)
    return WorldModel(WorldModelConfig(encoder=ENCODER, predictor=PREDICTOR)).eval()


def frames(batch=2, steps=3, size=32):
    generator = torch.Generator().manual_seed(size)
    return torch.randint(0, 256, (batch, steps, size, size, 3), dtype=torch.uint8, generator=generator)


def poses(batch, steps):
    return 0.3 * torch.randn(batch, steps, 7, generator=torch.Generator().manual_seed(steps)).clamp(-1, 1).abs()


def test_frames_are_encoded_one_by_one_and_normalised(model):
    z = model.encode(frames())
    assert z.shape == (2, 3, 16, 24)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z[1:, 2:], model.encode(frames()[1:, 2:]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(z.mean(dim=-1), torch.zeros(2, 3, 16), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.std(dim=-1, correction=0), torch.ones(2, 3, 16), atol=1e-3, rtol=0)


def test_pictures_of_another_size_are_resized(model):
    assert model.encode(frames(size=48)).shape == (2, 3, 16, 24)


def test_encoder_is_frozen_and_predictor_is_not(model):
    assert not any(p.requires_grad for p in model.encoder.parameters())
    assert all(p.requires_grad for p in model.predictor.parameters())


@pytest.mark.parametrize("context", [1, 3])
def test_rollout_equals_predicting_the_whole_prefix_again(model, context):
    z, states = model.encode(frames(steps=context)), poses(2, context)
    actions = 0.05 * torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(1))
    result = model.rollout(z, states, actions)
    assert result.shape == (2, 3, 16, 24)
    done = pose_difference(states[:, :-1], states[:, 1:])
    for step in range(3):
        taken = torch.cat((done, actions[:, : step + 1]), dim=1)
        z_next = model.predict(z, taken, states)[:, -1:]
        torch.testing.assert_close(result[:, step : step + 1], z_next, atol=1e-5, rtol=1e-4)
        z = torch.cat((z, z_next), dim=1)
        states = torch.cat((states, integrate_pose(states[:, -1:], actions[:, step : step + 1])), dim=1)


@pytest.mark.parametrize("context", [1, 3])
def test_rollout_in_a_plane_adds_actions_to_places(context):
    predictor = ActionConditionedPredictorConfig(
        encoder_dim=24, embed_dim=24, depth=2, num_heads=2, action_dim=2, state_dim=2
    )
    torch.manual_seed(0)
    model = WorldModel(WorldModelConfig(encoder=ENCODER, predictor=predictor)).eval()
    z, places = model.encode(frames(steps=context)), poses(2, context)[..., :2]
    actions = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(1))
    result = model.rollout(z, places, actions)
    for step in range(3):
        taken = torch.cat((places[:, 1:] - places[:, :-1], actions[:, step : step + 1]), dim=1)
        z_next = model.predict(z, taken, places)[:, -1:]
        torch.testing.assert_close(result[:, step : step + 1], z_next, atol=1e-5, rtol=1e-4)
        z, places = torch.cat((z, z_next), dim=1), torch.cat((places, places[:, -1:] + actions[:, step : step + 1]), 1)


def test_states_that_actions_do_not_add_to_are_kept():
    torch.manual_seed(0)
    predictor = replace(PREDICTOR, action_dim=2, state_dim=4)  # forces on a ball, its place and velocity
    model = WorldModel(WorldModelConfig(encoder=ENCODER, predictor=predictor)).eval()
    z, states, actions = model.encode(frames(2, 1)), torch.randn(2, 1, 4), torch.randn(2, 3, 2)
    with torch.no_grad():
        imagined = model.rollout(z, states, actions)
        one = model.predict(z, actions[:, :1], states)
        two = model.predict(torch.cat((z, one), dim=1), actions[:, :2], states.expand(-1, 2, -1))
    torch.testing.assert_close(imagined[:, :1], one)
    torch.testing.assert_close(imagined[:, 1:2], two[:, 1:])
    with pytest.raises(
        ValueError, match="states must be of one step where actions of 2 numbers do not add to states of 4"
    ):
        model.rollout(z.expand(-1, 2, -1, -1), states.expand(-1, 2, -1), actions)


def test_rollout_needs_an_action(model):
    with pytest.raises(ValueError, match=r"actions must hold at least one step, got shape \(2, 0, 7\)"):
        model.rollout(model.encode(frames(steps=1)), poses(2, 1), torch.zeros(2, 0, 7))


def test_checkpoint_gives_the_same_model(model, tmp_path):
    save_world_model(model, tmp_path)
    again = load_world_model(tmp_path)
    assert again.config == model.config
    assert torch.equal(again.encode(frames()), model.encode(frames()))


def test_checkpoint_of_another_kind_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_world_model(tmp_path)


def test_halves_must_fit():
    wrong = ActionConditionedPredictorConfig(encoder_dim=32, embed_dim=24, depth=1, num_heads=2)
    with pytest.raises(ValueError, match=r"predictor\.encoder_dim must equal encoder.embed_dim 24, got 32"):
        WorldModelConfig(encoder=ENCODER, predictor=wrong)
