"""Small made-up trajectories, and a recorder for them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vjepa_wm.data.media.video import write_video
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


def write_foreign(root, cameras=("observation.images.top",)):
    """Write three episodes as other recorders do: all in one parquet and one mp4, variable lists, odd names."""
    lengths, ends = [4, 6, 5], np.cumsum([4, 6, 5])
    frames = np.concatenate([make_episode(length, seed)[0] for seed, length in enumerate(lengths)])
    numbers = np.arange(15)
    data = {
        "observation.state": [[float(k), -float(k)] for k in numbers],
        "action": [[k / 2] for k in numbers],
        "episode_index": np.repeat([0, 1, 2], lengths),
        "frame_index": np.concatenate([np.arange(length) for length in lengths]),
    }
    rows = {
        "episode_index": [0, 1, 2],
        "length": lengths,
        "tasks": [["a"], ["b"], ["a"]],
        "data/chunk_index": [0] * 3,
        "data/file_index": [0] * 3,
    }
    for camera in cameras:
        write_video(root / f"videos/{camera}/chunk-000/file-000.mp4", frames, 10)
        rows |= {f"videos/{camera}/chunk_index": [0] * 3, f"videos/{camera}/file_index": [0] * 3}
        rows[f"videos/{camera}/from_timestamp"] = (ends - lengths) / 10
        rows[f"videos/{camera}/to_timestamp"] = ends / 10
    sizes = {"observation.state": 2}
    features = {name: {"dtype": "float32", "shape": [sizes.get(name, 1)], "names": None} for name in data}
    features |= {camera: {"dtype": "video", "shape": [32, 48, 3], "names": None} for camera in cameras}
    info = {
        "codebase_version": "v3.0",
        "fps": 10,
        "total_episodes": 3,
        "features": features,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    for name, columns in (("data", data), ("meta/episodes", rows)):
        (root / name / "chunk-000").mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), root / name / "chunk-000/file-000.parquet")
    (root / "meta/info.json").write_text(json.dumps(info))
