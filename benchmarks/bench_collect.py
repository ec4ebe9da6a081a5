"""Frames a second of `collect`, for each task and number of worker processes: simulation, pictures, encoding, writing.

Run `python benchmarks/bench_collect.py [push drawer] [--workers 0 1 2] [--episodes 100]`. The start of the processes,
one or two seconds, is in the numbers, so that few episodes look slow.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial

from vjepa_wm import envs
from vjepa_wm.data.collection.record import collect
from vjepa_wm.data.trajectories.writer import TrajectoryWriter


def frames_a_second(task: str, workers: int, args: argparse.Namespace) -> float:
    """Collect once into a folder that is thrown away."""
    make_env = partial(envs.make, task, image_size=args.image_size, renderer=args.renderer)
    env = make_env()
    names = {name: getattr(env, name) for name in ("cameras", "state_names", "action_names", "object_names")}
    env.close()
    with (
        tempfile.TemporaryDirectory() as folder,
        TrajectoryWriter(folder, fps=env.control_hz, image_size=args.image_size, **names) as writer,
    ):
        begin_s = time.perf_counter()
        report = collect(
            make_env,
            partial(envs.find_task(task).make_policy, args.policy),
            writer,
            num_episodes=args.episodes,
            num_steps=40,
            seed=0,
            task=task,
            workers=workers,
            progress=False,
        )
        return report.num_frames / (time.perf_counter() - begin_s)


def main() -> None:
    """Print a line for each task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", default=envs.TASKS, help=f"of {', '.join(envs.TASKS)}")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--policy", default="play")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--renderer", default="auto")
    args = parser.parse_args()
    print("frames a second   " + "  ".join(f"workers={workers}" for workers in args.workers))
    for task in args.tasks:
        rates = [frames_a_second(task, workers, args) for workers in args.workers]
        print(f"{task:16}" + "".join(f"{rate:11.0f}" for rate in rates), flush=True)


if __name__ == "__main__":
    main()
