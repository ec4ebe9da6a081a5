"""Print what the README's table of tasks says: `python scripts/task_table.py [TASK ...]`, a few minutes on two cores.

Success is counted at the last step of an episode; the steps are those until the goal is first reached. Speeds are of one
core, of `collect` of all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np

from vjepa_wm import envs
from vjepa_wm.data.collect import collect
from vjepa_wm.data.trajectory_writer import TrajectoryWriter
from vjepa_wm.envs.policies import policy_maker

IMAGE_SIZE = 128


def play(task: str, name: str, seed: int) -> tuple[bool, int]:
    """Play an episode and return whether it ends in success and the steps until it was first there."""
    env = envs.make(task, image_size=16)  # the policies see numbers, not pictures
    obs, info = env.reset(seed=seed)
    policy, first = policy_maker(task, name)(np.random.default_rng(seed)), env.usual_steps
    for step in range(env.usual_steps):
        obs, _, _, _, info = env.step(policy(obs, info))
        if info["is_success"]:
            first = min(first, step + 1)
    env.close()
    return info["is_success"], first


def rate(call: Callable[[], object], seconds: float = 2.0) -> float:
    """Return calls per second."""
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        call()
        count += 1
    return count / (time.perf_counter() - begin)


def speeds(task: str) -> tuple[float, float, float]:
    """Return control steps per second without pictures and with them, and pictures per second."""
    env = envs.make(task, image_size=IMAGE_SIZE)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    drawn = cycle(rng.uniform(env.action_space.low, env.action_space.high, (1000, *env.action_space.shape)))
    found = (
        rate(lambda: env.advance(next(drawn))),
        rate(lambda: env.step(next(drawn))),
        rate(env.render),
    )
    env.close()
    return found
