"""Recording of a policy in an environment as a trajectory data set.

Why this file exists: it joins an environment, a policy and a recorder, all passed in, so that the same loop serves
every task, every policy and any number of processes. Episode k depends on nothing but (seed, k): a collection that was
stopped goes on where it ended and gives the same files, whoever plays the episodes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
from tqdm import tqdm

from vjepa_wm.checks import check_at_least
from vjepa_wm.data.collection.episode_player import EpisodePlayer, EpisodeRecipe
from vjepa_wm.data.trajectories.writer import TrajectoryWriter
from vjepa_wm.envs.goal_env import GoalEnv
from vjepa_wm.envs.picture_names import picture_names
from vjepa_wm.envs.policy import Policy
from vjepa_wm.parallel.run_numbered import run_numbered


@dataclass(frozen=True, kw_only=True)
class CollectReport:
    """What a collection did."""

    num_found: int
    """Episodes that were there before."""
    num_added: int
    """Episodes recorded now."""
    num_frames: int
    """Moments recorded now, each seen by all cameras."""
    num_short: int
    """Episodes recorded now that the environment ended before `num_steps`."""
    num_success: int
    """Episodes recorded now whose last step was a success."""


def collect(
    make_env: Callable[[], GoalEnv],
    make_policy: Callable[[GoalEnv, np.random.Generator], Policy],
    writer: TrajectoryWriter,
    *,
    num_episodes: int,
    num_steps: int,
    seed: int,
    task: str,
    workers: int = 0,
    ray: str | None = None,
    progress: bool = True,
) -> CollectReport:
    """Record episodes until the data set has as many as wanted.

    Args:
        make_env: makes the environment, whose cameras, names and rate must be the writer's.
        make_policy: makes the policy of one episode from the environment and a random generator of its own.
        writer: recorder; episodes it already has are not recorded again.
        num_episodes: episodes the data set shall have in the end.
        num_steps: actions of an episode; it has one frame more, unless the environment ends it earlier.
        seed: episode k depends only on (seed, k).
        task: what the episodes show, in words.
        workers: processes that play, to which make_env and make_policy are sent pickled; 0: this process plays.
        ray: address of a Ray cluster that plays, or `local`: a cluster of this machine with `workers` cores.
        progress: whether to show a progress bar.

    Returns:
        Counts of what was recorded.

    Raises:
        ValueError: if num_episodes, num_steps or workers is out of its range, the observations lack something, or the
            writer's rate, cameras, names or objects are not the environment's.
        RuntimeError: if a frame is of one single colour, which is what a broken render back end gives; or with workers,
            an error was raised in one, or an episode's process died three times.
    """
    check_at_least(1, num_episodes=num_episodes, num_steps=num_steps)
    check_at_least(0, workers=workers)
    recipe = EpisodeRecipe(
        make_env=make_env,
        make_policy=make_policy,
        num_steps=num_steps,
        seed=seed,
        task=task,
        fps=writer.fps,
    )
    num_found, num_frames_found, num_short, num_success = writer.num_episodes, writer.num_frames, 0, 0
    numbers = range(num_found, num_episodes)
    with closing(EpisodePlayer(recipe)) as player:
        _check_environment(player.env, writer)
    with (
        closing(run_numbered(partial(EpisodePlayer, recipe), numbers, workers=workers, ray=ray)) as episodes,
        tqdm(total=num_episodes, initial=num_found, desc="collect", unit="episode", disable=not progress) as bar,
    ):
        for episode in episodes:
            writer.add_encoded(episode.recording)
            num_short += episode.short
            num_success += episode.success
            bar.update()
    return CollectReport(
        num_found=num_found,
        num_added=writer.num_episodes - num_found,
        num_frames=writer.num_frames - num_frames_found,
        num_short=num_short,
        num_success=num_success,
    )


def _check_environment(env: GoalEnv, writer: TrajectoryWriter) -> None:
    """Raise a ValueError unless an environment is one that the writer can record."""
    lacking = {*picture_names(writer.cameras).values(), "state"} - set(env.observation_space.keys())
    if lacking:
        raise ValueError(
            f"observations must hold state and the pictures of the cameras {', '.join(writer.cameras)}; "
            f"{', '.join(sorted(lacking))} is missing"
        )
    for name in ("fps", "cameras", "state_names", "action_names", "object_names"):
        of_writer, of_env = getattr(writer, name), env.control_hz if name == "fps" else getattr(env, name)
        if of_writer != of_env:
            raise ValueError(f"{name} of the writer must be that of the environment, {of_env}, got {of_writer}")
