"""Features of videos and pictures: one file per input, and a picture of what the encoder sees.

Why this file exists: features are what most people want of a video encoder. Nothing is resampled or averaged that was
not asked for, and every file says how it was made.

Letters: B clips, T frames, S side of the square frames, L layers, N tokens, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from tqdm import tqdm

from vjepa_wm.checks import check_at_least, check_memory, check_positive
from vjepa_wm.data.clips.bad_files import UNUSABLE
from vjepa_wm.evaluation.features.feature_files import FileFormat, save_features
from vjepa_wm.evaluation.features.input_clips import name_inputs, read_clips
from vjepa_wm.evaluation.features.pca import PAIRS_IN_LINE, FeaturePanel, draw_pca
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.pixels import IMAGE_MEAN, IMAGE_STD, fit_clip_channels, prepare_clip
from vjepa_wm.models.precision import Precision, autocast, pick_device, pick_dtype
from vjepa_wm.safe_files import FolderLock, write_whole

SHOWN_INPUTS = 8
PICTURE_FILE = "pca.png"
Encode = Callable[[Tensor], Tensor]
"""From clips (B, 3, T, S, S) to features (B, L, N, D)."""


@dataclass(frozen=True, kw_only=True)
class ExtractionConfig:
    """How clips are cut and encoded, and what is written."""

    model: str
    """Encoder: a folder or file of weights, or the name of a published model."""
    out: Path
    """Folder for the features and `pca.png`."""
    format: FileFormat = "safetensors"
    """npy writes NAME.npy with the features and NAME.json with all else."""
    pool: Literal["none", "mean"] = "none"
    """none keeps a vector per patch and time step, mean averages them to one vector per clip."""
    layers: tuple[int, ...] = ()
    """Blocks whose outputs to write, from 0, negative from the end; none: the encoder's own output."""
    num_frames: int = 16
    """Frames of a clip."""
    fps: float = 4.0
    """Frames per second of a clip, whatever the video has."""
    image_size: int | None = None
    """Side of the square frames [px], a multiple of the patch size; none: what the encoder was trained on."""
    clips: Literal["first", "all"] = "first"
    """first takes one clip from the start of a video, all takes clips to its end."""
    batch_size: int = 4
    """Clips encoded at once."""
    precision: Precision = "auto"
    """auto takes bf16 where the processor has it."""
    device: str = "auto"
    """auto takes a GPU if there is one."""
    picture: bool = True
    """Whether to draw `pca.png`."""

    def __post_init__(self) -> None:
        check_at_least(1, num_frames=self.num_frames, batch_size=self.batch_size)
        check_positive(fps=self.fps)
        pick_device(self.device)
        known = {"format": get_args(FileFormat), "pool": ("none", "mean"), "clips": ("first", "all")}
        for name, choices in known.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be {' or '.join(choices)}, got {getattr(self, name)!r}")


@dataclass(frozen=True, kw_only=True)
class ExtractionReport:
    """What was written."""

    files: dict[Path, tuple[int, ...]] = field(default_factory=dict)
    """Feature files, in the order of the inputs, with the shape of their features."""
    broken: dict[Path, str] = field(default_factory=dict)
    """Inputs that could not be read, with the reason."""
    picture: Path | None = None
    """The drawing, if there is one."""

    def reasons(self) -> str:
        """Return why inputs could not be read, a line each."""
        return "\n".join(f"  {reason}" for reason in self.broken.values())


@dataclass(frozen=True, kw_only=True)
class _Clip:
    """A clip on its way into the encoder."""

    path: Path
    """Input that it was cut from."""
    pixels: Tensor
    """(3, T, S, S)."""
    times: np.ndarray
    """Time stamps of the frames [s], (T,)."""
    is_first: bool
    """Whether it is the first of its input."""


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    """What is kept of a clip."""

    path: Path
    """Input that it was cut from."""
    features: np.ndarray
    """([L,] [N,] D)."""
    times: np.ndarray
    """Time stamps of the frames [s], (T,)."""
    grid: tuple[int, int, int]
    """Tokens in time, rows and columns."""
    panel: FeaturePanel | None
    """What the picture shows of it, if it is the first of its input."""


