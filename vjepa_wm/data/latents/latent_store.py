"""Latents of a data set on disk: encoded once, gone on with after an interruption, mapped into memory afterwards.

Why this file exists: encoding takes longer than the training above it, and the latents of a large set exceed memory.
A store belongs to one data set, one way to read it and one encoder; its folder is named after all three, so that
another encoder never meets latents that are not its own.

    STORE/KEY/store.json    what it belongs to, and how many episodes are encoded
    STORE/KEY/z.npy         (F, N, D) float16; states.npy, actions.npy, objects.npy likewise, float32

Letters: E episodes, F frames of all of them, N tokens per frame, D width.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vjepa_wm.data.latents.latent_set import LatentSet
from vjepa_wm.data.trajectories.dataset import Trajectory, TrajectoryDataset
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.precision import autocast
from vjepa_wm.models.world_model import WorldModel, encode_frames
from vjepa_wm.safe_files import FolderLock, write_json

logger = logging.getLogger(__name__)
STORE_FILE = "store.json"
SAVE_EVERY = 64
"""Episodes between notes of how far an encoding has come."""
FRAMES_AT_ONCE = 256


class LatentStoreError(ValueError):
    """A store of latents is damaged; the message names the file and says what to do."""


def default_store(dataset: TrajectoryDataset) -> Path:
    """Return the folder in which the latents of a data set lie if nobody says otherwise: inside its own, hidden."""
    return dataset.root / ".vjepa_wm" / "latents"


@torch.no_grad()
def encode_dataset(
    encoder: VideoEncoder,
    dataset: TrajectoryDataset,
    *,
    antialias: bool = True,
    dtype: torch.dtype = torch.float32,
    store: Path | None = None,
) -> LatentSet:
    """Return the latents of all episodes of a data set; those that the store has are not computed again.

    Args:
        encoder: what encodes, in evaluation mode.
        dataset: whose frames.
        antialias: as of `encode_frames`.
        dtype: number format the encoder computes in.
        store: folder of stores; None: inside the data set's.

    Returns:
        The set, on memory maps of the store's files.

    Raises:
        LatentStoreError: if the store is damaged.
        FolderInUseError: if another process is encoding the same.
        TrajectoryError: if an episode cannot be read.
    """
    asked = _description(encoder, dataset, antialias)
    folder = (default_store(dataset) if store is None else store) / _key(asked)
    done = _num_done(folder, asked)
    if done < dataset.num_episodes:
        with FolderLock(folder):
            _encode(encoder, dataset, folder, asked, antialias=antialias, dtype=dtype)
    arrays = {name: _open(folder / f"{name}.npy", "r") for name in ("z", "states", "actions")}
    objects = _open(folder / "objects.npy", "r") if dataset.object_names else None
    lengths = np.array(dataset.lengths)
    for name, values in arrays.items():
        if len(values) != lengths.sum():
            raise LatentStoreError(_damaged(folder / f"{name}.npy", f"{len(values)} frames of {lengths.sum()}"))
    return LatentSet(**arrays, objects=objects, firsts=np.cumsum(lengths) - lengths, lengths=lengths)


def fingerprint(model: VideoEncoder | WorldModel) -> str:
    """Return a number that tells the weights and the form of a model from others, as text."""
    digest = hashlib.blake2b(repr(model.config).encode(), digest_size=8)
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _encode(
    encoder: VideoEncoder,
    dataset: TrajectoryDataset,
    folder: Path,
    asked: dict[str, Any],
    *,
    antialias: bool,
    dtype: torch.dtype,
) -> None:
    """Encode what is missing, episode by episode; a kill costs those since the last note."""
    lengths = np.array(dataset.lengths)
    firsts, done = np.cumsum(lengths) - lengths, _num_done(folder, asked)
    shapes: dict[str, tuple[int, ...]] = {}
    maps: dict[str, np.memmap] = {}
    if done:
        logger.info("latents of %s: %d of %d episodes are there", dataset.root, done, len(lengths))
    for index in tqdm(
        range(done, len(lengths)), initial=done, total=len(lengths), desc="encode", unit="episode", mininterval=1.0
    ):
        episode = dataset.episode(index)
        z = encode_episode(encoder, episode, antialias=antialias, dtype=dtype)
        values = {"z": z.numpy(), "states": episode.states, "actions": episode.actions}
        if episode.objects is not None:
            values["objects"] = episode.objects
        if not maps:
            shapes = {name: (int(lengths.sum()), *value.shape[1:]) for name, value in values.items()}
            maps = {name: _make(folder / f"{name}.npy", values[name].dtype, shapes[name], done) for name in values}
        for name, value in values.items():
            maps[name][firsts[index] : firsts[index] + lengths[index]] = value
        if (index + 1) % SAVE_EVERY == 0 or index + 1 == len(lengths):
            for name in maps:
                maps[name].flush()
            write_json(folder / STORE_FILE, asked | {"episodes_done": index + 1})
    logger.info("latents of %s: %d frames", dataset.root, lengths.sum())


@torch.no_grad()
def encode_episode(
    encoder: VideoEncoder, episode: Trajectory, *, antialias: bool = True, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Encode the frames of one episode to latents (T, N, D) float16 on the CPU."""
    device = encoder.patch_embed.proj.weight.device
    parts = []
    for frames in torch.from_numpy(episode.frames).split(FRAMES_AT_ONCE):
        with autocast(device, dtype):
            z = encode_frames(encoder, frames.to(device).unsqueeze(0), antialias=antialias)[0]
        parts.append(z.to("cpu", torch.float16))
    z = torch.cat(parts)
    if not torch.isfinite(z).all():
        raise FloatingPointError("the encoder's features are not finite: its weights are broken, or try precision fp32")
    return z


def _description(encoder: VideoEncoder, dataset: TrajectoryDataset, antialias: bool) -> dict[str, Any]:
    """Return all that latents depend on, but the number format, as json has it."""
    options = dataclasses.asdict(dataset.options)
    content = {
        "encoder": fingerprint(encoder),
        "antialias": antialias,
        "read": options,
        "camera": dataset.camera,
        "lengths": hashlib.blake2b(np.array(dataset.lengths).tobytes(), digest_size=8).hexdigest(),
        "episodes": dataset.num_episodes,
        "recorded": dataset.fingerprint(),
    }
    return json.loads(json.dumps(content, default=str))


def _key(asked: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=8).hexdigest()


def _num_done(folder: Path, asked: dict[str, Any]) -> int:
    path = folder / STORE_FILE
    if not path.is_file():
        return 0
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return int(found["episodes_done"]) if asked.items() <= found.items() else 0
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise LatentStoreError(_damaged(path, str(error))) from error


def _make(path: Path, dtype: np.dtype, shape: tuple[int, ...], done: int) -> np.memmap:
    """Open the file of an array to go on with, or make it."""
    if not done:
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    values = _open(path, "r+")
    if values.shape != shape or values.dtype != dtype:
        raise LatentStoreError(_damaged(path, f"{values.dtype} {values.shape} in place of {dtype} {shape}"))
    return values


def _open(path: Path, mode: str) -> np.memmap:
    try:
        return np.lib.format.open_memmap(path, mode=mode)
    except (ValueError, OSError) as error:
        raise LatentStoreError(_damaged(path, str(error))) from error


def _damaged(path: Path, what: str) -> str:
    return f"{path} is damaged: {what}; delete the folder {path.parent}, and the latents are computed again"
