"""Print how fast each task is on one core: `python benchmarks/bench_env.py [TASK ...]`.

Control steps per second without pictures and with one of 128 px (gl), then pictures per second by size and renderer,
while the scene moves.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from itertools import cycle

import numpy as np

from vjepa_wm import envs

SIZES = (64, 128, 256)
RENDERERS = ("gl", "ray")


def spent(call: Callable[[], object], count: int = 5) -> float:
    """Return the time one call takes [s]."""
    begin = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - begin) / count


def speeds(task: str, image_size: int, renderer: str, seconds: float) -> tuple[float, float, float]:
    """Return control steps per second without and with pictures, and pictures per second."""
    env = envs.make(task, image_size=image_size, renderer=renderer)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    actions = cycle(rng.uniform(env.action_space.low, env.action_space.high, (1000, *env.action_space.shape)))
    spent(env.render)
    calls = (lambda: env.advance(next(actions)), lambda: env.step(next(actions)), env.render)
    rounds: list[list[float]] = []
    while sum(map(sum, rounds)) < seconds / 5:
        rounds.append([spent(call) for call in calls])
    env.close()
    # Medians: other programs of a shared machine must not count.
    return tuple(1 / np.median(rounds, axis=0))


def main() -> None:
    """Measure and print a row per task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", default=envs.TASKS, help=f"of {', '.join(envs.TASKS)}")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each number")
    args = parser.parse_args()

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # of all threads, also the graphics library's
    envs.choose_renderer("gl")
    columns = [(size, renderer) for renderer in RENDERERS for size in SIZES]
    print(
        f"{'task':12} {'steps/s':>8} {'with 128 px':>11}",
        *(f"{f'{renderer} {size} px':>11}" for size, renderer in columns),
    )
    for task in args.tasks:
        found = {column: speeds(task, *column, args.seconds) for column in columns}
        bare, seen, _ = found[128, "gl"]
        print(f"{task:12} {bare:8.0f} {seen:11.0f}", *(f"{pictures:11.0f}" for _, _, pictures in found.values()))


if __name__ == "__main__":
    main()
