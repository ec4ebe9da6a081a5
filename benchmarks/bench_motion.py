"""What an encoder knows of motion: clips of the simulated tasks in pairs of classes that differ in their order alone.

A pair is made of the same episodes, played forward and backward, so that every single frame fits both classes and what
can be told from frames is the pair: half of the accuracy at most. Look and physics vary between episodes, and episodes
of the test are none of the training. Measured are the encoders that are named, at first one of random weights and the
released one of the arm, each on clips and on the middle frame alone; then what the heads tell of the clips they are
trained on and of the test clips over the epochs, which says whether they have learned what they will.

    python benchmarks/bench_motion.py OUT [--episodes 40] [--encoders random released runs/pretrain] [--epochs 60]
        [--attentive-4] [--finetune] [--heads linear knn] [--no-still] [--clips-only]

Letters: S + 1 moments of an episode, T frames of a clip.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

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
from vjepa_wm.training.classification.finetuning import FinetuneOptions
from vjepa_wm.training.classification.run import classify
from vjepa_wm.training.run.metrics import read_rows

RELEASED = Path(__file__).parents[1] / "vjepa_wm/weights/arm"
IMAGE_SIZE = 96
STILL_SHARE = 0.05
"""Share of the whole way below which nothing happens any more at an end of an episode."""

Measured = dict[str, Any]
"""`top1`, `pair` and, by `epoch`, the shares of `train` and `val`."""


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


def is_tested(number: int, test_share: float) -> bool:
    """Return whether an episode is one of the test's, which does not depend on how many there are."""
    return int((number + 1) * test_share) > int(number * test_share)


def make_clips(out: Path, episodes: int, test_share: float, seed: int) -> None:
    """Write the clips as folders of classes below `train` and `val`; those that are there stay."""
    for pair in PAIRS:
        task = find_task(pair.task)
        with closing(make(task, image_size=IMAGE_SIZE, variation=VariationConfig(all="sampled"))) as made:
            env = made.unwrapped
            for k in range(episodes):
                part = "val" if is_tested(k, test_share) else "train"
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


def encoder_of(name: str, out: Path) -> Path:
    """Return the folder of an encoder: one of random weights, the released one, or that of this path."""
    if name == "random":
        return write_random_encoder(out, 0)
    return RELEASED if name == "released" else Path(name)


def measure_one(config: ClassifyConfig) -> dict[str, Measured]:
    """Return what `classify` finds, by head."""
    print(f"{config.out.name}\n{classify(config)}", flush=True)
    results = json.loads((config.out / "results.json").read_text())
    metrics = config.out / "metrics.csv"
    rows = read_rows(metrics)[1] if metrics.exists() else []
    steps = int(rows[-1]["step"]) + 1 if rows else 1
    found: dict[str, Measured] = {}
    for head, one in results["heads"].items():
        train, val = (f"{head.replace('-', '_')}_{part}" for part in ("train", "val"))
        epochs = [
            {
                "epoch": round((int(row["step"]) + 1) / steps * config.epochs, 1),
                "train": float(row[train]),
                "val": float(row[val]),
            }
            for row in rows
            if row.get(val)
        ]
        accuracy = one["test"]["class"]
        found[head] = {"top1": accuracy["top1"], "pair": pair_share(accuracy, results["classes"]), "epochs": epochs}
    return found


def pair_share(accuracy: dict, classes: dict[str, list[str]]) -> float:
    """Return the share of the items that are told as one of their pair."""
    number = {name: k for k, pair in enumerate(PAIRS) for name in pair.names}
    of_class = np.array([number[name] for name in classes["class"]])
    confusion = np.array(accuracy["confusion"])
    return float(confusion[of_class[:, None] == of_class[None]].sum() / confusion.sum())


def settings(args: argparse.Namespace, encoder: Path, out: str, **options: Any) -> ClassifyConfig:
    """Return what all runs have in common."""
    common: dict[str, Any] = {"clips": ClipOptions(num_frames=args.num_frames), "epochs": args.epochs}
    return ClassifyConfig(
        data=args.out / "clips",
        encoder=str(encoder),
        out=args.out / out,
        batch_size=32,
        precision="fp32",
        **common | options,
    )


