"""Inverse dynamics in pretraining: what the encoder learns of actions, and what is refused."""

import csv
import dataclasses

import numpy as np
import pytest
import torch
from interruption import interrupted_at
from sliding_square import write_slides

from vjepa_wm.cli import main
from vjepa_wm.data.masks.multi_block import MultiBlockMask
from vjepa_wm.data.trajectories.metadata_checks import TrajectoryError
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.data.trajectories.writer import TrajectoryWriter
from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.load import load_encoder
from vjepa_wm.training.pretrain.action_pairs import ActionPairs, InverseConfig
from vjepa_wm.training.pretrain.batches import StepBatches
from vjepa_wm.training.pretrain.config import ComputeConfig, PretrainConfig
from vjepa_wm.training.pretrain.loop import open_stage_mixture, pretrain
from vjepa_wm.training.pretrain.run_data import find_sources
from vjepa_wm.training.pretrain.step import Pretrainer
from vjepa_wm.training.pretrain.streams import MasksConfig, PicturesConfig
from vjepa_wm.training.run.distributed import World

pytestmark = pytest.mark.usefixtures("without_curves")
ENCODER = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)
MASKS = MasksConfig(settings=(MultiBlockMask(num_blocks=2, spatial_scale=(0.3, 0.3), truncation="random"),))


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    return write_slides(tmp_path_factory.mktemp("slides") / "data", num_episodes=12, board=(4, 4), reach=1)


