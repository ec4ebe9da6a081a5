"""Small made-up trajectories, and a recorder for them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.writer import TrajectoryWriter

FRONT = "observation.images.front"
OBJECT = ("x", "y", "z", "yaw")


def make_episode(num_frames, seed=0, size=(32, 48)):
    """Make frames of brightness 4 k with one moving block of colour, random states and random actions."""
    generator = np.random.default_rng(seed)
    frames = np.empty((num_frames, *size, 3), np.uint8)
    frames[:] = (40 + 4 * np.arange(num_frames, dtype=np.uint8))[:, None, None, None]
    for k in range(num_frames):
        frames[k, 8:16, 2 * k : 2 * k + 8] = (250, 20, 20 + seed)
    states = generator.normal(size=(num_frames, 7)).astype(np.float32)
    actions = generator.normal(size=(num_frames, 7)).astype(np.float32)
    actions[-1] = 0
    return frames, states, actions


def make_writer(root, **changes):
    return TrajectoryWriter(root, **{"fps": 5, "image_size": (32, 48), **changes})


def read_all(folder):
    return pa.concat_tables([pq.ParquetFile(path).read() for path in sorted(folder.rglob("*.parquet"))])


def make_objects(num_frames, seed=0):
    return np.random.default_rng(100 + seed).normal(size=(num_frames, 4)).astype(np.float32)


def make_dataset(root):
    """Record four episodes of 6 to 9 frames and two tasks."""
    with make_writer(root) as writer:
        for seed, task in enumerate(("reach", "play", "reach", "play")):
            writer.add_episode(*make_episode(6 + seed, seed), task)
    return TrajectoryDataset(root)


def contents(root):
    """Read every file under a folder."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
