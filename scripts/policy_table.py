"""Print how often each policy solves each task: `python scripts/policy_table.py [TASK ...]`, minutes on two cores.

Success counts at the last step of an episode of the task's usual length; beside it, for the expert, the mean number of
steps until the goal is first reached. With `--held-out` all that can vary does, by values that are not for training.
"""

from __future__ import annotations

import argparse
import multiprocessing
from functools import partial

import numpy as np

from vjepa_wm import envs
from vjepa_wm.envs.policies import policy_maker

POLICIES = ("expert", "noisy_expert", "play", "random")


def play(task: str, name: str, variation: envs.VariationConfig, seed: int) -> tuple[bool, int]:
    """Play an episode; return whether it ends in success, and the steps until it was first there."""
    env = envs.make(task, image_size=16, variation=variation)  # these policies see numbers, not pictures
    obs, info = env.reset(seed=seed)
    policy, steps = policy_maker(task, name)(np.random.default_rng(seed)), env.usual_steps
    for step in range(env.usual_steps):
        obs, _, _, _, info = env.step(policy(obs, info))
        if info["is_success"]:
            steps = min(steps, step + 1)
    env.close()
    return info["is_success"], steps


def main() -> None:
    """Print a row per task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", default=envs.TASKS, help=f"of {', '.join(envs.TASKS)}")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--held-out", action="store_true")
    args = parser.parse_args()
    variation = envs.VariationConfig(all="held_out" if args.held_out else "default")
    print(f"{'task':12}" + "".join(f"{name:>14}" for name in POLICIES) + f"{'expert steps':>14}")
    with multiprocessing.get_context("spawn").Pool() as pool:
        for task in args.tasks:
            played = [pool.map(partial(play, task, name, variation), range(args.episodes)) for name in POLICIES]
            shares = "".join(f"{np.mean([success for success, _ in runs]):14.0%}" for runs in played)
            print(f"{task:12}{shares}{np.mean([steps for _, steps in played[0]]):14.1f}", flush=True)


if __name__ == "__main__":
    main()
