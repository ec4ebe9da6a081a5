import pytest
import torch

from vjepa_wm.training.train_ac import LatentEpisodes
from vjepa_wm.training.train_probe import fit_ridge, probe_position, r_squared


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


def episodes(count: int, seed: int) -> LatentEpisodes:
    generator = torch.Generator().manual_seed(seed)
    states = torch.rand(count, 7, generator=generator)
    mix = torch.randn(3, 4 * 8, generator=torch.Generator().manual_seed(9))
    z = (states[:, :3] @ mix).view(count, 4, 8) + 0.01 * torch.randn(count, 4, 8, generator=generator)
    return LatentEpisodes(z=z, states=states, actions=torch.zeros(count, 7), starts=torch.arange(count))


def test_position_in_the_latents_is_found_and_noise_is_not():
    scores, error = probe_position(episodes(300, 0), episodes(100, 1), "patches")
    assert scores.min() > 0.99
    assert error < 0.02
    noise = episodes(100, 1)
    noise = LatentEpisodes(z=torch.randn(100, 4, 8), states=noise.states, actions=noise.actions, starts=noise.starts)
    assert probe_position(episodes(300, 0), noise, "patches")[0].max() < 0.0


def test_mean_readout_sees_only_the_mean():
    scores, _ = probe_position(episodes(300, 0), episodes(100, 1), "mean")
    assert scores.min() > 0.9
    assert scores.tolist() == pytest.approx([1.0, 1.0, 1.0], abs=0.1)
