"""Trajectories in which the action says where a bright square goes: all that a picture shows."""

from __future__ import annotations

import numpy as np

from vjepa_wm.data.trajectories.writer import TrajectoryWriter

OBJECT = ("x", "y", "z", "yaw")


def write_slides(folder, *, num_episodes=6, num_frames=12, seed=0, has_objects=False, by_patches=False):
    """Record random walks of the square, its place in metres as the state, and also as an object's if asked for.

    With `by_patches` it moves by one patch of 8 pixels or none in each direction, and the action is what walls leave.
    """
    rng = np.random.default_rng(seed)
    with TrajectoryWriter(folder, fps=5, image_size=32, object_names=OBJECT if has_objects else ()) as writer:
        for _ in range(num_episodes):
            actions = np.zeros((num_frames, 7), np.float32)
            actions[:-1, :2] = rng.integers(-4, 5, (num_frames - 1, 2)) / 100
            states = np.zeros((num_frames, 7), np.float32)
            states[:, :2] = 0.12 + np.concatenate(([[0, 0]], actions[:-1, :2])).cumsum(axis=0).clip(-0.12, 0.12)
            if by_patches:
                states[:, :2] = 0.08 * _walk_in_squares(rng, num_frames)
                actions[:-1] = np.diff(states, axis=0)
            frames = np.full((num_frames, 32, 32, 3), 40, np.uint8)
            for frame, state in zip(frames, states, strict=True):
                row, column = (state[:2] * 100).astype(int)
                frame[row : row + 8, column : column + 8] = 230
            writer.add_episode(frames, states, actions, "slide", **({"objects": states[:, :4]} if has_objects else {}))
    return folder


def _walk_in_squares(rng, num_frames):
    """Return places on a board of 4 x 4, (T, 2), each at most a king's move from the one before."""
    places = [rng.integers(0, 4, 2)]
    for _ in range(num_frames - 1):
        places.append((places[-1] + rng.integers(-1, 2, 2)).clip(0, 3))
    return np.array(places)
