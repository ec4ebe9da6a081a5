"""Linear probe: how well positions of the gripper and of an object can be read off frozen latents by a linear map.

It is the check that pretraining taught something: the same probe on the same encoder at random initialisation is the
bar to beat, on episodes that neither the probe nor its regularisation saw.

Letters: F frames, N tokens per frame, D width, E numbers that describe the objects of a scene.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.read_options import TrajectoryOptions
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.load import load_encoder
from vjepa_wm.models.precision import pick_device, pick_dtype
from vjepa_wm.training.ac_training import LatentEpisodes, encode_episodes

_RIDGES = tuple(10.0**power for power in range(-1, 6))
Readout = Literal["patches", "mean"]


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Probe a frozen encoder for positions of gripper and object, beside the same encoder at random initialisation."""

    data: Path
    """LeRobot v3 dataset folder."""
    read: TrajectoryOptions = field(default_factory=TrajectoryOptions)
    """What of it is read, as for train-ac; the first numbers of the state are the position."""
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


def fit_readout(z: Tensor, y: Tensor, readout: Readout) -> tuple[Tensor, Tensor]:
    """Fit numbers ``(F, outputs)`` on latents ``(F, N, D)``; the ridge is chosen on the last fifth of the frames.

    Returns:
        Weights ``(features, outputs)`` and intercept, float64, fitted to all frames.
    """
    x = read_out(z, readout)
    cut = len(x) * 4 // 5

    def score(ridge: float) -> float:
        weights, intercept = fit_ridge(x[:cut], y[:cut], ridge)
        return float(r_squared(x[cut:].double() @ weights + intercept, y[cut:].double()).mean())

    return fit_ridge(x, y, max(_RIDGES, key=score))


def probe_position(train: LatentEpisodes, test: LatentEpisodes, readout: Readout) -> tuple[Tensor, float]:
    """Fit position on latents and measure it on other episodes.

    Returns:
        R² of x, y and z, ``(3,)``, in a plane of x and y, ``(2,)``, and the mean distance between read and true
        position [m].
    """
    weights, intercept = fit_readout(train.z, train.states[:, :3], readout)
    truth = test.states[:, :3].double()
    prediction = read_out(test.z, readout).double() @ weights + intercept
    return r_squared(prediction, truth), float((prediction - truth).norm(dim=1).mean())


def probe_object(
    z: tuple[Tensor, Tensor], objects: tuple[Tensor, Tensor], names: Sequence[str], readout: Readout
) -> dict[str, float]:
    """Fit an object's place on the table, and its heading if it has one, and measure them on other episodes.

    The heading is fitted as sine and cosine, which unlike the angle never jump.

    Args:
        z: latents to fit on and to measure on, ``(F, N, D)`` each.
        objects: numbers of the objects in the same frames, ``(F, E)`` each.
        names: what the numbers are; x and y [m] are needed, yaw [rad] is used.
        readout: what of the latents is read.

    Returns:
        R² of ``x`` and ``y``, ``error``, the mean distance on the table [m], and ``heading``, the mean error [rad].
    """
    (z_train, z_test), columns = z, [names.index("x"), names.index("y")]
    train, test = (part[:, columns] for part in objects)
    weights, intercept = fit_readout(z_train, train, readout)
    x = read_out(z_test, readout).double()
    prediction, truth = x @ weights + intercept, test.double()
    values = dict(zip("xy", r_squared(prediction, truth).tolist(), strict=True))
    values["error"] = float((prediction - truth).norm(dim=1).mean())
    if "yaw" in names:
        train, test = (part[:, names.index("yaw")] for part in objects)
        weights, intercept = fit_readout(z_train, torch.stack([train.sin(), train.cos()], dim=1), readout)
        sine, cosine = (x @ weights + intercept).unbind(dim=1)
        turn = torch.atan2(sine, cosine) - test.double()
        values["heading"] = float(torch.atan2(turn.sin(), turn.cos()).abs().mean())
    return values


def probe(config: ProbeConfig) -> dict[str, dict[str, float]]:
    """Probe an encoder and its random twin.

    Returns:
        For ``pretrained`` and ``random``, each with either readout: R² of ``x``, ``y``, ``z`` and ``error`` [m] of the
        gripper, of a mover in a plane without ``z``; where the dataset tells an object's x and y, also what
        `probe_object` returns, as ``<...>, object``.
    """
    device = pick_device()
    dtype = pick_dtype("auto", device)
    trained = load_encoder(config.encoder)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        untrained = VideoEncoder(trained.config).eval()
    num_episodes = min(TrajectoryDataset(config.data, config.read).num_episodes, config.max_episodes)
    dataset = TrajectoryDataset(config.data, config.read, episodes=range(num_episodes))
    parts = dataset.split(config.test_share, config.seed)
    objects = tuple(_objects(part) for part in parts) if {"x", "y"} <= set(parts[0].object_names) else None
    results = {}
    for name, encoder in (("pretrained", trained), ("random", untrained)):
        encoder = encoder.to(device)
        train, test = (encode_episodes(encoder, part, 1, dtype) for part in parts)
        for readout in ("patches", "mean"):
            scores, error = probe_position(train, test, readout)
            values = dict(zip("xyz", scores.tolist(), strict=False)) | {"error": error}  # in a plane x and y alone
            results[f"{name}, {readout}"] = values
            if objects is not None:
                found = probe_object((train.z, test.z), objects, parts[0].object_names, readout)
                results[f"{name}, {readout}, object"] = found
    return results


def _objects(dataset: TrajectoryDataset) -> Tensor:
    """Return the objects of all frames, ``(F, E)``, in the order in which `encode_episodes` has them."""
    return torch.cat([torch.from_numpy(dataset.objects(index)) for index in range(dataset.num_episodes)])


def run_probe(config: ProbeConfig) -> None:
    """Print the probe of an encoder beside that of its random twin."""
    results = probe(config)
    has_objects = any(name.endswith("object") for name in results)
    width, last = (32, f"{'heading':>12}") if has_objects else (24, "")
    title = "encoder, readout, what" if has_objects else "encoder, readout"
    print(f"{title:{width}}{'R2 x':>8}{'R2 y':>8}{'R2 z':>8}{'error':>10}{last}")
    for name, values in results.items():
        of = ", gripper" if has_objects and not name.endswith("object") else ""
        scores = "".join(f"{values[axis]:8.3f}" if axis in values else f"{'-':>8}" for axis in "xyz")
        heading = f"{math.degrees(values['heading']):8.1f} deg" if "heading" in values else ""
        print(f"{name + of:{width}}{scores}{100 * values['error']:7.1f} cm{heading}")
