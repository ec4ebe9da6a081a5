"""A trajectory as a recorder takes it: its videos encoded and measured, its numbers as they are.

Why this file exists: encoding is the greater part of the work and needs nothing but the trajectory itself, so that any
process can do it; which episode of the data set it becomes is left to the one that writes it.

Letters: T frames, H height, W width, P state, A action, E numbers that say where objects are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vjepa_wm.data.media.video import encode_video
from vjepa_wm.data.trajectories.layout import ENVIRONMENT_STATE
from vjepa_wm.data.trajectories.stats import FeatureStats, image_stats


@dataclass(frozen=True, kw_only=True)
class EncodedVideo:
    """What one camera saw."""

    content: bytes
    """An mp4 file."""
    shape: tuple[int, ...]
    """(T, H, W, 3) of the frames in it."""
    stats: FeatureStats
    """Statistics of the frames before they were encoded."""


@dataclass(frozen=True, kw_only=True)
class EncodedTrajectory:
    """What is recorded of one episode; it can be sent to another process."""

    videos: dict[str, EncodedVideo]
    """By the camera's name."""
    states: np.ndarray
    """(T, P) float32."""
    actions: np.ndarray
    """(T, A) float32."""
    objects: np.ndarray | None
    """(T, E) float32, or None."""
    task: str
    """What the episode shows, in words."""
    variation: dict[str, str]
    """By the name of a factor that can vary between episodes, the name of its value."""


def encode_trajectory(
    frames: Mapping[str, np.ndarray],
    states: np.ndarray,
    actions: np.ndarray,
    task: str,
    *,
    objects: np.ndarray | None = None,
    variation: Mapping[str, str] | None = None,
    fps: float,
) -> EncodedTrajectory:
    """Encode the videos of a trajectory.

    Args:
        frames: what each camera saw, uint8 RGB, (T, H, W, 3); H and W even.
        states: state of the robot at each frame, (T, P).
        actions: action from each frame to the next, (T, A).
        task: what the episode shows, in words.
        objects: where the objects are at each frame, (T, E).
        variation: what the episode has of each factor that can vary, by name; None: nothing can.
        fps: frames per second.

    Raises:
        ValueError: if frames or fps break their rules.
    """
    videos = {
        camera: EncodedVideo(content=encode_video(array, fps), shape=array.shape, stats=image_stats(array))
        for camera, array in frames.items()
    }
    return EncodedTrajectory(
        videos=videos,
        states=np.asarray(states, np.float32),
        actions=np.asarray(actions, np.float32),
        objects=None if objects is None else np.asarray(objects, np.float32),
        task=task,
        variation=dict(variation or {}),
    )


def check_trajectory(
    trajectory: EncodedTrajectory,
    *,
    cameras: Sequence[str],
    image_size: tuple[int, int],
    state_names: Sequence[str],
    action_names: Sequence[str],
    object_names: Sequence[str],
) -> None:
    """Raise a ValueError unless a trajectory fits a data set.

    Args:
        trajectory: what is to be recorded.
        cameras: names of the data set's cameras.
        image_size: (H, W) of all of them [pixels].
        state_names: what the P numbers of a state are.
        action_names: what the A numbers of an action are.
        object_names: what the E numbers of the objects are; empty: the data set has no such column.
    """
    if set(trajectory.videos) != set(cameras):
        raise ValueError(f"frames must be those of the cameras {list(cameras)}, got {list(trajectory.videos)}")
    if (trajectory.objects is None) != (not object_names):
        raise ValueError(
            f"objects must be given when, and only when, the data set has {ENVIRONMENT_STATE}; its columns there "
            f"are {list(object_names)}, got {'none' if trajectory.objects is None else 'some'}"
        )
    length, size = trajectory.videos[cameras[0]].shape[0], (*image_size, 3)
    for camera in cameras:
        shape = trajectory.videos[camera].shape
        if shape[1:] != size:
            raise ValueError(f"frames must be uint8 (T, {', '.join(map(str, size))}), got uint8 {shape}")
        if shape[0] != length:
            raise ValueError(f"frames of all cameras must be equally many, got {length} and {shape[0]} of {camera}")
    _check_vectors("states", trajectory.states, length, state_names)
    _check_vectors("actions", trajectory.actions, length, action_names)
    if trajectory.objects is not None:
        _check_vectors("objects", trajectory.objects, length, object_names)
    last = trajectory.actions[-1]
    if last.any():
        raise ValueError(f"the last row of actions must be zeros, as no frame follows it, got {last.tolist()}")
    if not trajectory.task:
        raise ValueError("task must say what the episode shows, got an empty string")


def _check_vectors(name: str, values: np.ndarray, length: int, names: Sequence[str]) -> None:
    if values.shape != (length, len(names)):
        raise ValueError(f"{name} must be {(length, len(names))} for these frames, got {values.shape}")
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values).all(axis=1)))
        raise ValueError(f"{name} must be finite, got {values[row].tolist()} in row {row}")