def config(slides, out, **options) -> PretrainConfig:
    inverse = InverseConfig(weight=1.0, data=(slides,))
    small = {"encoder": ENCODER, "predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2, "masks": MASKS}
    short = {"steps": 4, "batch_size": 4, "log_every": 1, "save_every": 2, "precision": "fp32", "inverse": inverse}
    return PretrainConfig(data=slides, out=out, **(small | short | options))


def losses(out):
    with (out / "metrics.csv").open(newline="") as file:
        return [float(row["inverse_loss"]) for row in csv.DictReader(file)]


def micro_batches(settings, pairs):
    mixture = open_stage_mixture(settings, settings.all_stages[0], World(), find_sources(settings))
    batch = StepBatches(settings, settings.all_stages[0], mixture, World(), pairs)[0]
    return [cuts.prepare(torch.device("cpu")) for cuts in batch.micro_batches]


def test_the_encoder_learns_to_show_actions(slides, tmp_path):
    pretrain(config(slides, tmp_path, steps=40, batch_size=16, learning_rate=3e-3, log_every=10))
    at_once = 2 / 7  # two of seven numbers vary, and their deviation is the unit
    assert losses(tmp_path)[0] > 0.8 * at_once and losses(tmp_path)[-1] < 0.3 * at_once


def test_the_gradient_of_actions_reaches_the_encoder(slides, tmp_path):
    settings = config(slides, tmp_path)
    pairs = ActionPairs(settings.inverse)
    gradients = []
    for weight in (1.0, 3.0):
        heavier = config(slides, tmp_path, inverse=InverseConfig(weight=weight, data=(slides,)))
        trainer = Pretrainer(heavier, action_units=pairs.action_units)
        trainer.step(0, micro_batches(heavier, pairs))
        gradients.append(torch.cat([p.grad.flatten() for p in trainer.encoder.parameters() if p.grad is not None]))
    assert (gradients[0] - gradients[1]).norm() > 0.01 * gradients[0].norm()


def test_without_weight_nothing_is_another(slides, tmp_path):
    for name, inverse in (("with", InverseConfig(weight=1e-12, data=(slides,))), ("without", InverseConfig())):
        pretrain(config(slides, tmp_path / name, inverse=inverse))
    with (tmp_path / "without/metrics.csv").open(newline="") as file:
        assert "inverse_loss" not in next(csv.reader(file))
    weights = [load_encoder(tmp_path / name / "encoder").state_dict() for name in ("with", "without")]
    for value, other in zip(*(state.values() for state in weights), strict=True):
        torch.testing.assert_close(value, other, atol=1e-5, rtol=0)


def test_a_run_that_stopped_goes_on_as_if_it_had_not(slides, tmp_path):
    whole = load_encoder(pretrain(config(slides, tmp_path / "whole")))
    with interrupted_at(Pretrainer, 3), pytest.raises(KeyboardInterrupt):
        pretrain(config(slides, tmp_path / "parts"))
    with pytest.raises(CheckpointError, match=r"holds another run: inverse\.weight.*inverse\.data"):
        pretrain(config(slides, tmp_path / "parts", inverse=InverseConfig()))
    parts = load_encoder(pretrain(config(slides, tmp_path / "parts")))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


def test_a_batch_in_parts_is_the_same_step(slides, tmp_path):
    results, drawn = [], []
    for size in (None, 2):
        settings = config(slides, tmp_path, compute=ComputeConfig(micro_batch_size=size))
        pairs = ActionPairs(settings.inverse)
        parts = micro_batches(settings, pairs)
        drawn.append(torch.cat([part.pairs.frames for part in parts]))
        results.append(Pretrainer(settings, action_units=pairs.action_units).step(0, parts))
    assert torch.equal(*drawn)
    for name in ("inverse_loss", "grad_norm"):
        torch.testing.assert_close(results[0][name], results[1][name], atol=1e-5, rtol=1e-5)


def test_pairs_are_successive_frames_and_the_action_between_them(slides, tmp_path):
    pairs = ActionPairs(InverseConfig(weight=1.0, data=(slides,)))
    some = pairs.draw(range(40), 0, 1.0)
    assert some.frames.shape[:2] == (40, 2) and some.frames.shape[-1] == 3
    bright = (some.frames.float().mean(-1) > 128).float()
    rows = torch.arange(bright.shape[-2])
    places = (bright.sum(-1) * rows).sum(-1) / bright.sum((-2, -1))  # (40, 2) [px]
    moved = places[:, 1] - places[:, 0]
    assert torch.corrcoef(torch.stack((moved, some.actions[:, 0])))[0, 1] > 0.99
    assert torch.equal(pairs.draw([7], 0, 1.0).frames[0], some.frames[7])
    assert not torch.equal(pairs.draw(range(40), 1, 1.0).actions, some.actions)


def test_a_number_that_never_changes_counts_nothing(tmp_path):
    with TrajectoryWriter(tmp_path / "data", fps=5, image_size=32) as writer:
        rng = np.random.default_rng(0)
        for _ in range(4):
            actions = np.ones((8, 7), np.float32)
            actions[:, 0] = rng.normal(3.0, 0.1, 8)
            actions[-1] = 0
            frames = rng.integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
            writer.add_episode(frames, np.zeros((8, 7), np.float32), actions, "hold")
    pretrain(config(tmp_path / "data", tmp_path / "out"))
    assert losses(tmp_path / "out")[0] < 1


def test_the_loss_is_that_of_pairs_whatever_share_pictures_have(slides, tmp_path):
    encoder = dataclasses.replace(ENCODER, image_tokenizer=True, modality_embedding=True)
    for share in (0.25, 0.75):
        out = tmp_path / str(share)
        pretrain(config(slides, out, encoder=encoder, pictures=PicturesConfig(share=share), steps=1))
    assert losses(tmp_path / "0.25") == pytest.approx(losses(tmp_path / "0.75"), rel=1e-5)


def test_a_cooldown_has_inverse_dynamics_where_its_start_had(slides, tmp_path):
    start = tmp_path / "start"
    pretrain(config(slides, start))
    pretrain(config(slides, tmp_path / "with", start_from=start))
    with pytest.raises(CheckpointError, match="was trained with inverse dynamics, which this run is not"):
        pretrain(config(slides, tmp_path / "without", start_from=start, inverse=InverseConfig()))


def test_a_bad_episode_is_named_and_left_out(tmp_path, caplog):
    data = write_slides(tmp_path / "data", num_episodes=12)
    sorted((data / "videos").rglob("*.mp4"))[3].unlink()
    inverse = InverseConfig(weight=1.0, data=(data,))
    assert len({int(place) for place in ActionPairs(inverse, 0.1)._places[:, 1]}) == 11
    assert "bad episode 3" in caplog.text
    with pytest.raises(TrajectoryError, match="1 of 12 episodes"):
        ActionPairs(inverse, 0.05)


def test_what_cannot_be_is_refused(slides, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"inverse\.data must be given with a positive inverse\.weight"):
        InverseConfig(weight=1.0)
    with pytest.raises(ValueError, match=r"inverse\.data must be given with a positive inverse\.weight"):
        InverseConfig(data=(slides,))
    other = write_slides(tmp_path / "other", num_episodes=3, scale=2)
    with pytest.raises(ValueError, match=r"pictures of inverse\.data must be of one size"):
        ActionPairs(InverseConfig(weight=1.0, data=(slides, other)))
    one = write_slides(tmp_path / "one", num_episodes=1, num_frames=2)
    with pytest.raises(ValueError, match=r"inverse\.data must hold two pairs of frames at least, got 1"):
        ActionPairs(InverseConfig(weight=1.0, data=one))
    with pytest.raises(ValueError, match=r"inverse\.read must be left out without inverse\.weight"):
        InverseConfig(read=TrajectoryOptions(camera="top"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ActionPairs(InverseConfig(weight=1.0, data=(tmp_path / "nowhere",)))
    words = ["pretrain", "--data", str(slides), "--out", str(tmp_path / "out"), "--inverse.weight", "-1"]
    with pytest.raises(SystemExit):
        main(words)
    assert "inverse.weight must be at least 0" in capsys.readouterr().err


def test_a_damaged_video_is_named(tmp_path):
    data = write_slides(tmp_path / "data", num_episodes=12)
    settings = config(data, tmp_path / "out")
    pairs = ActionPairs(settings.inverse)
    video = next((data / "videos").rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:200])
    with pytest.raises(TrajectoryError, match=rf"episode \d+ of .*{video.name}"):
        pairs.draw(range(4), 0, 1.0)
