"""Recording of a policy in an environment as a trajectory data set.

Why this file exists: it joins an environment, a policy and a recorder, all passed in, so that the same loop serves
every task and every policy. Episode k depends on nothing but (seed, k): a collection that was stopped goes on where it
ended and gives the same episodes.

Letters: T frames of an episode, A action.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from tqdm import tqdm

from vjepa_wm.data.trajectory_writer import TrajectoryWriter

Policy = Callable[[dict[str, np.ndarray], dict[str, Any]], np.ndarray]
"""From observation and info to an action (A,)."""


@dataclass(frozen=True, kw_only=True)
class CollectReport:
    """What a collection did.

    Attributes:
        num_found: episodes that were there before.
        num_added: episodes recorded now.
        num_frames: frames recorded now.
        num_short: episodes recorded now that the environment ended before `num_steps`.
    """

    num_found: int
    num_added: int
    num_frames: int
    num_short: int


def collect(
    env: gymnasium.Env,
    make_policy: Callable[[np.random.Generator], Policy],
    writer: TrajectoryWriter,
    *,
    num_episodes: int,
    num_steps: int,
    seed: int,
    task: str,
    progress: bool = True,
) -> CollectReport:
    """Record episodes until the data set has as many as wanted.

    Args:
        env: environment whose observations hold `image`, uint8 (H, W, 3), and `state`, (7,); if it has `object_names`,
            its infos hold `object`, one number for each.
        make_policy: makes the policy of one episode from a random generator of its own.
        writer: recorder; episodes it already has are not recorded again.
        num_episodes: episodes the data set shall have in the end.
        num_steps: actions of an episode; it has one frame more, unless the environment ends it earlier.
        seed: episode k depends only on (seed, k).
        task: what the episodes show, in words.
        progress: whether to show a progress bar.

    Returns:
        Counts of what was recorded.

    Raises:
        ValueError: num_episodes or num_steps is not positive, the observations lack something, or the writer's rate
            or objects are not the environment's.
        RuntimeError: a frame is of one single colour, which is what a broken render back end gives.
    """
    lacking = {"image", "state"} - set(env.observation_space.keys())
    if lacking:
        raise ValueError(f"observations must hold image and state, {', '.join(sorted(lacking))} is missing")
    if num_episodes < 1:
        raise ValueError(f"num_episodes must be at least 1, got {num_episodes}")
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    control_hz = getattr(env.unwrapped, "control_hz", None)
    if control_hz is not None and control_hz != writer.fps:
        raise ValueError(f"fps of the writer must be control_hz of the environment, {control_hz}, got {writer.fps}")
    object_names = tuple(getattr(env.unwrapped, "object_names", ()))
    if object_names != writer.object_names:
        raise ValueError(
            f"object_names of the writer must be those of the environment, {object_names}, got {writer.object_names}"
        )
    num_found = writer.num_episodes
    num_frames_found, num_short = writer.num_frames, 0
    episodes = tqdm(range(num_found, num_episodes), "collect", num_episodes, initial=num_found, disable=not progress)
    for k in episodes:
        frames, states, actions, objects = _record(env, make_policy, num_steps=num_steps, seed=seed, k=k)
        writer.add_episode(frames, states, actions, task, objects=objects if object_names else None)
        num_short += len(frames) <= num_steps
    return CollectReport(
        num_found=num_found,
        num_added=writer.num_episodes - num_found,
        num_frames=writer.num_frames - num_frames_found,
        num_short=num_short,
    )


def _record(
    env: gymnasium.Env, make_policy: Callable[[np.random.Generator], Policy], *, num_steps: int, seed: int, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Play episode k.

    Returns:
        Frames (T, H, W, 3), states (T, 7), the actions sent (T, A), the last one zeros, and objects (T, E) or (T, 0).
    """
    for_env, for_policy = np.random.SeedSequence((seed, k)).spawn(2)
    policy = make_policy(np.random.default_rng(for_policy))
    obs, info = env.reset(seed=int(for_env.generate_state(1)[0]))
    frames, states, actions, objects = [_checked(obs["image"], k)], [obs["state"]], [], [info.get("object", ())]
    for _ in range(num_steps):
        action = np.asarray(policy(obs, info), dtype=env.action_space.dtype)
        # What the environment would cut off must not stand in the data as if it had been done.
        action = np.clip(action, env.action_space.low, env.action_space.high)
        obs, _, terminated, truncated, info = env.step(action)
        frames.append(_checked(obs["image"], k))
        states.append(obs["state"])
        actions.append(action)
        objects.append(info.get("object", ()))
        if terminated or truncated:
            break
    actions.append(np.zeros_like(actions[0]))
    return np.stack(frames), np.stack(states), np.stack(actions), np.array(objects, np.float32)


def _checked(image: np.ndarray, k: int) -> np.ndarray:
    """Return a copy of a frame unless it shows nothing."""
    if image.min() == image.max():
        back_end = os.environ.get("MUJOCO_GL", "not set")
        raise RuntimeError(
            f"a frame of episode {k} has one single colour, {image.min()}: the render back end draws nothing "
            f"(MUJOCO_GL is {back_end}; egl or osmesa would be right on a machine without a screen)"
        )
    return image.copy()
