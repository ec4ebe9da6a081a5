"""What an encoder knows of motion: clips of the simulated tasks in pairs of classes that differ in their order alone.

A pair is made of the same episodes, played forward and backward, so that every single frame fits both classes and what
can be told from frames is the pair: half of the accuracy at most. Look and physics vary between episodes, and episodes
of the test are none of the training. Measured are the released encoder of the arm and one of random weights, each on
clips and on the middle frame alone.

    python benchmarks/bench_motion.py OUT [--episodes 16] [--num-frames 8] [--epochs 20] [--heads linear knn]

Letters: S + 1 moments of an episode, T frames of a clip.
"""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from vjepa_wm import load_encoder
from vjepa_wm.data.collection.episode_player import seeds_of
from vjepa_wm.data.labelled.clip_views import ClipOptions
from vjepa_wm.data.media.video import write_video
from vjepa_wm.envs import VariationConfig, find_task, make
from vjepa_wm.envs.play import Rollout, play, record
from vjepa_wm.models.checkpoint import VIDEO_ENCODER, save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.training.classification.config import ClassifyConfig
from vjepa_wm.training.classification.run import classify

RELEASED = Path(__file__).parents[1] / "vjepa_wm/weights/arm"
IMAGE_SIZE = 96
STILL_SHARE = 0.05
"""Share of the whole way below which nothing happens any more at an end of an episode."""


class Pair(NamedTuple):
    """Two classes that differ in their order alone."""

    task: str
    """Which task's episodes they are made of."""
    what: str
    """What moves: `states` or `objects`."""
    column: int
    """Which of its numbers tells the direction."""
    names: tuple[str, str]
    """Class in which that number rises, and class in which it falls."""
    steps: int
    """Actions of an episode."""


PAIRS = (
    Pair("reach", "states", 1, ("reach_left", "reach_right"), 16),
    Pair("push", "objects", 1, ("push_left", "push_right"), 40),
    Pair("grasp", "states", 2, ("hand_rises", "hand_sinks"), 24),
    Pair("pick_place", "objects", 1, ("carry_left", "carry_right"), 45),
    Pair("drawer", "objects", 2, ("drawer_open", "drawer_close"), 32),
    Pair("lever", "objects", 2, ("lever_left", "lever_right"), 32),
    Pair("point_maze", "states", 1, ("maze_up", "maze_down"), 30),
    Pair("two_room", "states", 0, ("rooms_right", "rooms_left"), 30),
)


def moving_part(values: np.ndarray) -> slice:
    """Return the moments between the first and the last in which a number (S + 1,) goes some of its way."""
    way = np.abs(np.diff(values))
    moving = np.flatnonzero(way > STILL_SHARE * max(np.abs(values - values[0]).max(), 1e-6))
    return slice(max(int(moving[0]) - 1, 0), int(moving[-1]) + 3) if len(moving) else slice(0, len(values))


def clip_of(rollout: Rollout, pair: Pair) -> np.ndarray:
    """Cut out what moves and turn it so that the pair's number rises, (T, H, W, 3) uint8."""
    values = getattr(rollout, pair.what)[:, pair.column]
    part = moving_part(values)
    frames, values = rollout.frames[part], values[part]
    return frames if values[-1] >= values[0] else frames[::-1]


def make_clips(out: Path, episodes: int, test_share: float, seed: int) -> None:
    """Write the clips as folders of classes below `train` and `val`; those that are there stay."""
    for pair in PAIRS:
        task = find_task(pair.task)
        with closing(make(task, image_size=IMAGE_SIZE, variation=VariationConfig(all="sampled"))) as made:
            env = made.unwrapped
            for k in range(episodes):
                part = "val" if k < round(test_share * episodes) else "train"
                paths = [out / part / name / f"{pair.task}_{k:03d}.mp4" for name in pair.names]
                if all(path.exists() for path in paths):
                    continue
                env_seed, rng = seeds_of(seed, k)
                policy = task.make_policy("noisy_expert", env, rng)
                rollout = record(play(env, policy, num_steps=pair.steps, seed=env_seed), pair.steps)
                frames = clip_of(rollout, pair)
                for path, turned in zip(paths, (frames, frames[::-1]), strict=True):
                    write_video(path, np.ascontiguousarray(turned), env.control_hz)


def write_random_encoder(out: Path, seed: int) -> Path:
    """Write an encoder of the released one's form with random weights."""
    config = load_encoder(RELEASED).config
    torch.manual_seed(seed)
    save_model(VideoEncoder(config), VIDEO_ENCODER, config, out / "random")
    return out / "random"


def measure_all(out: Path, clips: ClipOptions, **options: object) -> dict[str, dict[str, dict[str, float]]]:
    """Return top-1 and the share whose pair is right, by encoder and what is seen, and by head."""
    encoders = {"random": write_random_encoder(out, 0), "released": RELEASED}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, encoder in encoders.items():
        for seen in ("clip", "single frame"):
            folder = out / f"{name}_{seen.replace(' ', '_')}"
            config = ClassifyConfig(
                data=out / "clips",
                encoder=str(encoder),
                out=folder,
                clips=replace(clips, still=seen == "single frame"),
                **options,  # type: ignore[arg-type]
            )
            print(f"{name}, {seen}\n{classify(config)}", flush=True)
            results = json.loads((folder / "results.json").read_text())
            found[f"{name}, {seen}"] = {
                head: {
                    "top1": one["test"]["class"]["top1"],
                    "pair": pair_share(one["test"]["class"], results["classes"]),
                }
                for head, one in results["heads"].items()
            }
    return found


def pair_share(accuracy: dict, classes: dict[str, list[str]]) -> float:
    """Return the share of the items that are told as one of their pair."""
    number = {name: k for k, pair in enumerate(PAIRS) for name in pair.names}
    of_class = np.array([number[name] for name in classes["class"]])
    confusion = np.array(accuracy["confusion"])
    return float(confusion[of_class[:, None] == of_class[None]].sum() / confusion.sum())


def main() -> None:
    """Make the clips, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--episodes", type=int, default=16, help="of each pair")
    parser.add_argument("--test-share", type=float, default=0.375)
    parser.add_argument("--num-frames", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--heads", nargs="+", default=["linear", "attentive-1", "knn"])
    parser.add_argument("--clips-only", action="store_true")
    args = parser.parse_args()
    make_clips(args.out / "clips", args.episodes, args.test_share, seed=0)
    if args.clips_only:
        return
    found = measure_all(
        args.out,
        ClipOptions(num_frames=args.num_frames),
        heads=tuple(args.heads),
        learning_rates=(3e-3,),
        epochs=args.epochs,
        batch_size=32,
        precision="fp32",
    )
    (args.out / "motion.json").write_text(json.dumps(found, indent=2))
    print(f"{'encoder, what is seen':28}" + "".join(f"{head:>22}" for head in args.heads))
    for name, heads in found.items():
        print(f"{name:28}" + "".join(f"{one['top1']:10.1%} ({one['pair']:6.1%})" for one in heads.values()))
    print("top-1 (share told as one of the right pair)")


if __name__ == "__main__":
    main()
