import pytest
import torch
from sliding_square import write_slides
from tiny_world_model import tiny_world_model

from vjepa_wm.data.latents.latent_store import encode_dataset
from vjepa_wm.data.latents.window_mixture import WindowMixture
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.inverse_dynamics import InverseDynamics, InverseDynamicsConfig
from vjepa_wm.training.ac_objective import world_model_losses
from vjepa_wm.training.ac_training import ACTrainer, TrainACConfig, inverse_dynamics_config

CPU = torch.device("cpu")


@pytest.fixture
def inverse():
    torch.manual_seed(1)
    return InverseDynamics(InverseDynamicsConfig(encoder_dim=24, num_tokens=4, action_scale=(0.5,) * 7))


def draw_window():
    torch.manual_seed(0)
    return torch.randn(2, 4, 4, 24), torch.randn(2, 4, 7), torch.randn(2, 4, 7)


def test_losses_follow_the_published_formulas():
    model, (z, actions, states) = tiny_world_model(), draw_window()
    losses = world_model_losses(model, z, actions, states, 2)
    forced = model.predict(z[:, :3], actions[:, :3], states[:, :3])
    torch.testing.assert_close(losses["teacher"], (forced - z[:, 1:]).abs().mean())
    prefix = torch.cat((z[:, :1], forced[:, :1]), dim=1)
    second = model.predict(prefix, actions[:, :2], states[:, :2])[:, 1:]
    expected = ((forced[:, :1] - z[:, 1:2]).abs().mean() + (second - z[:, 2:3]).abs().mean()) / 2
    torch.testing.assert_close(losses["rollout"], expected, atol=1e-5, rtol=1e-5)
    single = world_model_losses(model, z, actions, states, 1)
    assert torch.equal(single["rollout"], losses["teacher"])


def test_actions_are_read_off_true_and_off_predicted_latents(inverse):
    model, (z, actions, states) = tiny_world_model(), draw_window()
    losses = world_model_losses(model, z, actions, states, 1, inverse)
    read = inverse(z[:, :3], z[:, 1:])
    torch.testing.assert_close(losses["inverse"], (read - actions[:, :3] / 0.5).square().mean())
    imagined = inverse(z[:, :3], model.predict(z[:, :3], actions[:, :3], states[:, :3]))
    torch.testing.assert_close(losses["imagined_inverse"], (imagined - read).square().mean())


def test_each_network_gets_the_gradient_of_its_own_loss_alone(inverse):
    model, window = tiny_world_model(), draw_window()
    losses = world_model_losses(model, *window, 2, inverse)
    losses["inverse"].backward()
    assert all(p.grad is None for p in model.parameters())
    own = [p.grad.clone() for p in inverse.parameters()]
    assert all(gradient.any() for gradient in own)
    losses["imagined_inverse"].backward()
    assert all(torch.equal(p.grad, before) for p, before in zip(inverse.parameters(), own, strict=True))
    assert all(p.grad is not None for p in model.predictor.parameters())
    assert model.predictor.action_encoder.weight.grad.any()


def test_a_predictor_that_is_right_has_nothing_to_gain_from_what_reads_wrongly(inverse):
    model, (z, actions, states) = tiny_world_model(), draw_window()
    model.predict = lambda seen, *_, **__: z[:, 1 : seen.shape[1] + 1]
    losses = world_model_losses(model, z, actions, states, 1, inverse)
    assert losses["inverse"] > 0.1 and losses["imagined_inverse"] == 0


def test_the_weight_keeps_what_actions_move_in_imagination(tmp_path):
    """Predictors trained with and without are asked by a reader that has seen neither of them, on held-out episodes."""
    form = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)
    torch.manual_seed(0)
    encoder = VideoEncoder(form)
    latents = encode_dataset(
        encoder, TrajectoryDataset(write_slides(tmp_path / "set", num_episodes=30, board=(4, 4), reach=1))
    )
    train, held_out = latents.split(0.2, 0)
    reader = train_reader(train)
    z, actions, states = held_out.windows(held_out.window_starts(2), 2, CPU)
    errors = []
    for weight in (0.0, 1.0):
        config = TrainACConfig(
            **{"data": (tmp_path,), "encoder": tmp_path, "out": tmp_path, "precision": "fp32", "device": "cpu"},
            **{"predictor_dim": 24, "predictor_depth": 2, "predictor_heads": 2, "steps": 200, "batch_size": 32},
            learning_rate=5e-3,
            inverse_weight=weight,
        )
        trainer, windows = ACTrainer(config, encoder, [train]), WindowMixture([train], 3, seed=0)
        for step in range(config.steps):
            trainer.step(step, windows)
        with torch.no_grad():
            imagined = trainer.model.predict(z[:, :1], actions[:, :1], states[:, :1])
            errors.append(float(reader.loss(z[:, :1], imagined, actions[:, :1])))
    assert errors[1] < 0.7 * errors[0], errors


def train_reader(train):
    """Return what reads actions off true pairs, of weights of its own."""
    torch.manual_seed(7)
    reader = InverseDynamics(inverse_dynamics_config([train]))
    optimizer = torch.optim.AdamW(reader.parameters(), 3e-3)
    z, actions, _ = train.windows(train.window_starts(2), 2, CPU)
    for _ in range(150):
        optimizer.zero_grad()
        reader.loss(z[:, 0], z[:, 1], actions[:, 0]).backward()
        optimizer.step()
    return reader