def extract_features(encoder: VideoEncoder, paths: Sequence[Path], config: ExtractionConfig) -> ExtractionReport:
    """Encode every input and write its features.

    Args:
        encoder: a video encoder; moved to the device and set to evaluation.
        paths: videos and pictures, as from `vjepa_wm.evaluation.features.input_clips.find_inputs`.
        config: how to encode them, and where to.

    Returns:
        The files written and the inputs left out.

    Raises:
        ValueError: if the clips do not suit the encoder, or no input could be read.
        FloatingPointError: if features are infinite or not a number.
        FolderInUseError: if another process is writing into `config.out`.
    """
    image_size = check_clip_size(encoder, config)
    with FolderLock(config.out) as lock:
        report = _extract(encoder, paths, config, image_size, lock)
        lock.check()
        return report


def _extract(
    encoder: VideoEncoder, paths: Sequence[Path], config: ExtractionConfig, image_size: int, lock: FolderLock
) -> ExtractionReport:
    names = dict(zip(paths, name_inputs(paths), strict=True))
    report = ExtractionReport()
    panels: list[FeaturePanel] = []
    clips = _prepare_inputs(tqdm(paths, desc="features", unit="input"), config, image_size, report.broken)
    encoded = _encode_clips(clips, make_encode(encoder, config), encoder, config)
    for path, group in groupby(encoded, key=lambda clip: clip.path):
        parts = list(group)
        if path in report.broken:  # further on than its first clip
            continue
        features = np.stack([part.features for part in parts])
        if not np.isfinite(features).all():
            raise FloatingPointError(f"the encoder's features of {path} are not finite; try precision fp32")
        times = np.stack([part.times for part in parts])
        lock.check()
        info = _describe(path, parts[0], encoder, config, image_size)
        report.files[save_features(config.out / names[path], features, times, info, config.format)] = features.shape
        if parts[0].panel is not None and len(panels) < SHOWN_INPUTS:
            panels.append(parts[0].panel)
    if not report.files:
        raise ValueError(f"none of the {len(paths)} inputs could be read:\n{report.reasons()}")
    if not config.picture:
        return report
    picture = draw_pca(panels)
    write_whole(config.out / PICTURE_FILE, lambda unfinished: picture.save(unfinished, "PNG"))
    return ExtractionReport(files=report.files, broken=report.broken, picture=config.out / PICTURE_FILE)


def check_clip_size(encoder: VideoEncoder, config: ExtractionConfig) -> int:
    """Return the side of the frames [px].

    Raises:
        ValueError: if clips of the asked size do not divide into the encoder's tubelets or exceed the memory, or it has
            no such layer.
    """
    architecture = encoder.config
    image_size = architecture.image_size if config.image_size is None else config.image_size
    architecture.check_clip(config.num_frames, image_size)
    # Pixels as they are read and as they are used, and what the widest layer makes of a block's tokens.
    tokens = config.num_frames / architecture.tubelet_size * image_size**2 / math.prod(architecture.patch_shape)
    numbers = 6 * config.num_frames * image_size**2 + 6 * architecture.embed_dim * tokens
    check_memory(
        4 * config.batch_size * numbers,
        f"num_frames {config.num_frames} of image_size {image_size} with batch_size {config.batch_size}",
    )
    for layer in config.layers:
        if not -architecture.depth <= layer < architecture.depth:
            raise ValueError(f"layers must be from {-architecture.depth} to {architecture.depth - 1}, got {layer}")
    return image_size


def make_encode(encoder: VideoEncoder, config: ExtractionConfig) -> Encode:
    """Return the encoder as a function of clips on the CPU, with the device and number format of `config`."""
    device = pick_device(config.device)
    dtype = pick_dtype(config.precision, device)
    encoder.to(device).eval()

    def encode(clips: Tensor) -> Tensor:
        """Return the outputs of the wanted layers, (B, L, N, D) float32."""
        clips = fit_clip_channels(clips.to(device), encoder.config.in_channels)
        with torch.inference_mode(), autocast(device, dtype):
            layers = encoder.intermediate_layers(clips, layers=config.layers) if config.layers else [encoder(clips)]
        return torch.stack([features.float() for features in layers], dim=1)

    return encode


