from dataclasses import replace

import numpy as np
import pytest
import torch
from sliding_square import write_slides

from vjepa_wm.cli import parse
from vjepa_wm.data.latents.latent_store import encode_dataset
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.models.ac_predictor import ActionConditionedPredictorConfig
from vjepa_wm.models.checkpoint import CheckpointError, save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.load import load_world_model
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig
from vjepa_wm.training.ac_training import ACTrainer, TrainACConfig, train_ac, world_model_losses

ENCODER = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_slides(tmp_path_factory.mktemp("trajectories") / "set")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("encoder")
    save_model(VideoEncoder(ENCODER), "video_encoder", ENCODER, folder)
    return folder


def config(data, encoder, out, **options) -> TrainACConfig:
    small = {"predictor_dim": 24, "predictor_depth": 2, "predictor_heads": 2, "precision": "fp32"}
    short = {"steps": 4, "batch_size": 8, "log_every": 1, "save_every": 2, "validation_share": 0.2}
    return TrainACConfig(data=(data,), encoder=encoder, out=out, **(small | short | options))


def test_two_steps_then_resume_equal_one_run(data, encoder, tmp_path, monkeypatch):
    whole = load_world_model(train_ac(config(data, encoder, tmp_path / "whole")))
    train = ACTrainer.step

    def die_at_step_three(self, step, episodes):
        if step == 3:
            raise KeyboardInterrupt
        return train(self, step, episodes)

    monkeypatch.setattr(ACTrainer, "step", die_at_step_three)
    stopped = config(data, encoder, tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        train_ac(stopped)
    monkeypatch.undo()
    parts = load_world_model(train_ac(stopped))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    assert (tmp_path / "whole/metrics.csv").read_text() == (tmp_path / "parts/metrics.csv").read_text()


def test_it_leaves_curves_and_if_asked_for_tensorboard(data, encoder, tmp_path):
    train_ac(config(data, encoder, tmp_path, steps=2, tensorboard=True))
    assert (tmp_path / "metrics.png").stat().st_size > 0
    assert any(path.stat().st_size for path in (tmp_path / "tensorboard").iterdir())


def test_it_learns_more_than_copying(data, encoder, tmp_path):
    train_ac(config(data, encoder, tmp_path, steps=200, save_every=200, learning_rate=3e-3, batch_size=16))
    values = (tmp_path / "metrics.csv").read_text().splitlines()
    last = dict(zip(values[0].split(","), values[-1].split(","), strict=True))
    assert float(last["val_over_copy"]) < 1.0


def test_losses_follow_the_published_formulas():
    torch.manual_seed(0)
    predictor = ActionConditionedPredictorConfig(encoder_dim=24, embed_dim=24, depth=1, num_heads=2)
    model = WorldModel(WorldModelConfig(encoder=ENCODER, predictor=predictor))
    z, actions, states = torch.randn(2, 4, 16, 24), torch.randn(2, 4, 7), torch.randn(2, 4, 7)
    teacher, rollout = world_model_losses(model, z, actions, states, 2)
    forced = model.predict(z[:, :3], actions[:, :3], states[:, :3])
    torch.testing.assert_close(teacher, (forced - z[:, 1:]).abs().mean())
    prefix = torch.cat((z[:, :1], forced[:, :1]), dim=1)
    second = model.predict(prefix, actions[:, :2], states[:, :2])[:, 1:]
    expected = ((forced[:, :1] - z[:, 1:2]).abs().mean() + (second - z[:, 2:3]).abs().mean()) / 2
    torch.testing.assert_close(rollout, expected, atol=1e-5, rtol=1e-5)


def test_units_come_from_the_training_episodes(data, encoder, tmp_path):
    model = load_world_model(train_ac(config(data, encoder, tmp_path / "a", steps=1)))
    assert model.config.predictor.action_scale[0] == pytest.approx(0.026, abs=0.01)
    assert model.config.predictor.action_scale[5] == pytest.approx(1e-3)
    raw = load_world_model(train_ac(config(data, encoder, tmp_path / "b", steps=1, normalize=False)))
    assert raw.config.predictor.action_scale == ()


def test_the_encoder_is_the_given_one(data, encoder, tmp_path):
    model = load_world_model(train_ac(config(data, encoder, tmp_path, steps=2)))
    torch.manual_seed(0)
    given = VideoEncoder(ENCODER)
    assert all(torch.equal(a, b) for a, b in zip(model.encoder.parameters(), given.parameters(), strict=True))


def test_at_half_the_rate_an_action_is_what_two_recorded_ones_did(data):
    encoder = VideoEncoder(ENCODER)
    whole, half = (encode_dataset(encoder, TrajectoryDataset(data, TrajectoryOptions(fps=fps))) for fps in (None, 2.5))
    assert len(whole.z) == 72 and len(half.z) == 36 and len(half.window_starts(3)) == 6 * 4
    np.testing.assert_array_equal(half.states, whole.states[::2])
    np.testing.assert_allclose(half.z.astype(float), whole.z[::2].astype(float), atol=1e-2, rtol=1e-2)
    moved = (half.states[1:] - half.states[:-1])[:5]
    np.testing.assert_allclose(half.actions[:5], moved, atol=1e-6, rtol=0)
    assert np.abs(half.actions[:5]).max() > 0 and not half.actions[5].any()


def test_states_in_a_plane_are_trained_on_and_rolled_out(data, encoder, tmp_path):
    read = ["--read.state", "observation.state:x,y", "--read.action", "action:dx,dy"]
    paths = ["--data", str(data), "--encoder", str(encoder), "--out", str(tmp_path)]
    _, parsed = parse(["train-ac", *paths, *read])
    assert parsed.read == TrajectoryOptions(state=("observation.state:x,y",), action=("action:dx,dy",))
    model = load_world_model(train_ac(config(data, encoder, tmp_path, read=parsed.read)))
    assert (model.config.predictor.state_dim, model.config.predictor.action_dim) == (2, 2)
    z = model.encode(torch.zeros(1, 1, 32, 32, 3, dtype=torch.uint8))
    assert model.rollout(z, torch.zeros(1, 1, 2), torch.zeros(1, 3, 2)).shape == (1, 3, 16, 24)
    assert '"observation.state:x,y"' in (tmp_path / "train_ac.json").read_text()


def test_wrong_inputs_are_named(data, encoder, tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        train_ac(config(data, tmp_path / "nowhere", tmp_path / "out"))
    with pytest.raises(ValueError, match="num_frames must be at least rollout_steps \\+ 1 = 5, got 3"):
        config(data, encoder, tmp_path, rollout_steps=4)
    with pytest.raises(ValueError, match="no episode holds a window of 40 frames"):
        train_ac(config(data, encoder, tmp_path / "out", num_frames=40))


def test_two_datasets_are_drawn_by_weight(data, encoder, tmp_path):
    other = write_slides(tmp_path / "other", num_episodes=4, seed=1)
    mixed = config(data, encoder, tmp_path / "out", data_weights=(1.0, 3.0), steps=2)
    model = load_world_model(train_ac(replace(mixed, data=(data, other))))
    alone = load_world_model(train_ac(config(data, encoder, tmp_path / "alone", steps=2)))
    pairs = zip(model.predictor.parameters(), alone.predictor.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)
    with pytest.raises(ValueError, match="weights must be one for each of 2 data sets, got"):
        train_ac(replace(mixed, data=(data, other), data_weights=(1.0,), out=tmp_path / "wrong"))


def test_a_second_run_encodes_nothing(data, encoder, tmp_path, monkeypatch):
    train_ac(config(data, encoder, tmp_path / "first", latents=tmp_path / "latents", steps=1))
    monkeypatch.setattr("vjepa_wm.data.latents.latent_store.encode_episode", None)
    train_ac(config(data, encoder, tmp_path / "second", latents=tmp_path / "latents", steps=1))
    assert (tmp_path / "first/metrics.csv").read_text() == (tmp_path / "second/metrics.csv").read_text()


def test_any_rollout_length_trains(data, encoder, tmp_path):
    train_ac(config(data, encoder, tmp_path, num_frames=6, rollout_steps=5, steps=1))
    row = (tmp_path / "metrics.csv").read_text().splitlines()
    values = dict(zip(row[0].split(","), row[-1].split(","), strict=True))
    assert float(values["rollout_loss"]) > 0 and values["rollout_loss"] != values["teacher_loss"]
