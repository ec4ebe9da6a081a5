"""Policies that need no learning: to compare with, to solve the tasks, to explore for data. They need no simulator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import get_args

import numpy as np

from vjepa_wm.envs.arm.arm_policies import NoisyPolicy, PlayPolicy, ReachExpert
from vjepa_wm.envs.arm.brick.brick_play import BrickPlay
from vjepa_wm.envs.arm.brick.grasp.policies import GraspExpert
from vjepa_wm.envs.arm.brick.pick_place.policies import PickPlaceExpert
from vjepa_wm.envs.arm.drawer.policies import DrawerExpert, DrawerPlay
from vjepa_wm.envs.arm.push.expert import PushExpert
from vjepa_wm.envs.arm.push.strokes import PushPlay
from vjepa_wm.envs.arm.workspace import ACTION_HIGH, BRICK_WORKSPACE, DRAWER_WORKSPACE, PUSH_WORKSPACE, REACH_WORKSPACE
from vjepa_wm.envs.plane.geometry import POINT_ACTION_HIGH
from vjepa_wm.envs.plane.point_policies import NoisyPointPolicy, PointExpert, PointPlay
from vjepa_wm.envs.policy import Policy, PolicyName, RandomPolicy
from vjepa_wm.envs.tasks import check_task

__all__ = ["Policy", "PolicyName", "policy_maker"]

POINT_TASKS = ("point_maze", "two_room")


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
    match name:
        case "random":
            return RandomPolicy(rng, POINT_ACTION_HIGH if task in POINT_TASKS else ACTION_HIGH)
        case "play":
            return _play(task, rng)
        case "expert":
            return _expert(task)
    return _noisy(task, _expert(task), rng)


def _play(task: str, rng: np.random.Generator) -> Policy:
    match task:
        case "reach":
            return PlayPolicy(rng, REACH_WORKSPACE)
        case "push":
            return PushPlay(rng)
        case "grasp" | "pick_place":
            return BrickPlay(rng)
        case "drawer":
            return DrawerPlay(rng)
        case "point_maze" | "two_room":
            return PointPlay(rng)
    raise AssertionError(f"no play policy of task {task}")


def _expert(task: str) -> Policy:
    match task:
        case "reach":
            return ReachExpert()
        case "push":
            return PushExpert()
        case "grasp":
            return GraspExpert()
        case "pick_place":
            return PickPlaceExpert()
        case "drawer":
            return DrawerExpert()
        case "point_maze" | "two_room":
            return PointExpert()
    raise AssertionError(f"no expert of task {task}")


def _noisy(task: str, policy: Policy, rng: np.random.Generator) -> Policy:
    match task:
        case "reach":
            return NoisyPolicy(policy, rng, REACH_WORKSPACE)
        case "push":
            return NoisyPolicy(policy, rng, PUSH_WORKSPACE)
        case "grasp" | "pick_place":
            return NoisyPolicy(policy, rng, BRICK_WORKSPACE)
        case "drawer":
            return NoisyPolicy(policy, rng, DRAWER_WORKSPACE)
        case "point_maze" | "two_room":
            return NoisyPointPolicy(policy, rng)
    raise AssertionError(f"no noise for task {task}")
