"""Linear probe: how well the gripper's position can be read off frozen latents by a linear map.

It is the check that pretraining taught something: the same probe on the same encoder at random initialisation is the
bar to beat, on episodes that neither the probe nor its regularisation saw.

Letters: F frames, N tokens per frame, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vjepa_wm.data.trajectories import TrajectoryDataset
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.load import load_encoder
from vjepa_wm.models.precision import pick_device, pick_dtype
from vjepa_wm.training.train_ac import LatentEpisodes, encode_episodes

_RIDGES = tuple(10.0**power for power in range(-1, 6))
Readout = Literal["patches", "mean"]


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Probe a frozen encoder for the gripper's position, beside the same encoder at random initialisation."""

    data: Path
    """LeRobot v3 dataset folder."""
    encoder: Path
    """Encoder: a folder as `pretrain` writes it, a file of published weights, or their name."""
    test_share: float = 0.25
    """Share of the episodes the probe is measured on."""
    max_episodes: int = 200
    """Episodes used at most."""
    seed: int = 0
    """Decides the split and the random encoder."""


def fit_ridge(x: Tensor, y: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Solve ridge regression with an intercept in float64; returns weights ``(features, outputs)`` and intercept."""
    x_mean, y_mean = x.mean(dim=0), y.mean(dim=0)
    centred = (x - x_mean).double()
    if x.shape[0] < x.shape[1]:  # the smaller of the two equal systems
        gram = centred @ centred.T
        gram.diagonal().add_(ridge)
        weights = centred.T @ torch.linalg.solve(gram, (y - y_mean).double())
    else:
        gram = centred.T @ centred
        gram.diagonal().add_(ridge)
        weights = torch.linalg.solve(gram, centred.T @ (y - y_mean).double())
    return weights, y_mean.double() - x_mean.double() @ weights


def r_squared(prediction: Tensor, truth: Tensor) -> Tensor:
    """Return the share of variance explained, per column of ``(F, outputs)``."""
    residual = (truth - prediction).square().sum(dim=0)
    return 1.0 - residual / (truth - truth.mean(dim=0)).square().sum(dim=0)


def read_out(z: Tensor, readout: Readout) -> Tensor:
    """Turn latents ``(F, N, D)`` into features: all patches end to end, or their mean."""
    return z.float().flatten(1) if readout == "patches" else z.float().mean(dim=1)


def probe_position(train: LatentEpisodes, test: LatentEpisodes, readout: Readout) -> tuple[Tensor, float]:
    """Fit position on latents and measure it on other episodes.

    The ridge is chosen on the last fifth of the training frames, then all of them are fitted.

    Returns:
        R² of x, y and z, ``(3,)``, and the mean distance between read and true position [m].
    """
    x, y = read_out(train.z, readout), train.states[:, :3]
    cut = len(x) * 4 // 5

    def score(ridge: float) -> float:
        weights, intercept = fit_ridge(x[:cut], y[:cut], ridge)
        return float(r_squared(x[cut:].double() @ weights + intercept, y[cut:].double()).mean())

    weights, intercept = fit_ridge(x, y, max(_RIDGES, key=score))
    truth = test.states[:, :3].double()
    prediction = read_out(test.z, readout).double() @ weights + intercept
    return r_squared(prediction, truth), float((prediction - truth).norm(dim=1).mean())


def probe(config: ProbeConfig) -> dict[str, dict[str, float]]:
    """Probe an encoder and its random twin.

    Returns:
        For ``pretrained`` and ``random``, each with either readout: R² of ``x``, ``y``, ``z`` and ``error`` [m].
    """
    device = pick_device()
    dtype = pick_dtype("auto", device)
    trained = load_encoder(config.encoder)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        untrained = VideoEncoder(trained.config).eval()
    num_episodes = min(TrajectoryDataset(config.data).num_episodes, config.max_episodes)
    parts = TrajectoryDataset(config.data, episodes=range(num_episodes)).split(config.test_share, config.seed)
    results = {}
    for name, encoder in (("pretrained", trained), ("random", untrained)):
        encoder = encoder.to(device)
        train, test = (encode_episodes(encoder, part, 1, dtype) for part in parts)
        for readout in ("patches", "mean"):
            scores, error = probe_position(train, test, readout)
            values = dict(zip("xyz", scores.tolist(), strict=True)) | {"error": error}
            results[f"{name}, {readout}"] = values
    return results


def run_probe(config: ProbeConfig) -> None:
    """Print the probe of an encoder beside that of its random twin."""
    print(f"{'encoder, readout':24}{'R2 x':>8}{'R2 y':>8}{'R2 z':>8}{'error':>10}")
    for name, values in probe(config).items():
        scores = "".join(f"{values[axis]:8.3f}" for axis in "xyz")
        print(f"{name:24}{scores}{100 * values['error']:7.1f} cm")
