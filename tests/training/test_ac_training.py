import csv
import json
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from interruption import interrupted_at
from sliding_square import write_slides

from vjepa_wm.agents.planning_agent import PlanningAgent, PlanningConfig
from vjepa_wm.cli import parse
from vjepa_wm.data.latents.latent_store import encode_dataset
from vjepa_wm.data.latents.window_mixture import WindowMixture
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.envs import make
from vjepa_wm.models.checkpoint import CheckpointError, save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.load import load_world_model
from vjepa_wm.models.pixels import prepare_frames
from vjepa_wm.models.proposal import Proposal, ProposalConfig
from vjepa_wm.planners import CEM, CEMConfig, vjepa2_box
from vjepa_wm.stages.planning import check_fit
from vjepa_wm.training.ac_objective import Reading, world_model_losses
from vjepa_wm.training.ac_training import ACTrainer, TrainACConfig, train_ac
from vjepa_wm.training.run.curves import draw_curves

pytestmark = pytest.mark.usefixtures("without_curves")
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
    small = {"precision": "fp32"}
    if encoder is not None:
        small |= {"predictor_dim": 24, "predictor_depth": 2, "predictor_heads": 2}
    short = {"steps": 4, "batch_size": 8, "log_every": 1, "save_every": 2, "validation_share": 0.2}
    return TrainACConfig(data=(data,), encoder=encoder, out=out, **(small | short | options))


def test_two_steps_then_resume_equal_one_run(data, encoder, tmp_path):
    whole = load_world_model(train_ac(config(data, encoder, tmp_path / "whole")))
    stopped = config(data, encoder, tmp_path / "parts")
    with interrupted_at(ACTrainer, 3), pytest.raises(KeyboardInterrupt):
        train_ac(stopped)
    parts = load_world_model(train_ac(stopped))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    assert (tmp_path / "whole/metrics.csv").read_text() == (tmp_path / "parts/metrics.csv").read_text()


