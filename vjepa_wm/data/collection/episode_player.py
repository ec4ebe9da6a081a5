"""What plays one episode of a collection.

Why this file exists: an episode depends on nothing but the collection's settings and its number, so that it can be
played by any process on any machine; this is the part that goes there.

Letters: T frames of an episode, H height, W width, P state, A action, E numbers that say where objects are.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from vjepa_wm.data.trajectories.encoded_trajectory import EncodedTrajectory, encode_trajectory

Policy = Callable[[dict[str, np.ndarray], dict[str, Any]], np.ndarray]
"""From observation and info to an action (A,)."""


@dataclass(frozen=True, kw_only=True)
class EpisodeRecipe:
    """All that the episodes of a collection depend on but their numbers.

    Attributes:
        make_env: makes the environment.
        make_policy: makes the policy of one episode from a random generator of its own.
        cameras: names of the cameras; the first one's pictures are the observation `image`, those of each other
            `image_<camera>`.
        num_steps: actions of an episode, unless the environment ends it earlier.
        seed: episode k depends only on (seed, k).
        task: what the episodes show, in words.
        fps: frames per second of the videos.
    """

    make_env: Callable[[], gymnasium.Env]
    make_policy: Callable[[np.random.Generator], Policy]
    cameras: tuple[str, ...]
    num_steps: int
    seed: int
    task: str
    fps: float


@dataclass(frozen=True, kw_only=True)
class PlayedEpisode:
    """One episode and how it ended.

    Attributes:
        recording: what is stored of it.
        success: whether its last step was a success.
        short: whether the environment ended it before its number of steps.
    """

    recording: EncodedTrajectory
    success: bool
    short: bool


class EpisodePlayer:
    """Plays the episodes of a recipe, in any order, in one environment.

    Attributes:
        env: the environment.
    """

    def __init__(self, recipe: EpisodeRecipe):
        """Make the environment."""
        self._recipe = recipe
        self._pictures = dict(zip(recipe.cameras, picture_names(recipe.cameras), strict=True))
        self.env = recipe.make_env()

    def __call__(self, k: int) -> PlayedEpisode:
        """Play episode k and encode its videos.

        Raises:
            RuntimeError: a frame is of one single colour, which is what a broken render back end gives.
        """
        recipe, env = self._recipe, self.env
        env_seed, generator = seeds_of(recipe.seed, k)
        policy = recipe.make_policy(generator)
        obs, info = env.reset(seed=env_seed)
        variation = info.get("variation")
        seen, actions = [self._copied(obs, info, k)], []
        for _ in range(recipe.num_steps):
            action = np.asarray(policy(obs, info), dtype=env.action_space.dtype)
            # What the environment would cut off must not stand in the data as if it had been done.
            action = np.clip(action, env.action_space.low, env.action_space.high)
            obs, _, terminated, truncated, info = env.step(action)
            seen.append(self._copied(obs, info, k))
            actions.append(action)
            if terminated or truncated:
                break
        actions.append(np.zeros_like(actions[0]))
        columns = {name: np.stack([moment[name] for moment in seen]) for name in seen[0]}
        return PlayedEpisode(
            recording=encode_trajectory(
                {camera: columns[name] for camera, name in self._pictures.items()},
                columns["state"],
                np.stack(actions),
                recipe.task,
                objects=columns.get("object"),
                variation=variation,
                fps=recipe.fps,
            ),
            success=bool(info.get("is_success", False)),
            short=len(actions) <= recipe.num_steps,
        )

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _copied(self, obs: dict[str, np.ndarray], info: dict[str, Any], k: int) -> dict[str, np.ndarray]:
        """Return what is stored of one moment, as copies, since environments may write over what they gave."""
        for name in self._pictures.values():
            _check_picture(obs[name], k)
        moment = {name: obs[name].copy() for name in (*self._pictures.values(), "state")}
        if getattr(self.env.unwrapped, "object_names", ()):
            moment["object"] = np.array(info["object"], np.float32)
        return moment


def seeds_of(seed: int, k: int) -> tuple[int, np.random.Generator]:
    """Return what the randomness of episode k begins with: the environment's seed, and the policy's generator."""
    for_env, for_policy = np.random.SeedSequence((seed, k)).spawn(2)
    return int(for_env.generate_state(1)[0]), np.random.default_rng(for_policy)


def picture_names(cameras: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the cameras' pictures among the observations."""
    return ("image", *(f"image_{camera}" for camera in cameras[1:]))


def _check_picture(image: np.ndarray, k: int) -> None:
    """Raise a RuntimeError if a picture shows nothing."""
    if image.min() == image.max():
        back_end = os.environ.get("MUJOCO_GL", "not set")
        raise RuntimeError(
            f"a frame of episode {k} has one single colour, {image.min()}: the render back end draws nothing "
            f"(MUJOCO_GL is {back_end}; on a machine without a screen egl or osmesa would be right)"
        )
