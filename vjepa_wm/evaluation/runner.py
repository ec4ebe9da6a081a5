"""Plays a protocol with several policies, by one process or many, and leaves a record of every episode.

Every episode depends on nothing but the protocol, the policy and the seed: results do not depend on who played which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from vjepa_wm.agents.agent import Agent, ScriptedAgent
from vjepa_wm.data.media.video import encode_video
from vjepa_wm.envs.goal_env import GoalEnv
from vjepa_wm.evaluation.drawing import draw_episode
from vjepa_wm.evaluation.evaluated_episode import EpisodeResult, play_episode
from vjepa_wm.evaluation.protocol import EvaluationProtocol
from vjepa_wm.evaluation.results_folder import ResultsFolder, save_episode
from vjepa_wm.parallel.run_numbered import run_numbered

CRF, GOP = 23, 32
"""Of the videos, which are only looked at: a quarter of the size that pictures to learn from would have, or less."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PolicyResult:
    """All episodes of one policy."""

    policy: str
    """Its name in tables and files."""
    episodes: tuple[EpisodeResult, ...]
    """One record per episode of the protocol, in its order."""


class Job(NamedTuple):
    """One episode of one policy."""

    policy: str
    """Who plays."""
    k: int
    """Number of the episode."""


class Stand(NamedTuple):
    """An agent and the environment it acts in, which whoever made them closes."""

    agent: Agent | ScriptedAgent
    """Chooses the actions."""
    env: GoalEnv
    """Environment of the protocol's task."""
    simulator: GoalEnv | None = None
    """Another instance that the agent plans with, if it does."""

    def close(self) -> None:
        """Close the environments."""
        for env in (self.env, self.simulator):
            if env is not None:
                env.close()


MakeStand = Callable[[str], Stand]
"""Makes agent and environment of a policy, by its name; pickled where other processes play."""


class JobPlayer:
    """Plays jobs, in any order; makes each policy's agent and environment once."""

    def __init__(
        self, make_stand: MakeStand, protocol: EvaluationProtocol, jobs: Sequence[Job], seed: int, folder: Path | None
    ) -> None:
        """Remember what to do.

        Args:
            make_stand: makes agent and environment of a policy.
            protocol: what is measured.
            jobs: what there is to play.
            seed: with the number of an episode it decides all that an agent draws.
            folder: of the evaluation, to write into as soon as an episode was played; None: it cannot be reached here.
        """
        self._make_stand, self._protocol, self._jobs = make_stand, protocol, jobs
        self._seed, self._folder = seed, folder
        self._stands: dict[str, Stand] = {}

    def __call__(self, number: int) -> tuple[EpisodeResult, bytes]:
        """Play a job.

        Args:
            number: its place in the list of jobs.

        Returns:
            The record and the content of the video.
        """
        policy, k = self._jobs[number]
        if policy not in self._stands:
            self._stands[policy] = self._make_stand(policy)
        agent, env, _ = self._stands[policy]
        played = play_episode(agent, env, self._protocol, self._protocol.episodes[k], seed=episode_seed(self._seed, k))
        video = encode_video(draw_episode(played), env.control_hz, crf=CRF, gop=GOP)
        if self._folder is not None:
            save_episode(self._folder, policy, k, played.result, video)
        return played.result, video

    def close(self) -> None:
        """Close the environments."""
        for stand in self._stands.values():
            stand.close()


def evaluate(
    make_stand: MakeStand,
    protocol: EvaluationProtocol,
    policies: Sequence[str],
    results: ResultsFolder,
    *,
    seed: int,
    workers: int = 0,
    ray: str | None = None,
    progress: bool = True,
) -> list[PolicyResult]:
    """Play every episode of a protocol with every policy, but for those that were played before.

    Args:
        make_stand: makes agent and environment of a policy.
        protocol: what is measured.
        policies: names of the policies.
        results: folder of the evaluation.
        seed: with the number of an episode it decides all that an agent draws.
        workers: processes that play, one thread each; 0: this process plays.
        ray: address of a Ray cluster that plays, or `local`: a cluster of this machine with `workers` cores.
        progress: whether to show a progress bar.

    Returns:
        The records of all episodes, those that were there before included.

    Raises:
        ValueError: if an environment starts an episode solved or ends it early, or a record is damaged.
        RuntimeError: if with workers an error was raised in one, or an episode's process died three times.
    """
    everything = [Job(policy, k) for policy in policies for k in range(len(protocol.episodes))]
    records = {job: results.load(*job) for job in everything if results.is_played(*job)}
    jobs = [job for job in everything if job not in records]
    folder = None if ray is not None else results.folder.absolute()
    make_player = partial(JobPlayer, make_stand, protocol, jobs, seed, folder)
    with (
        closing(run_numbered(make_player, range(len(jobs)), workers=workers, ray=ray)) as played,
        tqdm(total=len(everything), initial=len(records), unit="episode", disable=not progress) as bar,
    ):
        for job, (result, video) in zip(jobs, played, strict=True):
            if folder is None:
                save_episode(results.folder, *job, result, video)
            results.check()
            records[job] = result
            bar.set_description(job.policy, refresh=False)
            bar.update()
    return [
        PolicyResult(policy=policy, episodes=tuple(records[Job(policy, k)] for k in range(len(protocol.episodes))))
        for policy in policies
    ]


def episode_seed(seed: int, k: int) -> int:
    """Return the seed of all that an agent draws in episode k."""
    return int(np.random.SeedSequence((seed, k)).generate_state(1)[0])
