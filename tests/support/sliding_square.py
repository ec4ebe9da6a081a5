"""Trajectories in which the action says where a bright square goes: all that a picture shows."""

from __future__ import annotations

import numpy as np

from vjepa_wm.data.trajectories.writer import TrajectoryWriter

OBJECT = ("x", "y", "z", "yaw")


def write_slides(
    folder, *, num_episodes=6, num_frames=12, seed=0, has_objects=False, board=None, reach=None, look=(40, 230), scale=1
):
    """Record random walks of the square, its place in metres as the state, and also as an object's if asked for.

    With a `board` of so many rows and columns the square fills a field of it and goes to any other, or stays; with a
    `reach`, to those at most so many rows and columns away. A `look` is how bright the ground and the square are;
    pixels are `scale` times as many along each side.
    """
    rng = np.random.default_rng(seed)
    sides = (8, 8) if board is None else tuple(32 // count for count in board)
    with TrajectoryWriter(folder, fps=5, image_size=32 * scale, object_names=OBJECT if has_objects else ()) as writer:
        for _ in range(num_episodes):
            actions = np.zeros((num_frames, 7), np.float32)
            actions[:-1, :2] = rng.integers(-4, 5, (num_frames - 1, 2)) / 100
            states = np.zeros((num_frames, 7), np.float32)
            states[:, :2] = 0.12 + np.concatenate(([[0, 0]], actions[:-1, :2])).cumsum(axis=0).clip(-0.12, 0.12)
            if board is not None:
                states[:, :2] = _walk(rng, num_frames, board, reach) * sides / np.float32(100)
                actions[:-1] = np.diff(states, axis=0)
            frames = np.full((num_frames, 32, 32, 3), look[0], np.uint8)
            for frame, state in zip(frames, states, strict=True):
                row, column = (state[:2] * 100).astype(int)
                frame[row : row + sides[0], column : column + sides[1]] = look[1]
            frames = frames.repeat(scale, axis=1).repeat(scale, axis=2)
            writer.add_episode(frames, states, actions, "slide", **({"objects": states[:, :4]} if has_objects else {}))
    return folder


def _walk(rng, num_frames, board, reach):
    """Return fields of a board, row and column, (T, 2)."""
    if reach is None:
        return rng.integers(0, board, (num_frames, 2))
    fields = [rng.integers(0, board)]
    for _ in range(num_frames - 1):
        fields.append((fields[-1] + rng.integers(-reach, reach + 1, 2)).clip(0, np.array(board) - 1))
    return np.array(fields)