def metrics(out):
    """Return the rows of a run's metrics as they stand there."""
    with (out / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_leaves_curves_and_if_asked_for_tensorboard(data, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("vjepa_wm.training.run.run_log.draw_curves", draw_curves)
    train_ac(config(data, encoder, tmp_path, steps=2, tensorboard=True))
    assert (tmp_path / "metrics.png").stat().st_size > 0
    assert any(path.stat().st_size for path in (tmp_path / "tensorboard").iterdir())


def test_it_learns_more_than_copying(encoder, tmp_path):
    """Half of the picture is bright, and action and picture say which half is next.

    A copy of what is seen is half of the time wrong in all of the picture, and the best single picture always in half.
    """
    data = write_slides(tmp_path / "halves", num_episodes=20, board=(1, 2))
    short = {"num_frames": 2, "rollout_steps": 1, "steps": 300, "save_every": 300, "batch_size": 32}
    train_ac(config(data, encoder, tmp_path / "out", learning_rate=5e-3, **short))
    assert float(metrics(tmp_path / "out")[-1]["val_over_copy"]) < 0.5


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


@pytest.mark.parametrize(
    ("form", "options"),
    [({"class_token": True}, {}), ({"in_channels": 1}, {}), ({}, {"predictor_conditioning": "adaln"})],
    ids=["class token", "grey", "adaptive norms"],
)
def test_every_form_of_encoder_and_predictor_is_trained_on_and_planned_with(data, tmp_path, form, options):
    torch.manual_seed(0)
    encoder = VideoEncoder(replace(ENCODER, **form))
    save_model(encoder, "video_encoder", encoder.config, tmp_path / "encoder")
    model = load_world_model(train_ac(config(data, tmp_path / "encoder", tmp_path / "out", steps=2, **options)))
    frames = torch.randint(0, 255, (1, 1, 32, 32, 3), dtype=torch.uint8)
    z = model.encode(frames)
    assert z.shape == (1, 1, 16, 24)
    if form == {"class_token": True}:
        pixels = prepare_frames(frames[0], 32).unsqueeze(2).expand(-1, -1, 2, -1, -1)
        patches = torch.nn.functional.layer_norm(encoder(pixels)[:, 1:], (24,))
        torch.testing.assert_close(z[0], patches, atol=1e-5, rtol=1e-5)
    planner = CEM(CEMConfig(num_samples=8, num_elites=2, iterations=2))
    agent = PlanningAgent(model, planner, vjepa2_box(), PlanningConfig(horizon=2))
    agent.reset(frames[0, 0].numpy(), 0)
    action = agent.act(frames[0, 0].numpy(), np.zeros(7, np.float32))
    assert action.shape == (7,) and np.isfinite(action).all()


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


def test_the_same_episodes_in_another_look_are_another_run(encoder, tmp_path):
    bright, dark = (write_slides(tmp_path / name, look=look) for name, look in (("a", (40, 230)), ("b", (200, 10))))
    shutil.copytree(bright, tmp_path / "moved")
    train_ac(config(bright, encoder, tmp_path / "run", steps=1))
    train_ac(config(tmp_path / "moved", encoder, tmp_path / "run", steps=2))
    with pytest.raises(CheckpointError, match=r"holds another run: pictures of data .*b has another content"):
        train_ac(config(dark, encoder, tmp_path / "run", steps=3))


def test_any_rollout_length_trains(data, encoder, tmp_path):
    train_ac(config(data, encoder, tmp_path, num_frames=6, rollout_steps=5, steps=1))
    values = metrics(tmp_path)[-1]
    assert float(values["rollout_loss"]) > 0 and values["rollout_loss"] != values["teacher_loss"]


def test_without_states_nothing_of_them_is_left(data, encoder, tmp_path):
    model = load_world_model(train_ac(config(data, encoder, tmp_path / "off", use_state=False, steps=1)))
    predictor = model.config.predictor
    assert (predictor.use_state, predictor.state_mean, predictor.state_scale) == (False, (), ())
    assert not any("state" in name for name in model.predictor.state_dict())
    z = model.encode(torch.zeros(1, 1, 32, 32, 3, dtype=torch.uint8))
    here, there = (model.rollout(z, place.expand(1, 1, 7), torch.ones(3, 2, 7) / 50) for place in torch.randn(2, 1))
    assert torch.equal(here, there)
    seeing = load_world_model(train_ac(config(data, encoder, tmp_path / "on", steps=1)))
    here, there = (seeing.rollout(z, place.expand(1, 1, 7), torch.ones(3, 2, 7) / 50) for place in torch.randn(2, 1))
    assert not torch.equal(here, there)


def test_a_world_model_without_states_fits_tasks_and_plans(data, encoder, tmp_path):
    model = load_world_model(train_ac(config(data, encoder, tmp_path, use_state=False, steps=1)))
    with closing(make("reach", image_size=32)) as env:
        check_fit(model, "reach", env)
        obs, info = env.reset(seed=0)
        planner = CEM(CEMConfig(num_samples=8, num_elites=2, iterations=2))
        agent = PlanningAgent(model, planner, vjepa2_box(), PlanningConfig(horizon=2, context_frames=2))
        agent.reset(info["goal"]["image"], 0)
        for _ in range(2):
            action = agent.act(obs["image"], obs["state"])
            obs = env.step(action)[0]
    assert action.shape == (7,) and np.isfinite(action).all()


def test_without_the_weight_training_is_that_of_the_two_losses_alone(data, encoder, tmp_path):
    settings = config(data, encoder, tmp_path, inverse_weight=0.0)
    model = load_world_model(train_ac(settings))
    train, _ = encode_dataset(model.encoder, TrajectoryDataset(data)).split(0.2, 0)
    trainer, windows = ACTrainer(settings, model.encoder, [train]), WindowMixture([train], 3, seed=0)
    predictor = trainer.model.predictor
    matrices, others = ([p for p in predictor.parameters() if (p.dim() > 1) == wide] for wide in (True, False))
    optimizer = torch.optim.AdamW([{"params": matrices}, {"params": others, "weight_decay": 0.0}], fused=True)
    for step in range(4):
        z, actions, states = windows.windows(step, 8, torch.device("cpu"))
        losses = world_model_losses(trainer.model, z, actions, states, 2)
        optimizer.zero_grad()
        (losses["teacher"] + losses["rollout"]).backward()
        torch.nn.utils.clip_grad_norm_([*matrices, *others], 1.0)
        for group in optimizer.param_groups:
            group["lr"] = trainer.learning_rate(step)
        optimizer.param_groups[0]["weight_decay"] = 0.04
        optimizer.step()
    trained = zip(predictor.parameters(), model.predictor.parameters(), strict=True)
    assert list(losses) == ["teacher", "rollout"] and all(torch.equal(a, b) for a, b in trained)


def test_what_reads_actions_goes_on_with_the_run_and_is_no_part_of_the_world_model(data, encoder, tmp_path):
    whole = config(data, encoder, tmp_path / "whole", inverse_weight=0.5)
    model = load_world_model(train_ac(whole))
    stopped = replace(whole, out=tmp_path / "parts")
    with interrupted_at(ACTrainer, 3), pytest.raises(KeyboardInterrupt):
        train_ac(stopped)
    parts = load_world_model(train_ac(stopped))
    assert (tmp_path / "whole/metrics.csv").read_text() == (tmp_path / "parts/metrics.csv").read_text()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), parts.parameters(), strict=True))
    assert {name.split(".")[0] for name in model.state_dict()} == {"encoder", "predictor"}
    assert float(metrics(tmp_path / "parts")[-1]["val_imagined_inverse"]) > 0
    with pytest.raises(CheckpointError, match="holds another run: inverse_weight"):
        train_ac(replace(stopped, inverse_weight=0.0, steps=6))


