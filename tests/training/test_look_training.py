"""New looks for a world model: what its encoder learns, what stays, and recordings that are no pairs."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sliding_square import write_slides
from tiny_world_model import tiny_world_model

from vjepa_wm.cli import main
from vjepa_wm.data.latents.latent_store import encode_dataset
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.metadata_checks import TrajectoryError
from vjepa_wm.models.load import load_world_model
from vjepa_wm.models.proposal import Proposal, ProposalConfig
from vjepa_wm.models.world_model import save_world_model
from vjepa_wm.training.look_losses import patch_changes, proposal_gap
from vjepa_wm.training.look_training import (
    TrainLooksConfig,
    train_looks,
)
from vjepa_wm.training.paired_frames import PairedFrames

pytestmark = pytest.mark.usefixtures("without_curves")
LOOKS = {"known": (40, 230), "dark": (90, 10)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same episodes in two looks, and a world model with a proposal."""
    folder = tmp_path_factory.mktemp("looks")
    for name, look in LOOKS.items():
        write_slides(folder / name, num_episodes=12, look=look)
    write_slides(folder / "small", num_episodes=12, scale=2)
    model, size = tiny_world_model(), {"reader_dim": 8, "hidden_dim": 16, "depth": 1}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model.attach_proposal(Proposal(ProposalConfig(encoder_dim=24, num_tokens=4, action_dim=7, state_dim=7, **size)))
    save_world_model(model, folder / "world_model")
    return folder


def config(folder, out, data="dark", targets="known", **options):
    options = {"steps": 100, "batch_size": 8, "num_frames": 12, "save_every": 100, "validation_share": 0.25, **options}
    return TrainLooksConfig(
        data=(folder / data,),
        targets=(folder / targets,),
        out=out,
        precision="fp32",
        **{"world_model": folder / "world_model", **options},
    )


def last_row(out):
    with (out / "metrics.csv").open(newline="") as file:
        return {name: float(value or "nan") for name, value in list(csv.DictReader(file))[-1].items()}


def test_the_encoder_sees_the_new_look_as_the_known_one(folder, tmp_path):
    trained = load_world_model(train_looks(config(folder, tmp_path / "out", learning_rate=3e-3, old_share=0.5)))
    row = last_row(tmp_path / "out")
    assert row["val_over_before"] < 0.6 and row["val_old"] < 0.6 * row["val_latent"] / row["val_over_before"]
    assert 0 < row["val_reading"] < 1
    before = load_world_model(folder / "world_model")
    new, known = (TrajectoryDataset(folder / name).episode(0).frames[None] for name in ("dark", "known"))
    wanted = before.encode(torch.from_numpy(known))
    off = [float((model.encode(torch.from_numpy(new)) - wanted).abs().mean()) for model in (trained, before)]
    assert off[0] < 0.6 * off[1]
    for part in ("predictor", "proposal"):
        ours, theirs = getattr(trained, part).state_dict(), getattr(before, part).state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_without_a_proposal_nothing_is_read(folder, tmp_path):
    save_world_model(tiny_world_model(), tmp_path / "world_model")
    train_looks(
        TrainLooksConfig(**{**vars(config(folder, tmp_path / "out", steps=2)), "world_model": tmp_path / "world_model"})
    )
    assert {"val_latent", "val_moving"} <= set(last_row(tmp_path / "out")) and "val_reading" not in last_row(
        tmp_path / "out"
    )


def test_a_run_begins_with_the_encoder_of_an_earlier_one(folder, tmp_path):
    first = train_looks(config(folder, tmp_path / "first", steps=30, learning_rate=3e-3))
    options = {"steps": 1, "start_from": first, "learning_rate": 1e-9}
    train_looks(config(folder, tmp_path / "next", **options))
    ends, goes_on = (last_row(tmp_path / name) for name in ("first", "next"))
    assert goes_on["val_latent"] == pytest.approx(ends["val_latent"], rel=1e-4)
    assert goes_on["val_over_before"] == pytest.approx(ends["val_over_before"], rel=1e-4)  # and has the same targets
    save_world_model(tiny_world_model(in_channels=1), tmp_path / "grey")
    with pytest.raises(ValueError, match="must have an encoder of the form of the world model's"):
        train_looks(config(folder, tmp_path / "other", start_from=tmp_path / "grey"))


def test_a_patch_changes_by_how_far_it_is_from_its_mean():
    z = torch.zeros(2, 3, 4, 5)
    z[0, 1, 2] = 3.0
    changes = patch_changes(z)
    assert changes[0, :, 2].tolist() == [1.0, 2.0, 1.0]
    assert changes.sum() == 4.0


