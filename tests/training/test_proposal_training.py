from dataclasses import replace

import numpy as np
import pytest
import torch
from interruption import interrupted_at
from sliding_square import write_slides

from vjepa_wm.cli import main
from vjepa_wm.data.latents.latent_store import encode_dataset
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.load import load_world_model
from vjepa_wm.models.proposal import Proposal, ProposalConfig
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig, save_world_model
from vjepa_wm.training.proposal_config import TrainProposalConfig
from vjepa_wm.training.proposal_losses import HindsightBatch, arrival_radius, object_code, proposal_losses
from vjepa_wm.training.proposal_training import ProposalTrainer, train_proposal

pytestmark = pytest.mark.usefixtures("without_curves")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_slides(tmp_path_factory.mktemp("slides") / "set", num_episodes=20, has_objects=True)


@pytest.fixture(scope="module")
def world_model(tmp_path_factory):
    size = {"embed_dim": 24, "depth": 1, "num_heads": 2}
    encoder = VideoEncoderConfig(image_size=32, patch_size=8, **size)
    torch.manual_seed(0)
    model = WorldModel(
        WorldModelConfig(encoder=encoder, predictor=ActionConditionedPredictorConfig(encoder_dim=24, **size))
    )
    folder = tmp_path_factory.mktemp("world_model")
    save_world_model(model, folder)
    return folder


def config(data, world_model, out, **options) -> TrainProposalConfig:
    small = {"reader_dim": 8, "hidden_dim": 64, "depth": 2, "num_modes": 3, "precision": "fp32"}
    short = {"steps": 4, "batch_size": 16, "log_every": 1, "save_every": 2, "validation_share": 0.2}
    return TrainProposalConfig(data=(data,), world_model=world_model, out=out, **(small | short | options))


def test_it_learns_in_hindsight_what_leads_to_a_picture(data, world_model, tmp_path):
    near = {"goal_at_end": 0.0, "goal_within": 1}
    out = train_proposal(config(data, world_model, tmp_path, steps=400, batch_size=64, learning_rate=3e-3, **near))
    model = load_world_model(out)
    latents = encode_dataset(model.encoder, TrajectoryDataset(data))
    _, val = latents.split(0.2, seed=0)
    rows, cpu = val.window_starts(2), torch.device("cpu")
    states, moved = latents.states[rows], latents.states[rows + 1] - latents.states[rows]
    with torch.no_grad():
        mixture = model.proposal(latents.read_z(rows, cpu), torch.from_numpy(states), latents.read_z(rows + 1, cpu))
    proposed = mixture.heaviest().numpy()[:, :2]
    free = (np.abs(states[:, :2] - 0.12) < 0.08).all(axis=1)  # where the walls of the picture bend no action
    assert np.corrcoef(proposed[free].ravel(), moved[free, :2].ravel())[0, 1] > 0.5
    rest = [value for name, value in model.named_parameters() if not name.startswith("proposal.")]
    before = load_world_model(world_model)
    assert all(torch.equal(a, b) for a, b in zip(rest, before.parameters(), strict=True))


def test_two_steps_then_resume_equal_one_run(data, world_model, tmp_path):
    noisy = {"z_noise": 0.1}
    whole = load_world_model(train_proposal(config(data, world_model, tmp_path / "whole", **noisy)))
    stopped = config(data, world_model, tmp_path / "parts", **noisy)
    with interrupted_at(ProposalTrainer, 3), pytest.raises(KeyboardInterrupt):
        train_proposal(stopped)
    parts = load_world_model(train_proposal(stopped))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    assert (tmp_path / "whole/metrics.csv").read_text() == (tmp_path / "parts/metrics.csv").read_text()


def test_fine_tuning_goes_on_from_the_proposal_there_is(data, world_model, tmp_path):
    begun = train_proposal(config(data, world_model, tmp_path / "begun", steps=60, learning_rate=3e-3))
    options = {"fine_tune": True, "steps": 1, "save_every": 1, "hidden_dim": 7, "learning_rate": 1e-9}
    went_on = train_proposal(config(data, begun, tmp_path / "went_on", **options))
    before, after = load_world_model(begun), load_world_model(went_on)
    assert after.proposal.config == before.proposal.config and after.proposal.config.hidden_dim == 64
    for name, value in before.proposal.state_dict().items():
        torch.testing.assert_close(after.proposal.state_dict()[name], value, rtol=0, atol=1e-6)


def test_the_code_of_the_scene_comes_and_goes_with_its_loss(data, world_model, tmp_path):
    without = train_proposal(config(data, world_model, tmp_path / "without", scene_weight=0.0))
    assert load_world_model(without).proposal.config.scene_dim == 0
    learned = train_proposal(config(data, without, tmp_path / "with", fine_tune=True))
    proposal = load_world_model(learned).proposal
    assert proposal.config.scene_dim == 16 and proposal.scene_unit > 0
    latents = encode_dataset(load_world_model(world_model).encoder, TrajectoryDataset(data))
    rows, cpu = latents.window_starts(4), torch.device("cpu")
    with torch.no_grad():
        apart = proposal.scene_distance(latents.read_z(rows, cpu), latents.read_z(rows + 3, cpu)).mean()
    assert 0.1 < apart < 10  # 1 is how far frames are from their goals in training
    dropped = train_proposal(config(data, learned, tmp_path / "dropped", fine_tune=True, scene_weight=0.0))
    assert load_world_model(dropped).proposal.config.scene_dim == 0


