"""Statistics of a trajectory data set, in LeRobot's form.

Why this file exists: LeRobot v3 wants min, max, mean, std, count and five quantiles of every feature, per episode and
over the whole set. They are added up episode by episode, so a growing data set is never read again.

Letters: T frames, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vjepa_wm.data.trajectories.metadata_checks import TrajectoryError, check_stats, read_json_object

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
STATS = ("min", "max", "mean", "std", "count", *QUANTILES)
FeatureStats = dict[str, np.ndarray]


def vector_stats(values: np.ndarray) -> FeatureStats:
    """Take the statistics of a feature over one episode.

    Args:
        values: one row per frame, (T, D) or (T,).

    Returns:
        Each of `STATS` as (D,), float64 or, as the values are, integer; D is 1 for (T,). `count` is int64 (1,).
    """
    values = values.reshape(len(values), -1)
    stats = {
        "min": values.min(0),
        "max": values.max(0),
        "mean": values.mean(0, dtype=np.float64),
        "std": values.std(0, dtype=np.float64),
        "count": np.array([len(values)], np.int64),
    }
    quantiles = np.quantile(values.astype(np.float64), list(QUANTILES.values()), axis=0)
    return stats | dict(zip(QUANTILES, quantiles, strict=True))


def image_stats(frames: np.ndarray) -> FeatureStats:
    """Take the statistics of a camera over one episode, per colour, with pixel values scaled to 0..1.

    Args:
        frames: uint8 RGB, (T, H, W, 3).

    Returns:
        Each of `STATS` as float64 (3, 1, 1); `count`, the number of frames, is int64 (1,).
    """
    levels = np.arange(256) / 255
    # With 256 possible values the histogram holds everything there is to know, at a fraction of the cost of sorting.
    shares = (
        np.stack([np.bincount(frames[..., colour].ravel(), minlength=256) for colour in range(3)]) / frames[..., 0].size
    )
    mean = shares @ levels
    below = np.cumsum(shares, axis=1)
    stats = {
        "min": levels[np.argmax(shares > 0, axis=1)],
        "max": levels[255 - np.argmax(shares[:, ::-1] > 0, axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(shares @ levels**2 - mean**2, 0)),
    }
    stats |= {name: levels[np.argmax(below >= share - 1e-12, axis=1)] for name, share in QUANTILES.items()}
    shaped = {name: value.reshape(3, 1, 1) for name, value in stats.items()}
    return shaped | {"count": np.array([len(frames)], np.int64)}


def merge_stats(first: FeatureStats, second: FeatureStats) -> FeatureStats:
    """Combine the statistics of a feature over two parts of a data set.

    All are exact but the quantiles, which are averaged by count, as LeRobot does.

    Args:
        first: statistics as from `vector_stats` or `image_stats`.
        second: the same of the other part.

    Returns:
        Statistics of both parts together.
    """
    counts = np.array([first["count"][0], second["count"][0]], np.float64)
    weights = counts / counts.sum()

    def average(name: str) -> np.ndarray:
        """Return the mean of both by count."""
        return weights[0] * first[name] + weights[1] * second[name]

    mean = average("mean")
    variance = sum(
        weight * (part["std"] ** 2 + (part["mean"] - mean) ** 2)
        for weight, part in zip(weights, (first, second), strict=True)
    )
    merged = {
        "min": np.minimum(first["min"], second["min"]),
        "max": np.maximum(first["max"], second["max"]),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": first["count"] + second["count"],
    }
    return merged | {name: average(name) for name in QUANTILES}


def merge_all(first: Mapping[str, FeatureStats], second: Mapping[str, FeatureStats]) -> dict[str, FeatureStats]:
    """Combine the statistics of all features; an empty mapping is a part without frames.

    Args:
        first: statistics by feature name.
        second: the same of the other part, with the same names.

    Returns:
        Statistics by feature name of both parts together.
    """
    if not first or not second:
        return dict(first or second)
    return {name: merge_stats(first[name], second[name]) for name in first}


def read_stats(path: Path) -> dict[str, FeatureStats]:
    """Read statistics by feature name from a file that `to_lists` went into, or another recorder's.

    Raises:
        TrajectoryError: if it is damaged.
    """
    content = read_json_object(path)
    check_stats(content, path)
    return to_arrays(content)


def check_recorded_stats(stats: Mapping[str, FeatureStats], info: Mapping, path: Path) -> None:
    """Raise a TrajectoryError unless statistics of `path` are of the form in which they are recorded here.

    Args:
        stats: by feature name.
        info: content of meta/info.json.
        path: where they lie, for the message.
    """
    for name, feature in info["features"].items():
        shape = (3, 1, 1) if feature["dtype"] == "video" else (math.prod(feature["shape"]),)
        found = stats.get(name, {})
        for stat in STATS:
            wanted = (1,) if stat == "count" else shape
            if stat not in found or found[stat].shape != wanted:
                raise TrajectoryError(f"{stat} of {name!r} must be numbers of shape {wanted} in {path}")


def to_lists(stats: Mapping[str, FeatureStats]) -> dict[str, dict[str, list]]:
    """Turn statistics by feature name into what json can hold."""
    return {name: {stat: value.tolist() for stat, value in feature.items()} for name, feature in stats.items()}


def to_arrays(stats: Mapping[str, Mapping[str, list]]) -> dict[str, FeatureStats]:
    """Turn what `to_lists` returned back into statistics by feature name."""
    return {name: {stat: np.array(value) for stat, value in feature.items()} for name, feature in stats.items()}
