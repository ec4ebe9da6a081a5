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

import gymnasium
import numpy as np
from tqdm import tqdm

from vjepa_wm.checks import check_at_least
from vjepa_wm.data.collection.episode_player import EpisodePlayer, EpisodeRecipe, Policy, picture_names
from vjepa_wm.data.trajectories.writer import TrajectoryWriter
from vjepa_wm.parallel.run_numbered import run_numbered


@dataclass(frozen=True, kw_only=True)
class CollectReport:
    """What a collection did.

    Attributes:
        num_found: episodes that were there before.
        num_added: episodes recorded now.
        num_frames: moments recorded now, each seen by all cameras.
        num_short: episodes recorded now that the environment ended before `num_steps`.
        num_success: episodes recorded now whose last step was a success.
    """

    num_found: int
    num_added: int
    num_frames: int
    num_short: int
    num_success: int


def collect(
    make_env: Callable[[], gymnasium.Env],
    make_policy: Callable[[np.random.Generator], Policy],
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
        make_env: makes the environment. Its observations hold `state`, (P,), and `image`, uint8 (H, W, 3), what the
            writer's first camera sees, and `image_<camera>` for each further one; if it has `object_names`, its infos
            hold `object`, one number for each.
        make_policy: makes the policy of one episode from a random generator of its own.
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
        ValueError: num_episodes, num_steps or workers is out of its range, the observations lack something, or the
            writer's rate, cameras, names or objects are not the environment's.
        RuntimeError: a frame is of one single colour, which is what a broken render back end gives; or with workers,
            an error was raised in one, or an episode's process died three times.
    """
    check_at_least(1, num_episodes=num_episodes, num_steps=num_steps)
    recipe = EpisodeRecipe(
        make_env=make_env,
        make_policy=make_policy,
        cameras=writer.cameras,
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


def _check_environment(env: gymnasium.Env, writer: TrajectoryWriter) -> None:
    """Raise a ValueError unless an environment is one that the writer can record."""
    lacking = {*picture_names(writer.cameras), "state"} - set(env.observation_space.keys())
    if lacking:
        raise ValueError(
            f"observations must hold state and the pictures of the cameras {', '.join(writer.cameras)}; "
            f"{', '.join(sorted(lacking))} is missing"
        )
    own = env.unwrapped
    for name, of_writer, of_env in (
        ("fps", writer.fps, getattr(own, "control_hz", writer.fps)),
        ("cameras", writer.cameras, getattr(own, "cameras", writer.cameras)),
        ("state_names", writer.state_names, getattr(own, "state_names", writer.state_names)),
        ("action_names", writer.action_names, getattr(own, "action_names", writer.action_names)),
        ("object_names", writer.object_names, getattr(own, "object_names", ())),
    ):
        if of_writer != of_env:
            raise ValueError(f"{name} of the writer must be that of the environment, {of_env}, got {of_writer}")
