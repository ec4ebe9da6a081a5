"""Policies that need no learning: to compare with, to solve the tasks, to explore for data. They need no simulator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import get_args

import numpy as np

from vjepa_wm.envs.arm.workspace import ACTION_HIGH, PUSH_WORKSPACE, REACH_WORKSPACE
from vjepa_wm.envs.policies.arm import NoisyPolicy, PlayPolicy, ReachExpert
from vjepa_wm.envs.policies.policy import Policy, PolicyName, RandomPolicy
from vjepa_wm.envs.policies.push import PushPlay
from vjepa_wm.envs.policies.push_expert import PushExpert
from vjepa_wm.envs.tasks import check_task

__all__ = ["Policy", "PolicyName", "policy_maker"]


def policy_maker(task: str, name: PolicyName) -> Callable[[np.random.Generator], Policy]:
    """Return what makes a policy of a task from the generator of an episode; it can be sent to another process.

    Args:
        task: one of `vjepa_wm.envs.TASKS`.
        name: which policy.

    Raises:
        ValueError: if there is no such task or policy.
    """
    check_task(task)
    if name not in get_args(PolicyName):
        raise ValueError(f"policy must be one of {', '.join(get_args(PolicyName))}, got {name!r}")
    return partial(_make, task, name)


def _make(task: str, name: PolicyName, rng: np.random.Generator) -> Policy:
    match task, name:
        case _, "random":
            return RandomPolicy(rng, ACTION_HIGH)
        case "reach", "play":
            return PlayPolicy(rng, REACH_WORKSPACE)
        case "reach", "expert":
            return ReachExpert()
        case "reach", "noisy_expert":
            return NoisyPolicy(ReachExpert(), rng, REACH_WORKSPACE)
        case "push", "play":
            return PushPlay(rng)
        case "push", "expert":
            return PushExpert()
        case "push", "noisy_expert":
            return NoisyPolicy(PushExpert(), rng, PUSH_WORKSPACE)
    raise AssertionError(f"no policy {name} of task {task}")
