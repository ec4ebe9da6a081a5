"""A data set that lerobot writes, with everything in it that this package does not write, and lerobot's reading of it.

Run `python tests/reference/lerobot_set.py OUT` to make the archive `lerobot_set.zip` of tests/support again. It needs
lerobot, as test_lerobot.py says.

Letters: T frames of an episode.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

STATE, ACTION = "observation.state", "action"
IMAGES = "observation.images."


def make_episode(k: int, length: int, size: tuple[int, int]) -> dict:
    """Draw numbers, and pictures of a square that moves over a ramp of colours."""
    rng = np.random.default_rng(k)
    rows, columns = np.mgrid[: size[0], : size[1]]
    ramp = np.stack([rows * 200 // size[0], columns * 200 // size[1], np.full(size, 60 + 10 * k)], axis=-1)
    episode = {"task": f"task {k % 2}"}
    for place, camera in enumerate(("top", "wrist", "hand")):
        frames = np.repeat(ramp[None], length, axis=0).astype(np.uint8)
        for t in range(length):
            frames[t, 8 * place : 8 * place + 8, 2 * t : 2 * t + 8] = 250
        episode[IMAGES + camera] = frames
    episode[IMAGES + "depth"] = np.repeat(10 * ramp[None, ..., :1], length, axis=0).astype(np.uint16)
    episode[STATE], episode[ACTION] = rng.normal(size=(2, length, 3)).astype(np.float32)
    episode["tool"], episode["held"] = rng.normal(size=(length, 3, 3)), rng.random((length, 1)) > 0.5
    return episode


def write_theirs(
    root: Path,
    codec: str,
    *,
    lengths: tuple[int, ...],
    size: tuple[int, int],
    videos: tuple[str, ...] = ("top", "wrist"),
) -> list[dict]:
    """Write a data set with lerobot: cameras of videos, pictures and depth, odd names, nested and bool columns.

    Returns:
        By episode: its columns, (T, ...), and its task.
    """
    from lerobot.configs.video import RGBEncoderConfig
    from lerobot.datasets import LeRobotDataset

    shutil.rmtree(root, ignore_errors=True)
    axes, motors = ["height", "width", "channels"], {"motors": ["lift.pos", "reach.pos", "turn.pos"]}
    picture = {"dtype": "image", "shape": (*size, 3), "names": axes}
    features = {IMAGES + name: picture | {"dtype": "video"} for name in videos} | {
        IMAGES + "hand": picture,
        IMAGES + "depth": picture | {"shape": (*size, 1), "info": {"is_depth_map": True}},
        STATE: {"dtype": "float32", "shape": (3,), "names": motors},
        ACTION: {"dtype": "float32", "shape": (3,), "names": motors},
        "tool": {"dtype": "float64", "shape": (3, 3), "names": None},
        "held": {"dtype": "bool", "shape": (1,), "names": None},
    }
    settings = {"root": root, "robot_type": "made_up", "rgb_encoder": RGBEncoderConfig(vcodec=codec)}
    dataset = LeRobotDataset.create("local/theirs", 10, features, **settings)
    episodes = [make_episode(k, length, size) for k, length in enumerate(lengths)]
    for episode in episodes:
        for t in range(len(episode[STATE])):
            dataset.add_frame({name: episode[name][t] for name in features} | {"task": episode["task"]})
        dataset.save_episode()
    dataset.finalize()
    return episodes


def read_theirs(root: Path) -> list[dict[str, np.ndarray]]:
    """Read with lerobot what `write_theirs` wrote: by episode its columns, (T, ...)."""
    from lerobot.datasets import LeRobotDataset

    dataset = LeRobotDataset("local/theirs", root=root, video_backend="pyav")
    cameras = [name for name in dataset.meta.camera_keys if name != IMAGES + "depth"]
    episodes = []
    for row in dataset.meta.episodes:
        items = [dataset[i] for i in range(row["dataset_from_index"], row["dataset_to_index"])]
        episode = {name: np.stack([item[name].numpy() for item in items]) for name in (STATE, ACTION, "tool", "held")}
        episodes.append(
            episode | {name: np.stack([to_uint8(item[name][None])[0] for item in items]) for name in cameras}
        )
    return episodes


def to_uint8(pictures) -> np.ndarray:
    """Turn lerobot's floats (T, 3, H, W) in 0..1 into uint8 (T, H, W, 3)."""
    return (pictures * 255).round().byte().permute(0, 2, 3, 1).numpy()


def make_archive(out: Path) -> None:
    """Write a small data set with lerobot, and beside it what lerobot reads from it, as one archive."""
    root = out / "lerobot_set"
    write_theirs(root / "set", "libsvtav1", lengths=(5, 7, 4), size=(32, 32), videos=("top",))
    kept = {}
    for k, episode in enumerate(read_theirs(root / "set")):
        # Of the pictures the first and the last, to keep it small.
        kept |= {f"{name} {k}": v[[0, -1]] if name.startswith(IMAGES) else v for name, v in episode.items()}
    np.savez_compressed(root / "read.npz", **kept)
    print(shutil.make_archive(str(root), "zip", root))


if __name__ == "__main__":
    make_archive(Path(sys.argv[1]))
