"""Dense probes: one linear layer on each patch tells the class of its pixels, or their depth.

Letters: M pictures, S side of a picture, h and w rows and columns of patches, D width, K classes (1 for depth).

Source: V-JEPA 2.1 (arXiv 2603.14482), section 3: a linear probe on the last layer, frozen features.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vjepa_wm.checks import check_at_least, check_positive, check_within
from vjepa_wm.data.clips.bad_files import UNUSABLE
from vjepa_wm.data.labelled.dense_labels import (
    IGNORED,
    DensePair,
    find_dense_sets,
    find_videos,
    read_labels,
    read_pair,
    square_labels,
)
from vjepa_wm.data.media.pictures import read_picture
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.load import load_encoder
from vjepa_wm.models.pixels import fit_channels, prepare_frames
from vjepa_wm.models.precision import Precision, autocast, pick_device, pick_dtype
from vjepa_wm.safe_files import FolderLock, write_json
from vjepa_wm.training.classification.head_grid import cosine_factor
from vjepa_wm.training.dense.object_measures import boundary_measure, region_similarity
from vjepa_wm.training.dense.propagation import PropagationOptions, propagate

logger = logging.getLogger(__name__)
PICTURES_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class DenseConfig:
    """Tell what single patches of an encoder know: classes or depth of pixels, or objects of a video."""

    data: Path
    """Folder of `images` and `labels`, see docs/classification.md; `train` and `val` of this form may be in it."""
    encoder: str
    """Encoder: as of classify."""
    out: Path
    """Folder for `results.json`."""
    task: Literal["segmentation", "depth", "tracking"] = "segmentation"
    """Classes of pixels (png or npy of numbers, 255 does not count), depths, or objects of videos without training."""
    image_size: int | None = None
    """Side of the square pictures [px]; none: what the encoder was trained on."""
    depth_unit: float = 1.0
    """What a stored depth of 1 is [m]: 1 of npy files in metres, 0.001 of png files in millimetres."""
    test_share: float = 0.2
    """Share of the pictures that is measured on where the data state none."""
    learning_rates: tuple[float, ...] = (1e-2, 1e-3)
    """One probe each; the best on the test pictures is told, as papers do."""
    weight_decay: float = 1e-3
    """Decay of the probe's matrix."""
    steps: int = 400
    """Optimizer steps."""
    batch_size: int = 8
    """Pictures per step."""
    tracking: PropagationOptions = field(default_factory=PropagationOptions)
    """How the objects of a video are followed."""
    precision: Precision = "auto"
    """auto takes bf16 where the processor has it."""
    device: str = "auto"
    """auto takes a GPU if there is one."""
    seed: int = 0
    """Decides split, weights and order."""

    def __post_init__(self) -> None:
        check_at_least(1, image_size=self.image_size, steps=self.steps, batch_size=self.batch_size)
        check_at_least(0, seed=self.seed, weight_decay=self.weight_decay)
        check_positive(depth_unit=self.depth_unit)
        check_within(0, 1, test_share=self.test_share)
        for rate in self.learning_rates or (0.0,):
            check_positive(learning_rates=rate)
        pick_device(self.device)


@dataclass(frozen=True, kw_only=True)
class DenseFeatures:
    """Patches of pictures with the labels of their pixels."""

    patches: Tensor
    """(M, h, w, D)."""
    labels: Tensor
    """Classes, int64 (M, S, S), or depths [m], float32, nan where not known."""


Encode = Callable[[Tensor], Tensor]
"""From pixels (B, 3, S, S) to patches (B, h, w, D), float32 on the CPU."""


