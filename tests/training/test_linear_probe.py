import numpy as np
import pytest
import torch

from vjepa_wm.cli import main
from vjepa_wm.data.trajectories.writer import TrajectoryWriter
from vjepa_wm.models.checkpoint import save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.training.linear_probe import Frames, fit_ridge, probe_object, probe_position, r_squared


def test_ridge_finds_the_line_both_ways_round():
    generator = torch.Generator().manual_seed(0)
    for rows, columns in ((200, 10), (10, 40)):
        x = torch.randn(rows, columns, generator=generator)
        weights = torch.randn(columns, 2, generator=generator)
        y = x @ weights + 3.0
        found, intercept = fit_ridge(x, y, 1e-6)
        torch.testing.assert_close(x.double() @ found + intercept, y.double(), atol=1e-3, rtol=1e-3)


def test_ridge_equals_the_normal_equations():
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(30, 50, generator=generator), torch.randn(30, 3, generator=generator)
    centred = (x - x.mean(0)).double()
    expected = torch.linalg.solve(centred.T @ centred + 2.0 * torch.eye(50), centred.T @ (y - y.mean(0)).double())
    torch.testing.assert_close(fit_ridge(x, y, 2.0)[0], expected)


def test_r_squared():
    truth = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    assert r_squared(truth, truth).tolist() == [1.0, 1.0]
    assert r_squared(truth.mean(0).expand(2, 2), truth).tolist() == [0.0, 0.0]


def episodes(count: int, seed: int) -> Frames:
    generator = torch.Generator().manual_seed(seed)
    states = torch.rand(count, 7, generator=generator)
    mix = torch.randn(3, 4 * 8, generator=torch.Generator().manual_seed(9))
    z = (states[:, :3] @ mix).view(count, 4, 8) + 0.01 * torch.randn(count, 4, 8, generator=generator)
    return Frames(z=z, states=states)


def test_position_in_the_latents_is_found_and_noise_is_not():
    scores, error = probe_position(episodes(300, 0), episodes(100, 1), "patches")
    assert scores.min() > 0.99
    assert error < 0.02
    noise = episodes(100, 1)
    noise = Frames(z=torch.randn(100, 4, 8), states=noise.states)
    assert probe_position(episodes(300, 0), noise, "patches")[0].max() < 0.0


def test_mean_readout_sees_only_the_mean():
    scores, _ = probe_position(episodes(300, 0), episodes(100, 1), "mean")
    assert scores.min() > 0.9
    assert scores.tolist() == pytest.approx([1.0, 1.0, 1.0], abs=0.1)


def scenes(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return latents that hold place and heading, and objects x, y, z, yaw; the headings go all the way round."""
    generator = torch.Generator().manual_seed(seed)
    objects = torch.rand(count, 4, generator=generator)
    objects[:, 3] = (objects[:, 3] - 0.5) * 2 * torch.pi
    seen = torch.cat([objects[:, :2], objects[:, 3:].sin(), objects[:, 3:].cos()], dim=1)
    mix = torch.randn(4, 4 * 8, generator=torch.Generator().manual_seed(9))
    return (seen @ mix).view(count, 4, 8) + 0.01 * torch.randn(count, 4, 8, generator=generator), objects


def test_place_and_heading_of_an_object_are_found():
    (z, objects), (z_test, objects_test) = scenes(400, 0), scenes(100, 1)
    names = ("x", "y", "z", "yaw")
    values = probe_object((z, z_test), (objects, objects_test), names, "patches")
    assert values["x"] > 0.99 and values["y"] > 0.99 and values["error"] < 0.02
    assert values["heading"] < 0.05
    noise = probe_object((z, torch.randn(100, 4, 8)), (objects, objects_test), names, "patches")
    assert noise["x"] < 0 and noise["heading"] > 0.8
    flat = probe_object((z, z_test), (objects[:, [1, 0]], objects_test[:, [1, 0]]), ("y", "x"), "patches")
    assert flat["y"] == pytest.approx(values["y"]) and "heading" not in flat


@pytest.fixture
def encoder(tmp_path):
    torch.manual_seed(0)
    config = VideoEncoderConfig(image_size=32, embed_dim=24, depth=1, num_heads=2)
    save_model(VideoEncoder(config), "video_encoder", config, tmp_path / "encoder")
    return tmp_path / "encoder"


def test_in_a_plane_there_is_no_height(encoder, tmp_path, capsys):
    rng = np.random.default_rng(0)
    with TrajectoryWriter(tmp_path / "set", fps=5, image_size=32) as writer:
        for _ in range(3):
            frames = rng.integers(0, 255, (6, 32, 32, 3), dtype=np.uint8)
            writer.add_episode(frames, rng.random((6, 7)), np.zeros((6, 7)), "wander")
    options = ["--test-share", "0.4", "--read.state", "observation.state:x,y"]
    assert main(["probe", "--data", str(tmp_path / "set"), "--encoder", str(encoder), *options]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert len(rows) == 4 and all(row[24:].split()[2] == "-" and row.endswith(" cm") for row in rows)


@pytest.mark.parametrize("task", ["push", "reach"])
def test_the_table_has_rows_for_the_object_where_there_is_one(encoder, tmp_path, capsys, task):
    data = str(tmp_path / "set")
    short = ["--episodes", "3", "--steps", "5", "--image-size", "32"]
    assert main(["collect", "--env", task, "--out", data, *short]) == 0
    capsys.readouterr()
    assert main(["probe", "--data", data, "--encoder", str(encoder), "--test-share", "0.4"]) == 0
    title, *rows = capsys.readouterr().out.splitlines()
    names = [f"{name}, {readout}" for name in ("pretrained", "random") for readout in ("patches", "mean")]
    if task == "reach":
        assert title == f"{'encoder, readout':24}    R2 x    R2 y    R2 z     error"
        assert [row[:24].rstrip() for row in rows] == names and all(row.endswith(" cm") for row in rows)
        return
    assert title == f"{'encoder, readout, what':32}    R2 x    R2 y    R2 z     error     heading"
    expected = [f"{name}, {what}" for name in names for what in ("gripper", "object")]
    assert [row[:32].rstrip() for row in rows] == expected
    assert all(row.endswith(" cm") for row in rows[::2]) and all(row.endswith(" deg") for row in rows[1::2])