def probing_runs(args: argparse.Namespace, encoders: dict[str, Path]) -> Iterator[tuple[str, ClassifyConfig]]:
    """Yield the runs of each row; heads on one vector of a clip need higher rates than those on its tokens."""
    on_tokens = [head for head in args.heads if head.startswith("attentive")] + ["attentive-4"] * args.attentive_4
    on_vectors = [head for head in args.heads if head not in on_tokens]
    parts = [("tokens", on_tokens, args.rate), ("vectors", on_vectors, args.linear_rate)]
    for (name, encoder), seen in product(encoders.items(), ("clip",) if args.no_still else ("clip", "single frame")):
        clips = ClipOptions(num_frames=args.num_frames, still=seen != "clip")
        for kind, heads, rate in parts:
            if heads:
                out = f"{name}_{seen.replace(' ', '_')}_{kind}"
                options = {"clips": clips, "heads": tuple(heads), "learning_rates": (rate,)}
                yield f"{name}, {seen}", settings(args, encoder, out, **options)


def tuning_runs(args: argparse.Namespace, encoders: dict[str, Path]) -> Iterator[tuple[str, ClassifyConfig]]:
    """Yield the runs that train the encoders too."""
    for name, encoder in encoders.items():
        tuning = FinetuneOptions(blocks="all", head="attentive-1")
        options = {"finetune": tuning, "epochs": args.finetune_epochs}
        yield f"{name}, fine-tuned", settings(args, encoder, f"{name}_finetuned", **options)


def tell(found: dict[str, dict[str, Measured]]) -> str:
    """Return both tables."""
    heads = list(dict.fromkeys(head for one in found.values() for head in one))
    lines = [f"{'top-1 (one of the right pair)':32}" + "".join(f"{head:>20}" for head in heads)]
    for name, one in found.items():
        cells = [f"{one[h]['top1']:10.1%} ({one[h]['pair']:6.1%})" if h in one else "" for h in heads]
        lines.append(f"{name:32}" + "".join(f"{cell:>20}" for cell in cells))
    lines.append("top-1 over the epochs, of clips that are trained on / of test clips")
    for name, one in found.items():
        for head, measured in one.items():
            points = [f"{row['epoch']:g}: {row['train']:.0%}/{row['val']:.0%}" for row in measured["epochs"]]
            lines += [f"{name + ', ' + head:44}" + "  ".join(points)] if points else []
    return "\n".join(lines)


def main() -> None:
    """Make the clips, measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--episodes", type=int, default=40, help="of each pair")
    parser.add_argument("--test-share", type=float, default=0.375)
    parser.add_argument("--num-frames", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--rate", type=float, default=1e-3, help="of attentive probes")
    parser.add_argument("--linear-rate", type=float, default=1e-2)
    parser.add_argument("--heads", nargs="+", default=["linear", "attentive-1", "knn"])
    parser.add_argument("--attentive-4", action="store_true", help="the attentive probe of depth 4 too")
    parser.add_argument("--encoders", nargs="+", default=["random", "released"], help="these two, or folders")
    parser.add_argument("--finetune", action="store_true", help="rows of encoders trained with the head too")
    parser.add_argument("--finetune-epochs", type=int, default=10)
    parser.add_argument("--no-still", action="store_true", help="leave single frames out")
    parser.add_argument("--clips-only", action="store_true")
    args = parser.parse_args()
    if len({Path(name).name for name in args.encoders}) < len(args.encoders):
        parser.error(f"--encoders must end in different names, which rows are called by, got {args.encoders}")
    make_clips(args.out / "clips", args.episodes, args.test_share, seed=0)
    if args.clips_only:
        return
    encoders = {Path(name).name: encoder_of(name, args.out) for name in args.encoders}
    found: dict[str, dict[str, Measured]] = {}
    for name, config in (*probing_runs(args, encoders), *(tuning_runs(args, encoders) if args.finetune else ())):
        found.setdefault(name, {}).update(measure_one(config))
    (args.out / "motion.json").write_text(json.dumps(found, indent=2))
    print(tell(found))


if __name__ == "__main__":
    main()