def test_what_moves_counts_in_units_of_its_mean_change(folder, tmp_path):
    row = {}
    for share in (0.0, 1.0):
        train_looks(config(folder, tmp_path / str(share), steps=1, old_share=0.0, change_share=share))
        row[share] = last_row(tmp_path / str(share))
    assert row[0.0]["moving_loss"] == row[1.0]["moving_loss"] > 1.2 * row[0.0]["latent_loss"]  # the square is not seen
    assert row[0.0]["grad_norm"] != row[1.0]["grad_norm"]


def test_the_gap_of_a_proposal_is_a_divergence(folder):
    proposal = load_world_model(folder / "world_model").proposal.requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    z, other = torch.randn((2, 6, 4, 4, 24), generator=generator)
    states = torch.randn((6, 4, 7), generator=generator)
    same = z.clone().requires_grad_()
    proposal_gap(proposal, same, z, states).backward()
    assert float(proposal_gap(proposal, z, z, states)) == 0 and float(same.grad.abs().max()) < 1e-6
    # At least the divergence of the mixtures, as draws estimate it.
    wanted, found = (proposal(one[:, 0], states[:, 0], one[:, 1]) for one in (z, other))
    draws = [wanted.draw(generator) for _ in range(500)]
    estimate = torch.stack([wanted.log_prob(draw) - found.log_prob(draw) for draw in draws]).mean()
    assert float(proposal_gap(proposal, other[:, :2], z[:, :2], states[:, :2])) > float(estimate) - 0.02 > 0


def test_the_old_look_is_shown_as_often_as_asked(folder, tmp_path):
    rows = {}
    for share in (0.0, 1.0):
        train_looks(config(folder, tmp_path / str(share), steps=1, old_share=share))
        rows[share] = last_row(tmp_path / str(share))
    assert rows[1.0]["latent_loss"] < 1e-3 < 0.1 < rows[0.0]["latent_loss"]  # what it sees is what it is to see


def test_frames_of_a_window_are_those_of_its_rows(folder):
    new, old = (TrajectoryDataset(folder / name) for name in ("dark", "known"))
    latents = encode_dataset(tiny_world_model().encoder, old, store=folder / "store")
    pairs = PairedFrames(new, old)
    rows = int(latents.firsts[3]) + np.array([2, 5, 11])
    for is_old, dataset in ((False, new), (True, old)):
        np.testing.assert_array_equal(pairs.read(rows, old=is_old), dataset.episode(3).frames[[2, 5, 11]])
        for wrong in (-1, 12):
            with pytest.raises(IndexError):
                dataset.some_frames(3, np.array([wrong]))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"num_episodes": 11}, "they are 11 episodes, 132 frames and 12 episodes, 144 frames"),
        ({"num_episodes": 12, "seed": 1}, "episode 0 has other states"),
    ],
)
def test_other_episodes_are_no_pairs(other, message, folder, tmp_path):
    write_slides(tmp_path / "other", look=(90, 10), **other)
    with pytest.raises(TrajectoryError, match=f"must be the same episodes in two looks, as of one seed; .*{message}"):
        train_looks(config(folder, tmp_path / "out", data=tmp_path / "other"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": (Path("one"), Path("two"))}, "targets must be one for each of 1 datasets, got 2"),
        ({"max_bad_share": 0.1}, "max_bad_share must be 0: an episode that cannot be read has no pair"),
        ({"num_frames": 1}, "num_frames must be at least 2"),
        ({"old_share": 2.0}, "old_share must be from 0 to 1"),
    ],
)
def test_options_that_cannot_be(options, message, folder, tmp_path):
    with pytest.raises(ValueError, match=message):
        TrainLooksConfig(**{**vars(config(folder, tmp_path)), **options})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num-frames", "13"], "no episode holds a window of 13 frames; ask for fewer"),
        (["--target-camera", "wrist"], "unknown camera 'wrist'"),
        (["--targets", "dark"], "targets must be other pictures than data"),
        (["--targets", "small"], "pictures of data and targets must be of one size, got [(32, 32), (64, 64)]"),
    ],
)
def test_mistakes_are_told(words, message, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    usual = ["--data", "dark", "--targets", "known", "--world-model", "world_model", "--out", str(tmp_path / "out")]
    short = ["--steps", "1", "--validation-share", "0.2", "--old-share", "0.5"]
    assert main(["train-looks", *usual, *short, *words]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("damaged", ["dark", "known"])
def test_a_damaged_video_is_told_before_anything_is_encoded(damaged, folder, tmp_path):
    for name in LOOKS:
        shutil.copytree(folder / name, tmp_path / name, ignore=shutil.ignore_patterns(".vjepa_wm"))
    video = sorted((tmp_path / damaged).rglob("*.mp4"))[0]
    video.write_bytes(video.read_bytes()[:-40])
    with pytest.raises(TrajectoryError, match=rf"episode 0 of .*{damaged}: .*read.episodes leaves it out"):
        train_looks(config(tmp_path, tmp_path / "out", world_model=folder / "world_model"))
    assert not list(tmp_path.rglob("z.bin"))
