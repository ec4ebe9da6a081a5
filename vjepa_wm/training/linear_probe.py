"""Linear probe: how well positions of the gripper and of an object can be read off frozen latents by a linear map.

It is the check that pretraining taught something: the same probe on the same encoder at random initialisation is the
bar to beat, on episodes that neither the probe nor its regularisation saw.

Letters: F frames, N tokens per frame, D width, E numbers that describe the objects of a scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from vjepa_wm.data.latents.latent_store import encode_episode
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.models.encoder import VideoEncoder

_RIDGES = tuple(10.0**power for power in range(-1, 6))
Readout = Literal["patches", "mean"]


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """How well one encoder's latents tell one thing."""

    encoder: Literal["pretrained", "random"]
    """Whose latents."""
    readout: Readout
    """What of the latents is read."""
    target: Literal["gripper", "object"]
    """What is read off; a mover in a plane counts as the gripper."""
    values: dict[str, float]
    """R² of `x`, `y` and `z`, `error` [m] and `heading` [rad], as far as there are such."""


def fit_ridge(x: Tensor, y: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Solve ridge regression with an intercept in float64; returns weights (features, outputs) and intercept."""
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
    """Return the share of variance explained, per column of (F, outputs)."""
    residual = (truth - prediction).square().sum(dim=0)
    return 1.0 - residual / (truth - truth.mean(dim=0)).square().sum(dim=0)


def read_out(z: Tensor, readout: Readout) -> Tensor:
    """Turn latents (F, N, D) into features: all patches end to end, or their mean."""
    return z.float().flatten(1) if readout == "patches" else z.float().mean(dim=1)


def fit_readout(z: Tensor, y: Tensor, readout: Readout) -> tuple[Tensor, Tensor]:
    """Fit numbers (F, outputs) on latents (F, N, D); the ridge is chosen on the last fifth of the frames.

    Returns:
        Weights (features, outputs) and intercept, float64, fitted to all frames.
    """
    x = read_out(z, readout)
    cut = len(x) * 4 // 5

    def score(ridge: float) -> float:
        """Return the mean R² on the last fifth."""
        weights, intercept = fit_ridge(x[:cut], y[:cut], ridge)
        return float(r_squared(x[cut:].double() @ weights + intercept, y[cut:].double()).mean())

    return fit_ridge(x, y, max(_RIDGES, key=score))


class Frames(NamedTuple):
    """All frames of some episodes, end to end."""

    z: Tensor
    """(F, N, D)."""
    states: Tensor
    """(F, P)."""


def encode_frames_of(encoder: VideoEncoder, dataset: TrajectoryDataset, dtype: torch.dtype) -> Frames:
    """Encode every frame of a data set; a probe's are few, and of an encoder that may never be used again."""
    parts: list[tuple[Tensor, Tensor]] = []
    for index in range(dataset.num_episodes):
        episode = dataset.episode(index)
        parts.append((encode_episode(encoder, episode, dtype=dtype), torch.from_numpy(episode.states)))
    z, states = (torch.cat(values) for values in zip(*parts, strict=True))
    return Frames(z=z, states=states)


def probe_position(train: Frames, test: Frames, readout: Readout) -> tuple[Tensor, float]:
    """Fit position on latents and measure it on other episodes.

    Returns:
        R² of x, y and z, (3,), in a plane of x and y, (2,), and the mean distance between read and true
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
        z: latents to fit on and to measure on, (F, N, D) each.
        objects: numbers of the objects in the same frames, (F, E) each.
        names: what the numbers are; x and y [m] are needed, yaw [rad] is used.
        readout: what of the latents is read.

    Returns:
        R² of `x` and `y`, `error`, the mean distance on the table [m], and `heading`, the mean error [rad].
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


def probe_encoder(
    encoder: VideoEncoder, train: TrajectoryDataset, test: TrajectoryDataset, *, seed: int, dtype: torch.dtype
) -> list[ProbeResult]:
    """Probe an encoder and its random twin.

    Args:
        encoder: the one to probe, in evaluation mode.
        train: episodes to fit on.
        test: episodes to measure on.
        seed: decides the weights of the twin.
        dtype: number format that both compute in.

    Returns:
        For `pretrained` and `random`, each with either readout, the place of the gripper and, where the dataset
        tells an object's x and y, what `probe_object` returns.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        untrained = VideoEncoder(encoder.config).eval()
    objects = (_objects(train), _objects(test)) if {"x", "y"} <= set(train.object_names) else None
    encoders: dict[Literal["pretrained", "random"], VideoEncoder] = {
        "pretrained": encoder,
        "random": untrained.to(encoder.patch_embed.proj.weight.device),
    }
    results = []
    for name, one in encoders.items():
        of_train, of_test = (encode_frames_of(one, part, dtype) for part in (train, test))
        for readout in get_args(Readout):
            scores, error = probe_position(of_train, of_test, readout)
            values = dict(zip("xyz", scores.tolist(), strict=False)) | {"error": error}  # in a plane x and y alone
            results.append(ProbeResult(encoder=name, readout=readout, target="gripper", values=values))
            if objects is not None:
                values = probe_object((of_train.z, of_test.z), objects, train.object_names, readout)
                results.append(ProbeResult(encoder=name, readout=readout, target="object", values=values))
    return results


def _objects(dataset: TrajectoryDataset) -> Tensor:
    """Return the objects of all frames, (F, E), in the order in which `encode_frames_of` has them."""
    return torch.cat([torch.from_numpy(dataset.objects(index)) for index in range(dataset.num_episodes)])
