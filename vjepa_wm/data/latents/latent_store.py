"""Latents of a data set on disk: encoded once, gone on with after an interruption, mapped into memory afterwards.

Why this file exists: encoding takes longer than the training above it, and the latents of a large set exceed memory.
A folder of latents belongs to one encoder, one way to read, and data that begin with one episode; it is named after
these. A data set that has grown takes over what is there, and only its new episodes are computed.

    STORE/KEY      a `LatentFolder`
    STORE/KEY-2    of a data set that begins with the same episode and goes on with others

Letters: T frames of an episode, N tokens per frame, D width.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from vjepa_wm.data.latents.latent_folder import LatentAppender, LatentFolder, numbers_of, pictures_number
from vjepa_wm.data.latents.latent_set import LatentSet
from vjepa_wm.data.trajectories.dataset import Trajectory, TrajectoryDataset
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.precision import autocast
from vjepa_wm.models.predictor import MaskedPredictor
from vjepa_wm.models.world_model import WorldModel, encode_frames
from vjepa_wm.safe_files import FolderLock

logger = logging.getLogger(__name__)
_LATER_OPTIONS = (", patch_width=None", ", short_time=False", ", conditioning='tokens'")
"""Which came after latents had been stored; as they are by themselves, they are of the same model."""
SAVE_EVERY = 64
"""Episodes between notes of how far an encoding has come."""
FRAMES_AT_ONCE = 256


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
    stamp = dataset.stamp()  # before anything is read: what changes meanwhile is noticed by the next
    belongs_to = _description(encoder, dataset, antialias)
    place = (default_store(dataset) if store is None else store) / _key(belongs_to)
    for number in itertools.count(1):
        folder = LatentFolder(place if number == 1 else place.with_name(f"{place.name}-{number}"))
        if folder.read_note().num_episodes >= dataset.num_episodes:
            if folder.is_of(dataset, stamp):
                break
        else:
            with FolderLock(folder.path):
                if folder.is_of(dataset, stamp):
                    _encode(encoder, dataset, LatentAppender(folder, belongs_to), antialias=antialias, dtype=dtype)
                    folder.remember(stamp, dataset.num_episodes)
                    break
        logger.warning(
            "latents in %s begin as %s does, but are of other episodes; they are left alone, and those of this data "
            "set lie beside them",
            folder.path,
            dataset.root,
        )
    return dataclasses.replace(folder.open(dataset.num_episodes), object_names=dataset.object_names)


def fingerprint(model: VideoEncoder | WorldModel | MaskedPredictor) -> str:
    """Return a number that tells the weights and the form of a model from others, as text."""
    form = repr(model.config)
    for option in _LATER_OPTIONS:
        form = form.replace(option, "")
    digest = hashlib.blake2b(form.encode(), digest_size=8)
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _encode(
    encoder: VideoEncoder, dataset: TrajectoryDataset, latents: LatentAppender, *, antialias: bool, dtype: torch.dtype
) -> None:
    """Encode what is missing, episode by episode; a kill costs those since the last note."""
    done, num = latents.num_episodes, dataset.num_episodes
    if done:
        logger.info("latents of %s: %d of %d episodes are there", dataset.root, done, num)
    with latents:
        for index in tqdm(range(done, num), initial=done, total=num, desc="encode", unit="episode", mininterval=1.0):
            episode = dataset.episode(index)
            latents.append(encode_episode(encoder, episode, antialias=antialias, dtype=dtype).numpy(), episode)
            if (index + 1) % SAVE_EVERY == 0 or index + 1 == num:
                latents.save()
    logger.info("latents of %s: %d frames", dataset.root, sum(dataset.lengths))


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
    """Return what latents depend on, but the number format and all episodes after the first, as json has it."""
    first = dataset.episode(0)
    digest = hashlib.blake2b(pictures_number(first).to_bytes(8, "little"), digest_size=8)
    for name, values in numbers_of(first).items():
        digest.update(name.encode() + values.tobytes())
    content = {
        "encoder": fingerprint(encoder),
        "antialias": antialias,
        "read": dataclasses.asdict(dataset.options),
        "camera": dataset.camera,
        "first_episode": digest.hexdigest(),
    }
    return json.loads(json.dumps(content, default=str))


def _key(belongs_to: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(belongs_to, sort_keys=True).encode(), digest_size=8).hexdigest()
