"""Draw starts and goals of a gymnasium-robotics task, and record a data set of random actions in it.

It needs the extra `robotics`; for example `python scripts/robotics_goals.py FetchPush-v4 --out runs/fetch_push`.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import get_args

import imageio.v3 as iio
import numpy as np

from vjepa_wm.data.collection.record import collect
from vjepa_wm.data.trajectories.writer import TrajectoryWriter
from vjepa_wm.envs.adapters.fetch import FetchName, make_fetch
from vjepa_wm.envs.adapters.robotics_point_maze import PointMazeName, make_point_maze
from vjepa_wm.envs.policy import RandomPolicy


def main() -> None:
    """Draw `goals.png`, starts and their goals side by side, and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*get_args(FetchName), *get_args(PointMazeName)])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--episodes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40)
    args = parser.parse_args()

    maker = make_fetch if args.name in get_args(FetchName) else make_point_maze
    make_env = partial(maker, args.name, image_size=args.image_size)
    env = make_env()
    episodes = [env.reset(seed=seed) for seed in range(12)]
    pairs = [np.hstack([obs["image"], info["goal"]["image"]]) for obs, info in episodes]
    args.out.mkdir(parents=True, exist_ok=True)
    iio.imwrite(args.out / "goals.png", np.vstack(pairs))
    env.close()
    begin = time.perf_counter()
    with TrajectoryWriter(
        args.out / "data",
        fps=env.control_hz,
        image_size=args.image_size,
        cameras=env.cameras,
        state_names=env.state_names,
        action_names=env.action_names,
        object_names=env.object_names,
        robot_type="fetch" if maker is make_fetch else "point",
    ) as writer:
        policy = partial(RandomPolicy, action_high=env.action_space.high)
        sizes = {"num_episodes": args.episodes, "num_steps": args.steps}
        report = collect(make_env, policy, writer, **sizes, seed=0, task=args.name)
    print(f"{report.num_frames / (time.perf_counter() - begin):.0f} frames/s, with resets and video")


if __name__ == "__main__":
    main()
