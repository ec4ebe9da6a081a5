"""Features on disk: an array, the time stamps of its frames, and how it was made.

Letters: T frames of a clip.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from vjepa_wm.models.checkpoint import write_tensors
from vjepa_wm.safe_files import write_json, write_whole

FileFormat = Literal["safetensors", "npy"]


def save_features(
    stem: Path, features: np.ndarray, times: np.ndarray, info: dict[str, str], format: FileFormat
) -> Path:
    """Write the features of one input; the file appears under its name only when it is complete.

    Args:
        stem: path without suffix.
        features: float32, (clips, ...).
        times: time stamps of each clip's frames [s], (clips, T).
        info: how they were made.
        format: safetensors holds all in one file, `info` as its metadata; npy holds the features, and a json file
            beside it all else.

    Returns:
        The file with the features.
    """
    path = stem.with_name(f"{stem.name}.{format}")
    if format == "safetensors":
        arrays = {"features": features, "times": times}
        write_tensors(
            path, {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}, info
        )
    else:
        write_json(stem.with_name(f"{stem.name}.json"), {**info, "times": times.tolist()})
        write_whole(path, lambda unfinished: _save_array(unfinished, features))
    return path


def _save_array(path: Path, values: np.ndarray) -> None:
    with path.open("wb") as file:  # a name would get .npy at its end
        np.save(file, values)