@pytest.fixture(scope="module")
def proposing(data, encoder, tmp_path_factory):
    """Return a world model with a proposal, and its folder."""
    folder = tmp_path_factory.mktemp("proposing")
    train_ac(config(data, encoder, folder))
    model = load_world_model(folder / "world_model")
    form = {"encoder_dim": 24, "num_tokens": 16, "reader_dim": 4, "hidden_dim": 8}
    torch.manual_seed(1)
    model.attach_proposal(Proposal(ProposalConfig(action_dim=model.config.predictor.action_dim, state_dim=7, **form)))
    save_model(model, "world_model", model.config, folder / "with_proposal")
    return model, folder / "with_proposal"


def test_a_world_model_goes_on_and_keeps_its_encoder_and_proposal(data, proposing, tmp_path):
    before, folder = proposing
    whole = config(data, None, tmp_path / "whole", world_model=folder, reading_weight=1.0)
    after = load_world_model(train_ac(whole))
    with interrupted_at(ACTrainer, 3), pytest.raises(KeyboardInterrupt):
        train_ac(replace(whole, out=tmp_path / "parts"))
    parts = load_world_model(train_ac(replace(whole, out=tmp_path / "parts")))
    assert all(torch.equal(a, b) for a, b in zip(after.parameters(), parts.parameters(), strict=True))
    assert after.config == before.config
    weights = before.state_dict()
    moved = {name.split(".")[0] for name, now in after.state_dict().items() if not torch.equal(weights[name], now)}
    assert moved == {"predictor"}
    assert float(metrics(tmp_path / "whole")[-1]["val_reading"]) > 0
    with pytest.raises(CheckpointError, match="holds another run"):
        train_ac(config(data, folder, whole.out))


def test_readings_are_met_by_true_latents_and_move_the_predictor_alone(data, proposing):
    model, _ = proposing
    train, _ = encode_dataset(model.encoder, TrajectoryDataset(data)).split(0.2, 0)
    reading, window = (
        Reading(model.proposal, train),
        WindowMixture([train], 3, seed=0).windows(0, 8, torch.device("cpu")),
    )
    z = window[0]
    assert reading.error(z, z) == 0 and reading.error(z + 1.0, z) > 0.1
    losses = world_model_losses(model, *window, 2, reading=reading)
    losses["reading"].backward()
    assert all(weight.grad is None for weight in model.proposal.parameters())
    assert any(weight.grad is not None and weight.grad.any() for weight in model.predictor.parameters())


@pytest.mark.parametrize(
    ("begin", "message"),
    [
        ({}, "one of encoder and world_model must be given"),
        (
            {"encoder": Path("a"), "world_model": Path("b")},
            "one of encoder and world_model must be given, and not both",
        ),
        ({"world_model": Path("b"), "predictor_depth": 9}, "predictor_depth must be left out with a world_model"),
        ({"encoder": Path("a"), "reading_weight": 1.0}, "reading_weight must be 0 without a world_model"),
    ],
)
def test_what_it_begins_with_is_one_thing(data, tmp_path, begin, message):
    with pytest.raises(ValueError, match=message):
        TrainACConfig(data=(data,), out=tmp_path, **begin)


def test_a_world_model_goes_on_with_data_of_its_own_numbers(data, tmp_path, proposing):
    places = TrajectoryOptions(state=("observation.state:x,y",), action=("action:dx,dy",))
    with pytest.raises(ValueError, match="must have the action_dim 7 of the world model, they have 2"):
        train_ac(config(data, None, tmp_path / "on", world_model=proposing[1], read=places))


def test_without_a_proposal_nothing_reads(data, encoder, tmp_path):
    folder = train_ac(config(data, encoder, tmp_path / "first"))
    with pytest.raises(ValueError, match="reading_weight needs a world model with a proposal"):
        train_ac(config(data, None, tmp_path / "on", world_model=folder, reading_weight=1.0))


def test_a_weight_below_zero_is_refused(data, encoder, tmp_path):
    with pytest.raises(ValueError, match="inverse_weight must be at least 0, got -1"):
        config(data, encoder, tmp_path, inverse_weight=-1.0)


def test_windows_are_balanced_by_motion_and_a_run_ends_with_imagined_objects(encoder, tmp_path):
    recorded = write_slides(tmp_path / "set", has_objects=True)
    plain, balanced = (
        load_world_model(train_ac(config(recorded, encoder, tmp_path / str(on), steps=2, balance_motion=on)))
        for on in (False, True)
    )
    pairs = zip(plain.predictor.parameters(), balanced.predictor.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)
    rows = json.loads((tmp_path / "True/imagined_objects.json").read_text())["rows"]
    assert {row["step"] for row in rows} == {1, 2, 4, 8} and all(row["seen"] > 0 for row in rows)
