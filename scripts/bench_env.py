"""Print how many control steps and pictures per second one environment makes: `python scripts/bench_env.py`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from vjepa_wm import envs


def rate(call: Callable[[], object], seconds: float) -> float:
    """Return calls per second, measured for so many seconds."""
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        call()
        count += 1
    return count / (time.perf_counter() - begin)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="reach", choices=envs.TASKS)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args()

    env = envs.make(args.task, image_size=args.image_size)
    env.reset(seed=0)
    actions = np.random.default_rng(0).uniform(env.action_space.low, env.action_space.high, (1000, 7))
    drawn = iter(np.tile(actions, (1000, 1)))
    print(f"{args.task}: {rate(lambda: env.advance(next(drawn)), args.seconds):.0f} control steps/s without pictures")
    print(f"{args.task}: {rate(env.render, args.seconds):.0f} pictures/s at {args.image_size} px")
    print(f"{args.task}: {rate(lambda: env.step(next(drawn)), args.seconds):.0f} control steps/s with pictures")
    env.close()


if __name__ == "__main__":
    main()