def patch_encoder(encoder: VideoEncoder, dtype: torch.dtype) -> Encode:
    """Return an encoder as a function of pictures; class tokens are left out."""
    device, special = encoder.patch_embed.proj.weight.device, int(encoder.config.class_token)

    def encode(pixels: Tensor) -> Tensor:
        """Encode pictures."""
        with torch.no_grad(), autocast(device, dtype):
            tokens = encoder(fit_channels(pixels.to(device), encoder.config.in_channels))[:, special:].float().cpu()
        return rearrange(tokens, "b (h w) d -> b h w d", h=pixels.shape[-2] // encoder.config.patch_size)

    return encode


def measure_dense(config: DenseConfig) -> str:
    """Probe the patches of an encoder, write `results.json` and return what was measured in words.

    Raises:
        LabelError: if the labels are missing or broken.
        CheckpointError: if there is no such encoder.
        ValueError: if the pictures do not suit the encoder.
    """
    if not config.data.is_dir():
        raise FileNotFoundError(f"labelled data do not exist: {config.data}")
    device = pick_device(config.device)
    encoder = load_encoder(config.encoder).requires_grad_(False).to(device)
    size = config.image_size or encoder.config.image_size
    encoder.config.check_clip(1, size)
    encode = patch_encoder(encoder, pick_dtype(config.precision, device))
    with FolderLock(config.out):
        results = _track(config, encode, size) if config.task == "tracking" else _probe(config, encode, size)
        write_json(config.out / "results.json", {"task": config.task, "image_size": size, **results})
    return "\n".join(f"{name}: {value:.4f}" for name, value in results.items() if isinstance(value, float))


def _probe(config: DenseConfig, encode: Encode, size: int) -> dict[str, Any]:
    """Train linear probes and measure the best."""
    pairs = find_dense_sets(config.data, config.test_share, config.seed)
    unit = config.depth_unit if config.task == "depth" else None
    bad: dict[str, str] = {}
    train, test = (encode_pairs(part, encode, size, unit, bad) for part in pairs)
    num_outputs = 1 if unit is not None else 1 + int(train.labels[train.labels != IGNORED].max())
    tried = {}
    for rate in config.learning_rates:
        head = train_dense(train, num_outputs, config, rate)
        tried[rate] = measure_depth(head, test) if unit is not None else measure_segmentation(head, test, num_outputs)
    key, best = ("rmse_m", min) if unit is not None else ("miou", max)
    chosen = best(tried, key=lambda rate: tried[rate][key])
    return {
        **tried[chosen],
        "learning_rate": chosen,
        "tried": {f"{rate:g}": values[key] for rate, values in tried.items()},
        "num_train": len(train.labels),
        "num_test": len(test.labels),
        "bad": bad,
    }


def encode_pairs(
    pairs: Sequence[DensePair], encode: Encode, size: int, unit: float | None, bad: dict[str, str]
) -> DenseFeatures:
    """Encode pictures; those that cannot be read are noted in `bad` and left out.

    Raises:
        ValueError: if none can be read.
    """
    read: list[tuple[Tensor, Tensor]] = []
    patches = []
    for pair in pairs:
        try:
            read.append(read_pair(pair, size, unit))
        except UNUSABLE as error:
            bad[str(pair.picture)] = str(error)
            logger.warning("bad file: %s", error)
    for first in range(0, len(read), PICTURES_AT_ONCE):
        patches.append(encode(torch.stack([pixels for pixels, _ in read[first : first + PICTURES_AT_ONCE]])))
    if not read:
        raise ValueError(f"none of the {len(pairs)} pictures could be read: {next(iter(bad.values()))}")
    return DenseFeatures(patches=torch.cat(patches), labels=torch.stack([labels for _, labels in read]))


def dense_scores(head: nn.Linear, patches: Tensor, size: int) -> Tensor:
    """Return the outputs of a probe for every pixel, (B, K, S, S)."""
    scores = rearrange(head(patches), "b h w k -> b k h w")
    return F.interpolate(scores, size=(size, size), mode="bilinear", align_corners=False)


def train_dense(data: DenseFeatures, num_outputs: int, config: DenseConfig, rate: float) -> nn.Linear:
    """Train a linear probe on patches, brought to mean 0 and deviation 1 first, which is then folded into it."""
    flat = data.patches.flatten(0, 2)
    mean, scale = flat.mean(dim=0), flat.std(dim=0).clamp_min(1e-4)
    generator = torch.Generator().manual_seed(config.seed)
    head = nn.Linear(flat.shape[1], num_outputs)
    with torch.no_grad():
        head.weight.copy_(0.01 * torch.randn(head.weight.shape, generator=generator))
        head.bias.zero_()
        if data.labels.dtype.is_floating_point:
            head.bias.fill_(float(data.labels.nanmean()))
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=config.weight_decay)
    for step in range(config.steps):
        which = torch.randint(len(data.labels), (config.batch_size,), generator=generator)
        scores = dense_scores(head, (data.patches[which] - mean) / scale, data.labels.shape[-1])
        loss = dense_loss(scores, data.labels[which])
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = rate * cosine_factor(step, config.steps)
        optimizer.step()
    with torch.no_grad():
        head.bias.sub_(head.weight @ (mean / scale))
        head.weight.div_(scale)
    return head.requires_grad_(False)