def test_fine_tuning_needs_something_to_go_on_from(data, world_model, tmp_path):
    with pytest.raises(ValueError, match=r"fine_tune needs a world model with a proposal, .* has none"):
        train_proposal(config(data, world_model, tmp_path / "one", fine_tune=True))
    begun = train_proposal(config(data, world_model, tmp_path / "begun", steps=2))
    with pytest.raises(ValueError, match=r"needs the object_dim 0 of the proposal in .* label_weight 1 give 5"):
        train_proposal(config(data, begun, tmp_path / "two", fine_tune=True, label_weight=1.0))


def test_labels_train_a_readout_and_are_told(data, world_model, tmp_path):
    labelled = config(data, world_model, tmp_path, label_weight=1.0, steps=300, batch_size=64, learning_rate=3e-3)
    model = load_world_model(train_proposal(labelled))
    assert model.proposal.config.object_dim == 5
    latents = encode_dataset(model.encoder, TrajectoryDataset(data))
    rows = latents.frames()
    with torch.no_grad():
        read = model.proposal.read_objects(latents.read_z(rows, torch.device("cpu")))
    error = (read - object_code(torch.from_numpy(latents.objects[rows]))).square().mean()
    assert error < 0.2 * object_code(torch.from_numpy(latents.objects[rows]))[:, :2].var()


def test_without_labels_no_object_is_looked_at(world_model, tmp_path):
    plain = write_slides(tmp_path / "plain")
    model = load_world_model(train_proposal(config(plain, world_model, tmp_path / "out")))
    assert model.proposal.config.object_dim == 0
    with pytest.raises(ValueError, match="label_weight must be 0 unless every dataset tells where objects are"):
        train_proposal(config(plain, world_model, tmp_path / "other", label_weight=1.0))


def test_the_loss_is_the_density_of_scaled_actions():
    form = ProposalConfig(encoder_dim=8, num_tokens=4, action_dim=7, state_dim=7, hidden_dim=16)
    model, unit = Proposal(replace(form, action_scale=(0.5,) * 7)), Proposal(form)
    unit.load_state_dict(model.state_dict() | {"action_unit": torch.ones(7)})
    batch = random_batch()
    scaled = replace(batch, action=batch.action / 0.5)
    torch.testing.assert_close(proposal_losses(model, batch, 0.0)["nll"], proposal_losses(unit, scaled, 0.0)["nll"])


def random_batch():
    z, z_goal, state, action = torch.randn(6, 4, 8), torch.randn(6, 4, 8), torch.randn(6, 7), torch.randn(6, 7)
    steps_left = torch.arange(6.0)
    return HindsightBatch(z=z, state=state, z_goal=z_goal, action=action, steps_left=steps_left, objects=None)


def test_near_enough_is_what_nine_of_ten_that_arrived_are():
    form = ProposalConfig(encoder_dim=8, num_tokens=4, action_dim=7, state_dim=7, hidden_dim=16)
    model, batch = Proposal(form), random_batch()
    assert model.arrival_radius == 0  # nothing is near enough before it is trained
    arrived = replace(batch, steps_left=torch.tensor([0.0, 0, 0, 0, 0, 3]))
    model.state_unit[3] = 0.01
    off = (batch.state[:5] - model.read_state(batch.z_goal[:5])).abs() / model.state_unit
    torch.testing.assert_close(arrival_radius(model, arrived), off.max(dim=1).values.quantile(0.9))
    assert arrival_radius(model, replace(batch, steps_left=torch.ones(6))) is None


def test_readouts_learn_and_leave_the_proposal_as_it_is():
    form = ProposalConfig(encoder_dim=8, num_tokens=4, action_dim=7, state_dim=7, hidden_dim=16)
    model = Proposal(form)
    losses = proposal_losses(model, random_batch(), 0.0)
    (losses["state"] + losses["distance"]).backward()
    moved = {name.split(".")[0] for name, weight in model.named_parameters() if weight.grad is not None}
    assert moved == {"state_readout", "distance_readout"}


def test_state_and_steps_are_read_off_pictures(data, world_model, tmp_path):
    long = {"steps": 400, "save_every": 400, "batch_size": 64, "learning_rate": 3e-3, "imagined_share": 0.25}
    model = load_world_model(train_proposal(config(data, world_model, tmp_path, **long)))
    latents = encode_dataset(model.encoder, TrajectoryDataset(data))
    rows, cpu = latents.window_starts(5), torch.device("cpu")
    z, later = latents.read_z(rows, cpu), latents.read_z(rows + 4, cpu)
    with torch.no_grad():
        read, near = model.proposal.read_state(z), model.proposal.steps_left(z, latents.read_z(rows + 1, cpu))
        far = model.proposal.steps_left(z, later)
    states = torch.from_numpy(latents.states[rows])[:, :2]
    assert (read[:, :2] - states).square().mean() < 0.2 * states.var()
    assert near.mean() < 0.9 * far.mean()
    assert "imagined" in (tmp_path / "metrics.csv").read_text().splitlines()[0]


def test_the_command_trains_and_wrong_inputs_are_named(data, world_model, tmp_path, capsys):
    words = ["train-proposal", "--data", str(data), "--world-model", str(world_model), "--out", str(tmp_path / "a")]
    assert main([*words, "--steps", "1", "--batch-size", "4", "--hidden-dim", "16"]) == 0
    assert (tmp_path / "a/train_proposal.json").exists() and (tmp_path / "a/world_model/config.json").exists()
    assert main([*words, "--read.state", "observation.state:x,y", "--out", str(tmp_path / "b")]) == 1
    assert "must have the state_dim 7 of the world model, they have 2" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        train_proposal(config(data, tmp_path / "nowhere", tmp_path / "c"))
    for wrong, message in (
        ({"goal_at_end": 2.0}, "goal_at_end must be from 0 to 1, got 2"),
        ({"goal_within": 0}, "goal_within must be at least 1"),
        ({"data": ()}, "data must name at least one dataset"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(config(data, world_model, tmp_path), **wrong)
