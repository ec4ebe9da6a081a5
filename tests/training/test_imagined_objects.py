import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sliding_square import write_slides
from tiny_world_model import tiny_world_model
from torch import nn

from vjepa_wm.data.latents.latent_set import LatentSet
from vjepa_wm.data.latents.latent_store import encode_dataset
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.training.imagined_objects import ObjectProbe, imagined_objects, report_imagined_objects, text_lines

CPU = torch.device("cpu")
DRAWN = torch.randn((3, 4 * 6), generator=torch.Generator().manual_seed(0))


def latents_of(states):
    """Show an object of x, y [m] and heading [rad], (..., 3), in four tokens."""
    x, y, yaw = states.unbind(dim=-1)
    return (torch.stack((10 * x, 10 * y, yaw), dim=-1) @ DRAWN).sin().unflatten(-1, (4, 6))


class Knows(nn.Module):
    """Imagines what happens: the state is the object's, and actions move it."""

    def rollout(self, z, states, actions):
        return latents_of(states[:, None] + actions.cumsum(dim=2))


class Stands(nn.Module):
    """Imagines that nothing happens."""

    def rollout(self, z, states, actions):
        return z[:, None].expand(-1, 1, actions.shape[2], -1, -1)


@pytest.fixture(scope="module")
def parts():
    """Objects that move in every second episode, for training and held out."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (80, 10, 3)) * (0.03, 0.03, 0.2) * (np.arange(80) % 2 == 0)[:, None, None]
    actions[:, -1] = 0
    starts = rng.uniform(-1, 1, (80, 1, 3)) * (0.1, 0.1, 0.8)
    states = (starts + np.roll(actions, 1, axis=1).cumsum(axis=1)).reshape(-1, 3).astype(np.float32)
    both = LatentSet(
        z=latents_of(torch.from_numpy(states)).numpy().astype(np.float16),
        states=states,
        actions=actions.reshape(-1, 3).astype(np.float32),
        objects=states,
        firsts=np.arange(80) * 10,
        lengths=np.full(80, 10),
        object_names=("x", "y", "yaw"),
    )
    return both.part(range(60)), both.part(range(60, 80))


@pytest.fixture(scope="module")
def probe(parts):
    return ObjectProbe(parts[0], 0, CPU)


def test_who_knows_what_happens_errs_as_the_probe_does(parts, probe):
    rows = imagined_objects(Knows(), probe, parts[1])
    assert [(row.motion, row.step) for row in rows[:4]] == [("all", step) for step in (1, 2, 4, 8)]
    for row in rows:
        assert row.object_error == pytest.approx(row.seen, abs=0.05)
        assert row.object_turn == pytest.approx(row.seen_turn, abs=0.01)
    last = rows[7]
    assert (last.motion, last.step) == ("moved", 8)
    assert last.seen < 1.5 < last.still and last.seen_turn < 0.15 < last.still_turn


def test_who_moves_nothing_errs_as_standing_still(parts, probe):
    rows = imagined_objects(Stands(), probe, parts[1])
    assert all(row.object_error == row.still and row.object_turn == row.still_turn for row in rows)


def test_windows_are_divided_by_what_really_moved(parts, probe):
    rows = imagined_objects(Knows(), probe, parts[1], data=3)
    count = {(row.motion, row.step): row.windows for row in rows}
    assert count["all", 8] == 40 and count["at rest", 8] == 20 and count["moved", 8] == 20
    assert count["moved", 1] + count["at rest", 1] == 40 and {row.data for row in rows} == {3}


def test_a_probe_reads_places_without_a_heading(parts):
    plain, held_out = (replace(part, objects=part.objects[:, :2], object_names=("x", "opening")) for part in parts)
    probe = ObjectProbe(plain, 0, CPU)
    rows = imagined_objects(Knows(), probe, held_out)
    assert rows[3].seen < 1.5 and rows[3].object_turn is None
    assert "rad" not in text_lines(rows)[0]


def test_episodes_shorter_than_a_horizon_leave_it_out(parts, probe):
    short, single = (replace(parts[1], lengths=np.full(20, length)) for length in (4, 1))
    assert {row.step for row in imagined_objects(Knows(), probe, short)} == {1, 2}
    assert imagined_objects(Knows(), probe, single) == []


def test_a_real_world_model_is_reported(tmp_path, capsys):
    model = tiny_world_model()
    sets = [
        encode_dataset(model.encoder, TrajectoryDataset(write_slides(tmp_path / name, has_objects=has_objects)))
        for name, has_objects in (("with", True), ("without", False))
    ]
    parts = [one.split(0.34, 0) for one in sets]
    train, held_out = ([part[k] for part in parts] for k in (0, 1))
    rows = report_imagined_objects(model, train, held_out, tmp_path)
    written = json.loads((tmp_path / "imagined_objects.json").read_text())["rows"]
    assert [row["step"] for row in written[:4]] == [1, 2, 4, 8] and {row["data"] for row in written} == {0}
    assert written[0]["object_error"] == rows[0].object_error > 0
    said = capsys.readouterr().out
    assert said.startswith("data set 1, object all, after 1, 2, 4, 8 steps: imagined ") and "standing still" in said
    assert report_imagined_objects(model, train[1:], held_out[1:], tmp_path / "none") == []
    assert not (tmp_path / "none").exists()
