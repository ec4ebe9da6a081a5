"""Pictures with a label for every pixel: classes, depths, or the objects of a video.

    FOLDER/images/NAME.jpg     FOLDER/labels/NAME.png     pictures; `train` and `val` of this form may be in FOLDER
    FOLDER/images/VIDEO/...    FOLDER/labels/VIDEO/...    videos as folders of frames, as DAVIS has them

Letters: H height, W width, S side of the square pictures, T frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vjepa_wm.data.labelled.class_folders import TEST_NAMES, TRAIN_NAMES
from vjepa_wm.data.labelled.labelled_set import LabelError
from vjepa_wm.data.media.media_files import natural_key
from vjepa_wm.data.media.pictures import PICTURE_SUFFIXES, check_sums, open_picture, read_picture
from vjepa_wm.models.pixels import prepare_frames

IGNORED = 255
"""Class of pixels that count neither in training nor in a measure."""
IMAGES, LABELS = "images", "labels"
_SUFFIXES = (".png", ".npy")


@dataclass(frozen=True)
class DensePair:
    """A picture and the file of its labels."""

    picture: Path
    """The picture."""
    label: Path
    """A png file of classes (or of depths, by `depth_unit`), or a npy file of the same size."""


def find_pairs(folder: Path) -> list[DensePair]:
    """List the pictures of a folder with their labels, in the natural order of their names.

    Raises:
        LabelError: if there are none, or a picture has no label.
    """
    images, labels = folder / IMAGES, folder / LABELS
    names = [path for path in images.glob("*") if path.suffix.lower() in PICTURE_SUFFIXES] if images.is_dir() else []
    pairs = []
    for picture in sorted(names, key=lambda path: natural_key(path.name)):
        found = [labels / f"{picture.stem}{suffix}" for suffix in _SUFFIXES]
        label = next((path for path in found if path.is_file()), None)
        if label is None:
            raise LabelError(f"{picture} has no labels: neither {found[0]} nor {found[1].name} is there")
        pairs.append(DensePair(picture, label))
    if not pairs:
        raise LabelError(f"{folder} must hold pictures in {IMAGES}/ and their labels in {LABELS}/, got none")
    return pairs


def find_dense_sets(folder: Path, test_share: float, seed: int) -> tuple[list[DensePair], list[DensePair]]:
    """Return the pairs to train and to measure on: those of `train` and `val` (or `test`), else a random share.

    Raises:
        LabelError: if there are none.
    """
    parts = [
        next((folder / n for n in names if (folder / n / IMAGES).is_dir()), None) for names in (TRAIN_NAMES, TEST_NAMES)
    ]
    if parts[0] is not None and parts[1] is not None:
        return find_pairs(parts[0]), find_pairs(parts[1])
    pairs = find_pairs(folder)
    if len(pairs) < 2:
        raise LabelError(f"{folder} must hold at least two pictures to be split, got {len(pairs)}")
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed)).tolist()
    cut = min(max(round(test_share * len(pairs)), 1), len(pairs) - 1)
    return [pairs[k] for k in sorted(order[cut:])], [pairs[k] for k in sorted(order[:cut])]


def find_videos(folder: Path) -> dict[str, list[DensePair]]:
    """Return the frames of each video with their labels, by its name; only the first needs one, others may lack it.

    Raises:
        LabelError: if there is no video, or the first frame of one has no label.
    """
    videos = {}
    names = sorted(path.name for path in (folder / IMAGES).glob("*") if path.is_dir()) if folder.is_dir() else []
    for name in names:
        frames = [path for path in (folder / IMAGES / name).iterdir() if path.suffix.lower() in PICTURE_SUFFIXES]
        frames.sort(key=lambda path: natural_key(path.name))
        pairs = [DensePair(frame, folder / LABELS / name / f"{frame.stem}.png") for frame in frames]
        if len(pairs) < 2 or not pairs[0].label.is_file():
            raise LabelError(
                f"{folder / IMAGES / name} must have two frames and labels of the first in {LABELS}/{name}"
            )
        videos[name] = pairs
    if not videos:
        raise LabelError(f"{folder} must hold a folder of frames for each video in {IMAGES}/, got none")
    return videos


def read_labels(path: Path, depth_unit: float | None = None) -> np.ndarray:
    """Read the labels of a picture.

    Args:
        path: png of classes, also as a palette, or npy.
        depth_unit: None for classes; else values are depths in this unit [m], and 0 is not known.

    Returns:
        Classes, int64 (H, W), or depths [m], float32 (H, W), nan where not known.

    Raises:
        LabelError: if the file holds no labels of a picture.
        FileNotFoundError: if there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"labels do not exist: {path}")
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            check_sums(path)
            with open_picture(path) as picture:
                values = np.array(picture)
    except Exception as error:  # of damaged files decoders raise whatever they stumble over
        raise LabelError(f"{path} cannot be read as labels: {str(error) or type(error).__name__}") from error
    if not isinstance(values, np.ndarray):
        raise LabelError(f"{path} must hold one array, got {type(values).__name__}")
    if values.ndim != 2 or values.dtype.kind not in "uif":
        raise LabelError(f"{path} must hold a number for each pixel, got {values.dtype} {values.shape}")
    if depth_unit is None:
        if values.dtype.kind == "f":
            raise LabelError(f"{path} must hold whole numbers as classes, got {values.dtype}")
        return values.astype(np.int64)
    depths = values.astype(np.float32) * np.float32(depth_unit)
    return np.where(np.isfinite(depths) & (depths > 0), depths, np.float32(np.nan))


def read_pair(pair: DensePair, image_size: int, depth_unit: float | None = None) -> tuple[Tensor, Tensor]:
    """Read a picture and its labels, the centre square of both.

    Args:
        pair: which.
        image_size: side of the result [px].
        depth_unit: as of `read_labels`.

    Returns:
        Pixels (3, S, S), and labels (S, S), each that of the nearest pixel.

    Raises:
        LabelError: if both differ in size, or labels are broken.
        PictureError: if the picture is broken.
    """
    picture, labels = read_picture(pair.picture), read_labels(pair.label, depth_unit)
    if picture.shape[:2] != labels.shape:
        raise LabelError(f"{pair.label} must be as large as its picture, {picture.shape[:2]}, got {labels.shape}")
    return prepare_frames(torch.from_numpy(picture)[None], image_size)[0], square_labels(labels, image_size)


def square_labels(labels: np.ndarray, image_size: int) -> Tensor:
    """Cut the centre square out of labels (H, W) and resize it, each pixel taking the label nearest to it, (S, S)."""
    side = min(labels.shape)
    top, left = (labels.shape[0] - side) // 2, (labels.shape[1] - side) // 2
    square = torch.from_numpy(labels[top : top + side, left : left + side].copy())
    resized = F.interpolate(square.double()[None, None], size=(image_size, image_size), mode="nearest-exact")[0, 0]
    return resized.to(square.dtype)
