"""Compare data sets with the lerobot package: ours read by it, its own read by this package.

All commands but the first need lerobot (0.6.1 needs Python 3.12 or newer; what its encoders say goes to stderr):

    python3.12 -m venv lerobot_env
    lerobot_env/bin/pip install -e . 'lerobot[dataset]==0.6.1'
    python scripts/compare_lerobot.py record OUT                       # 100 episodes of push, and every frame as it was
    lerobot_env/bin/python scripts/compare_lerobot.py ours OUT         # read them with lerobot
    lerobot_env/bin/python scripts/compare_lerobot.py theirs OUT       # write with lerobot, read here
    lerobot_env/bin/python scripts/compare_lerobot.py fixture OUT      # make lerobot_set.zip of the tests

Each prints what it compared, and ends with an error at the first number that differs. Of pictures it prints how far
they are apart: from the raw ones by what the codec loses, from lerobot's decoding of the same file not at all.

Letters: T frames of an episode.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np

STATE, ACTION, OBJECTS = "observation.state", "action", "observation.environment_state"
IMAGES = "observation.images."
FRONT = IMAGES + "front"
TASK = "push, play"


def record(out: Path, num_episodes: int) -> None:
    """Collect a data set as `vjepa-wm collect` does, and keep what went into it."""
    import gymnasium

    from vjepa_wm.data.collection.record import collect
    from vjepa_wm.data.trajectories.writer import TrajectoryWriter
    from vjepa_wm.envs import make
    from vjepa_wm.envs.policies import policy_maker

    class Keep(gymnasium.Wrapper):
        """Remembers everything, episode by episode."""

        def reset(self, **options):
            obs, info = self.env.reset(**options)
            episodes.append({"images": [], "states": [], "objects": [], "actions": []})
            self._keep(obs, info)
            return obs, info

        def step(self, action):
            obs, reward, terminated, truncated, info = self.env.step(action)
            episodes[-1]["actions"].append(np.array(action))
            self._keep(obs, info)
            return obs, reward, terminated, truncated, info

        def _keep(self, obs, info):
            for name, value in (("images", obs["image"]), ("states", obs["state"]), ("objects", info["object"])):
                episodes[-1][name].append(np.array(value))

    episodes: list[dict[str, list[np.ndarray]]] = []
    env = make("push", image_size=64)
    own = env.unwrapped
    names = {"state_names": own.state_names, "action_names": own.action_names, "object_names": own.object_names}
    with TrajectoryWriter(out / "ours", fps=own.control_hz, image_size=64, cameras=own.cameras, **names) as writer:
        settings = {"num_episodes": num_episodes, "num_steps": 40, "seed": 0, "task": TASK}
        collect(lambda: Keep(env), policy_maker("push", "play"), writer, **settings)
    np.savez(out / "raw.npz", **{f"{name} {k}": v for k, kept in enumerate(episodes) for name, v in kept.items()})
    num_frames = sum(len(kept["images"]) for kept in episodes)
    print(f"{out / 'ours'}: {len(episodes)} episodes, {num_frames} frames; what went into them is in raw.npz beside it")


def compare_ours(out: Path) -> None:
    """Read our data set with lerobot, with frames before and after, and with this package."""
    from lerobot.datasets import LeRobotDataset

    from vjepa_wm.data.trajectories.dataset import TrajectoryDataset

    ours, raw = TrajectoryDataset(out / "ours"), np.load(out / "raw.npz")
    step = 1 / ours.fps
    deltas = {FRONT: [-step, 0.0, step], STATE: [-step, 0.0, step], ACTION: [0.0, step]}
    theirs = LeRobotDataset("local/ours", root=out / "ours", video_backend="pyav", delta_timestamps=deltas)
    lengths = [len(raw[f"states {k}"]) for k in range(len(raw) // 4)]
    starts = np.cumsum([0, *lengths])
    check(
        "rate, episodes, frames",
        (theirs.fps, theirs.num_episodes, theirs.num_frames),
        (ours.fps, len(lengths), starts[-1]),
    )
    check("first frames of the episodes", list(theirs.meta.episodes["dataset_from_index"]), starts[:-1])
    check("ends of the episodes", list(theirs.meta.episodes["dataset_to_index"]), starts[1:])
    loss, own_loss, decoding = map(Difference, ("lerobot's from raw", "ours from raw", "ours from lerobot's"))
    for k, length in enumerate(lengths):
        images, states, objects = (raw[f"{name} {k}"] for name in ("images", "states", "objects"))
        actions = np.append(raw[f"actions {k}"], np.zeros((1, 7), np.float32), axis=0)
        episode = ours.episode(k)
        check("our states", episode.states, states)
        check("our actions", episode.actions, actions)
        check("our objects", episode.objects, objects)
        own_loss.add(episode.frames, images)
        for t in range(length):
            item, around = theirs[int(starts[k]) + t], np.clip([t - 1, t, t + 1], 0, length - 1)
            check("task, episode", (item["task"], int(item["episode_index"]), episode.task), (TASK, k, TASK))
            check("time", round(float(item["timestamp"]) * ours.fps), t)
            check("states", item[STATE].numpy(), states[around])
            check("actions", item[ACTION].numpy(), actions[around[1:]])
            check("objects", item[OBJECTS].numpy(), objects[t])
            check("padding", item[f"{FRONT}_is_pad"].numpy(), [t == 0, False, t == length - 1])
            pictures = to_uint8(item[FRONT])
            loss.add(pictures, images[around])
            decoding.add(pictures, episode.frames[around])
    for column, name in ((STATE, "states"), (OBJECTS, "objects")):
        values = np.concatenate([raw[f"{name} {k}"] for k in range(len(lengths))]).astype(np.float64)
        for stat in ("min", "max", "mean", "std"):
            check(f"{stat} of {column}", np.allclose(theirs.meta.stats[column][stat], getattr(values, stat)(0)), True)
    every = np.concatenate([raw[f"images {k}"] for k in range(len(lengths))]) / 255
    check("mean of the pictures", np.allclose(theirs.meta.stats[FRONT]["mean"].ravel(), every.mean((0, 1, 2))), True)
    print(f"{len(lengths)} episodes, {starts[-1]} frames: numbers, tasks, times, padding and statistics are equal")
    print(loss, own_loss, decoding, sep="\n")


def compare_theirs(out: Path) -> None:
    """Write with lerobot with two codecs and read both here."""
    from vjepa_wm.data.trajectories.dataset import TrajectoryDataset, TrajectoryOptions

    options = TrajectoryOptions(camera="top", state=(STATE, "tool:1,0", "held"), action=("action:lift.pos,turn.pos",))
    for codec in ("libsvtav1", "h264"):
        root = out / f"theirs_{codec}"
        written = write_theirs(root, codec, lengths=(12, 30, 7, 21), size=(96, 128))
        read = read_theirs(root)
        ours = TrajectoryDataset(root, options)
        check("cameras", sorted(ours.cameras), [IMAGES + name for name in ("hand", "top", "wrist")])
        check("length", len(ours), len(read))
        loss, decoding = Difference("our decoding from the raw frames"), Difference("our decoding from lerobot's")
        for k, (before, after) in enumerate(zip(written, read, strict=True)):
            episode = ours.episode(k)
            wanted = np.column_stack([after[STATE], after["tool"].reshape(-1, 9)[:, [1, 0]], after["held"]])
            check("task", episode.task, before["task"])
            check("states", episode.states, wanted.astype(np.float32))
            check("actions", episode.actions, after[ACTION][:, [0, 2]])
            check("pictures in parquet", ours.frames(k, "hand"), before[IMAGES + "hand"])
            for camera in ("top", "wrist"):
                loss.add(ours.frames(k, camera), before[IMAGES + camera])
                decoding.add(ours.frames(k, camera), after[IMAGES + camera])
        print(f"{root}: {len(read)} episodes: numbers, tasks and pictures in parquet are equal")
        print(loss, decoding, sep="\n")


def make_fixture(out: Path) -> None:
    """Write a small data set with lerobot, and beside it what lerobot reads from it, as one archive."""
    root = out / "lerobot_set"
    write_theirs(root / "set", "libsvtav1", lengths=(5, 7, 4), size=(32, 32), videos=("top",))
    kept = {}
    for k, episode in enumerate(read_theirs(root / "set")):
        # Of the pictures the first and the last, to keep it small.
        kept |= {f"{name} {k}": v[[0, -1]] if name.startswith(IMAGES) else v for name, v in episode.items()}
    np.savez_compressed(root / "read.npz", **kept)
    print(shutil.make_archive(str(root), "zip", root))


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


class Difference:
    """Gathers how far pictures are apart [grey levels]."""

    def __init__(self, name: str):
        """Start with nothing."""
        self.name, self.total, self.count, self.largest = name, 0.0, 0, 0

    def add(self, pictures: np.ndarray, others: np.ndarray) -> None:
        """Compare two arrays of pictures."""
        apart = np.abs(pictures.astype(np.int16) - others)
        self.total, self.count = self.total + float(apart.sum(dtype=np.int64)), self.count + apart.size
        self.largest = max(self.largest, int(apart.max()))

    def __str__(self) -> str:
        return f"  {self.name}: mean {self.total / self.count:.3f}, largest {self.largest} of 255"


def to_uint8(pictures) -> np.ndarray:
    """Turn lerobot's floats (T, 3, H, W) in 0..1 into uint8 (T, H, W, 3)."""
    return (pictures * 255).round().byte().permute(0, 2, 3, 1).numpy()


def check(what: str, got: object, expected: object) -> None:
    """Raise a ValueError unless both are equal."""
    if not np.array_equal(got, expected):
        raise ValueError(f"{what} must be equal, got {got}, expected {expected}")


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("record", "ours", "theirs", "fixture"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--episodes", type=int, default=100, help="for record")
    arguments = parser.parse_args()
    if arguments.command == "record":
        record(arguments.out, arguments.episodes)
    else:
        {"ours": compare_ours, "theirs": compare_theirs, "fixture": make_fixture}[arguments.command](arguments.out)


if __name__ == "__main__":
    main()
