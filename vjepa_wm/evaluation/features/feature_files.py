"""Features on disk: an array, the time stamps of its frames, and how it was made.

Letters: T frames of a clip.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors.numpy import save_file

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
    unfinished = path.with_name(path.name + ".tmp")
    if format == "safetensors":
        save_file({"features": features, "times": times}, unfinished, metadata=info)
    else:
        text = json.dumps({**info, "times": times.tolist()}, indent=2)
        stem.with_name(f"{stem.name}.json").write_text(text + "\n", encoding="utf-8")
        with unfinished.open("wb") as file:
            np.save(file, features)
    unfinished.replace(path)
    return path