def dense_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return cross-entropy of classes, or the squared error of depths, over the pixels that count."""
    if not labels.dtype.is_floating_point:
        return F.cross_entropy(scores, labels, ignore_index=IGNORED)
    known = ~labels.isnan()
    return (scores[:, 0][known] - labels[known]).square().mean()


def measure_segmentation(head: nn.Linear, data: DenseFeatures, num_classes: int) -> dict[str, float]:
    """Return the mean over classes of intersection over union, and the share of pixels told rightly."""
    counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for patches, labels in zip(data.patches.split(PICTURES_AT_ONCE), data.labels.split(PICTURES_AT_ONCE), strict=True):
        told = dense_scores(head, patches, labels.shape[-1]).argmax(dim=1)
        counted = (labels != IGNORED) & (labels < num_classes)
        pairs = labels[counted] * num_classes + told[counted]
        counts += pairs.bincount(minlength=num_classes**2).view(num_classes, num_classes)
    shared, union = counts.diagonal(), counts.sum(dim=0) + counts.sum(dim=1) - counts.diagonal()
    occurring = union > 0
    iou = shared[occurring] / union[occurring]
    return {"miou": float(iou.mean()), "pixel_accuracy": float(shared.sum() / counts.sum().clamp_min(1))}


def measure_depth(head: nn.Linear, data: DenseFeatures) -> dict[str, float]:
    """Return the root of the mean squared error [m], and the mean error relative to the depth, over known pixels."""
    errors, relative = [], []
    for patches, labels in zip(data.patches.split(PICTURES_AT_ONCE), data.labels.split(PICTURES_AT_ONCE), strict=True):
        known = ~labels.isnan()
        error = dense_scores(head, patches, labels.shape[-1])[:, 0][known] - labels[known]
        errors.append(error)
        relative.append(error.abs() / labels[known])
    return {"rmse_m": float(torch.cat(errors).square().mean().sqrt()), "abs_rel": float(torch.cat(relative).mean())}


def _track(config: DenseConfig, encode: Encode, size: int) -> dict[str, Any]:
    """Follow the objects of every video from its first frame on, and measure each as DAVIS does."""
    by_video = {}
    for name, pairs in find_videos(config.data).items():
        told, truth, num_objects = _follow(name, pairs, config, encode, size)
        by_video[name] = {
            "j": region_similarity(told, truth, num_objects).tolist(),
            "f": boundary_measure(told, truth, num_objects).tolist(),
        }
    means = {}
    for measure in ("j", "f"):
        values = [value for video in by_video.values() for value in video[measure]]
        means[f"{measure}_mean"] = sum(values) / len(values)
    return {**means, "j_and_f": sum(means.values()) / 2, "videos": by_video}


def _follow(
    name: str, pairs: Sequence[DensePair], config: DenseConfig, encode: Encode, size: int
) -> tuple[Tensor, Tensor, int]:
    """Return objects of pixels as told and as labelled in the labelled frames after the first, and how many objects."""
    frames = [prepare_frames(torch.from_numpy(read_picture(pair.picture))[None], size) for pair in pairs]
    patches = torch.cat([encode(frame) for frame in frames])
    labelled = [k for k, pair in enumerate(pairs) if pair.label.is_file()]
    truth = torch.stack([square_labels(read_labels(pairs[k].label), size) for k in labelled])
    truth[truth == IGNORED] = 0
    num_objects = int(truth[0].max())
    if num_objects < 1 or len(labelled) < 2:
        raise ValueError(f"video {name} must have an object in its first frame and labels of a later one")
    shares = rearrange(F.one_hot(truth[0], num_objects + 1).float(), "h w o -> 1 o h w")
    first = rearrange(F.adaptive_avg_pool2d(shares, (patches.shape[1], patches.shape[2]))[0], "o h w -> h w o")
    told = rearrange(propagate(patches, first, config.tracking)[labelled[1:]], "t h w o -> t o h w")
    told = F.interpolate(told, size=(size, size), mode="bilinear", align_corners=False).argmax(dim=1)
    return told, truth[1:].clamp_max(num_objects), num_objects