def _prepare_inputs(
    paths: Iterable[Path], config: ExtractionConfig, image_size: int, broken: dict[Path, str]
) -> Iterator[_Clip]:
    """Yield the clips of all inputs; one that cannot be read goes into `broken`, maybe after its first clips."""
    for path in paths:
        clips = read_clips(path, num_frames=config.num_frames, fps=config.fps, whole=config.clips == "all")
        try:
            for number, (frames, times) in enumerate(clips):
                pixels = prepare_clip(torch.from_numpy(frames), image_size)
                yield _Clip(path=path, pixels=pixels, times=times, is_first=number == 0)
        except UNUSABLE as error:
            broken[path] = str(error)


def _batches(clips: Iterable[_Clip], batch_size: int) -> Iterator[list[_Clip]]:
    """Group clips in their order; those of a batch have equally many frames."""
    batch: list[_Clip] = []
    for clip in clips:
        if batch and (len(batch) == batch_size or batch[0].pixels.shape != clip.pixels.shape):
            yield batch
            batch = []
        batch.append(clip)
    if batch:
        yield batch


def _encode_clips(
    clips: Iterable[_Clip], encode: Encode, encoder: VideoEncoder, config: ExtractionConfig
) -> Iterator[_Encoded]:
    """Encode clips in batches and yield what is kept of each."""
    num_special = int(encoder.config.class_token)
    for batch in _batches(clips, config.batch_size):
        tokens = encode(torch.stack([clip.pixels for clip in batch]))
        patches = tokens[:, :, num_special:]
        _, rows, columns = encoder.config.grid_of(1, batch[0].pixels.shape[-1])
        grid = (patches.shape[2] // (rows * columns), rows, columns)
        kept = (patches.mean(dim=2) if config.pool == "mean" else tokens).cpu().numpy()
        for number, clip in enumerate(batch):
            panel = _preview(clip, patches[number, -1].cpu(), grid) if clip.is_first else None
            features = kept[number] if config.layers else kept[number, 0]
            yield _Encoded(path=clip.path, features=features, times=clip.times, grid=grid, panel=panel)


def _preview(clip: _Clip, patches: Tensor, grid: tuple[int, int, int]) -> FeaturePanel:
    """Choose some time steps of a clip, evenly, with the features (N, D) of their patches."""
    steps = np.unique(np.linspace(0, grid[0] - 1, PAIRS_IN_LINE).round().astype(int))
    shown = clip.pixels[:, steps * (clip.pixels.shape[1] // grid[0])]
    mean, std = (shown.new_tensor(values).view(3, 1, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    levels = ((shown * std + mean) * 255).round().to(torch.uint8)
    features = rearrange(patches, "(t h w) d -> t h w d", t=grid[0], h=grid[1])[steps]
    when = "" if len(clip.times) == 1 else f", {clip.times[0]:.2f} to {clip.times[-1]:.2f} s"
    return FeaturePanel(
        title=f"{clip.path.name}{when}", frames=rearrange(levels, "c t h w -> t h w c").numpy(), features=features
    )


def _describe(
    path: Path, first: _Encoded, encoder: VideoEncoder, config: ExtractionConfig, image_size: int
) -> dict[str, str]:
    """Say in words how an input's features were made."""
    axes = ["clips", *(["layers"] if config.layers else []), *(["tokens"] if config.pool == "none" else []), "width"]
    class_token = encoder.config.class_token and config.pool == "none"
    return {
        "source": str(path.absolute()),
        "model": config.model,
        "axes": ",".join(axes),
        "grid": ",".join(map(str, first.grid)),
        "grid_axes": "time,rows,columns" + (" (after one class token)" if class_token else ""),
        "pool": config.pool,
        "layers": ",".join(map(str, config.layers)),
        "image_size": str(image_size),
        "fps": str(config.fps),
    }
