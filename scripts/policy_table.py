"""Print how often each policy solves each task: `python scripts/policy_table.py [TASK ...]`, minutes on two cores.

Success counts at the last step of an episode of the task's usual length; beside it, for the expert, the mean number of
steps until the goal is first reached. With `--held-out` all that can vary does, by values that are not for training.
"""

from __future__ import annotations

import argparse
import multiprocessing
from contextlib import closing
from functools import partial

import numpy as np

from vjepa_wm import envs
from vjepa_wm.envs.play import play

POLICIES = ("expert", "noisy_expert", "play", "random")


def outcome(name: str, policy_name: str, variation: envs.VariationConfig, seed: int) -> tuple[bool, int]:
    """Play an episode; return whether it ends in success, and the steps until it was first there."""
    task = envs.find_task(name)
    with closing(envs.make(task, image_size=16, variation=variation)) as env:  # policies see numbers, not pictures
        policy = task.make_policy(policy_name, env, np.random.default_rng(seed))
        reached = [moment.info["is_success"] for moment in play(env, policy, num_steps=task.usual_steps, seed=seed)]
    return reached[-1], reached.index(True) if any(reached) else task.usual_steps


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
            played = [pool.map(partial(outcome, task, name, variation), range(args.episodes)) for name in POLICIES]
            shares = "".join(f"{np.mean([success for success, _ in runs]):14.0%}" for runs in played)
            print(f"{task:12}{shares}{np.mean([steps for _, steps in played[0]]):14.1f}", flush=True)


if __name__ == "__main__":
    main()
