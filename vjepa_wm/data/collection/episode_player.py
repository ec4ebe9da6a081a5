"""What plays one episode of a collection and encodes it.

Why this file exists: an episode depends on nothing but the collection's settings and its number, so that it can be
played by any process on any machine; this is the part that goes there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vjepa_wm.data.trajectories.encoded_trajectory import EncodedTrajectory, encode_trajectory
from vjepa_wm.envs.goal_env import GoalEnv
from vjepa_wm.envs.picture_names import picture_names
from vjepa_wm.envs.play import Moment, play, record
from vjepa_wm.envs.policy import Policy


@dataclass(frozen=True, kw_only=True)
class EpisodeRecipe:
    """All that the episodes of a collection depend on but their numbers."""

    make_env: Callable[[], GoalEnv]
    """Makes the environment."""
    make_policy: Callable[[GoalEnv, np.random.Generator], Policy]
    """Makes the policy of one episode from a random generator of its own."""
    num_steps: int
    """Actions of an episode, unless the environment ends it earlier."""
    seed: int
    """Episode k depends only on (seed, k)."""
    task: str
    """What the episodes show, in words."""
    fps: float
    """Frames per second of the videos."""


@dataclass(frozen=True, kw_only=True)
class PlayedEpisode:
    """One episode and how it ended."""

    recording: EncodedTrajectory
    """What is stored of it."""
    success: bool
    """Whether its last step was a success."""
    short: bool
    """Whether the environment ended it before its number of steps."""


class EpisodePlayer:
    """Plays the episodes of a recipe, in any order, in one environment."""

    def __init__(self, recipe: EpisodeRecipe) -> None:
        """Make the environment.

        Args:
            recipe: what the episodes depend on.
        """
        self._recipe = recipe
        self.env = recipe.make_env().unwrapped

    def __call__(self, k: int) -> PlayedEpisode:
        """Play episode k and encode its videos.

        Args:
            k: its number.

        Raises:
            RuntimeError: if a frame is of one single colour, which is what a broken render back end gives.
        """
        recipe, env = self._recipe, self.env
        env_seed, generator = seeds_of(recipe.seed, k)
        moments = play(env, recipe.make_policy(env, generator), num_steps=recipe.num_steps, seed=env_seed)
        rollout = record((_checked(moment, k) for moment in moments), recipe.num_steps)
        names = picture_names(env.cameras)
        return PlayedEpisode(
            recording=encode_trajectory(
                {camera: rollout.pictures[name] for camera, name in names.items()},
                rollout.states,
                np.concatenate([rollout.actions, np.zeros_like(rollout.actions[:1])]),
                recipe.task,
                objects=rollout.objects,
                variation=rollout.variation,
                fps=recipe.fps,
            ),
            success=bool(rollout.reached[-1]),
            short=rollout.was_cut_short,
        )

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


def seeds_of(seed: int, k: int) -> tuple[int, np.random.Generator]:
    """Return what the randomness of episode k begins with: the environment's seed, and the policy's generator."""
    for_env, for_policy = np.random.SeedSequence((seed, k)).spawn(2)
    return int(for_env.generate_state(1)[0]), np.random.default_rng(for_policy)


def _checked(moment: Moment, k: int) -> Moment:
    """Return a moment, or raise a RuntimeError if one of its pictures shows nothing."""
    for name, picture in moment.obs.items():
        if name != "state" and picture.min() == picture.max():
            back_end = os.environ.get("MUJOCO_GL", "not set")
            raise RuntimeError(
                f"a frame of episode {k} has one single colour, {picture.min()}: the render back end draws nothing "
                f"(MUJOCO_GL is {back_end}; on a machine without a screen egl or osmesa would be right)"
            )
    return moment
