"""The loop that plays a protocol with an agent and writes down what happened.

The agent is given pictures and poses only: distances and success are read from the simulator after its actions and
never reach it. No number is reduced here, so that tables, figures and videos are made from one record.

Letters: S steps of an episode.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import gymnasium
import numpy as np
from tqdm import tqdm

from vjepa_wm.evaluation.agents import Agent
from vjepa_wm.evaluation.protocol import Episode, Protocol


@dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeResult:
    """One played episode; entry 0 of each list belongs to the start.

    Attributes:
        distances: true distance to the goal before the first and after every action, (S + 1,) [m].
        energies: energy of the same frames against the goal, (S + 1,); None for an agent without energy.
        success_last: whether the task was solved after the last action.
        success_ever: whether it was solved after any action.
        frames: what the camera saw, (S + 1, H, W, 3) uint8.
        goal_image: the goal picture, (H, W, 3) uint8.
        seconds_per_action: mean time the agent took to choose an action [s].
    """

    distances: np.ndarray
    energies: np.ndarray | None
    success_last: bool
    success_ever: bool
    frames: np.ndarray
    goal_image: np.ndarray
    seconds_per_action: float


@dataclass(frozen=True, kw_only=True, eq=False)
class PolicyResult:
    """All episodes of one policy.

    Attributes:
        policy: its name in tables and files.
        episodes: one record per episode of the protocol, in its order.
    """

    policy: str
    episodes: tuple[EpisodeResult, ...]

    @property
    def num_success_last(self) -> int:
        """Count the episodes solved at the last step."""
        return sum(episode.success_last for episode in self.episodes)

    @property
    def num_success_ever(self) -> int:
        """Count the episodes solved at any step."""
        return sum(episode.success_ever for episode in self.episodes)

    @property
    def mean_final_distance(self) -> float:
        """Average the distance after the last action [m]."""
        return float(np.mean([episode.distances[-1] for episode in self.episodes]))

    @property
    def seconds_per_action(self) -> float:
        """Average the time to choose an action [s]."""
        return float(np.mean([episode.seconds_per_action for episode in self.episodes]))


def evaluate(
    agent: Agent, env: gymnasium.Env, protocol: Protocol, *, policy: str, progress: bool = True
) -> PolicyResult:
    """Play every episode of a protocol to its last step, solved or not.

    Args:
        agent: what chooses the actions.
        env: the environment of the protocol's task.
        protocol: starts, goals and number of steps.
        policy: name of the agent in the results.
        progress: whether to show a progress bar.

    Returns:
        The record of all episodes.

    Raises:
        ValueError: if the environment starts an episode solved, or ends one before the protocol does.
    """
    episodes: list[EpisodeResult] = []
    with tqdm(protocol.episodes, desc=policy, unit="episode", disable=not progress) as bar:
        for episode in bar:
            episodes.append(play_episode(agent, env, episode, protocol.steps))
            bar.set_postfix_str(f"solved {sum(result.success_last for result in episodes)} of {len(episodes)}")
    return PolicyResult(policy=policy, episodes=tuple(episodes))


def play_episode(
    agent: Agent, env: gymnasium.Env, episode: Episode, steps: int, *, goal_image: np.ndarray | None = None
) -> EpisodeResult:
    """Play one episode from its start.

    Args:
        agent: what chooses the actions.
        env: the environment.
        episode: start and goal.
        steps: actions to take.
        goal_image: picture to show the agent instead of the goal's own, (H, W, 3) uint8; distances still refer to the
            goal of the episode.

    Returns:
        The record.

    Raises:
        ValueError: if the environment starts the episode solved, or ends it early.
    """
    options = {"start": np.array(episode.start), "goal": np.array(episode.goal)}
    obs, info = env.reset(seed=episode.seed, options=options)
    if info["is_success"]:
        raise ValueError(f"the episode with seed {episode.seed} is solved before the first action")
    goal_image = np.array(info["goal"]["image"]) if goal_image is None else goal_image
    agent.reset(goal_image)
    frames, distances, energies, solved, seconds = [np.array(obs["image"])], [info["distance"]], [], [], 0.0
    for step in range(1, steps + 1):
        begin = time.perf_counter()
        action = agent.act(obs["image"], obs["state"])
        seconds += time.perf_counter() - begin
        energies.append(agent.last_energy)
        obs, _, terminated, truncated, info = env.step(action)
        frames.append(np.array(obs["image"]))
        distances.append(info["distance"])
        solved.append(bool(info["is_success"]))
        if (terminated or truncated) and step < steps:
            raise ValueError(f"steps must fit the environment, which ended after {step} of {steps} steps")
    energies.append(agent.measure(obs["image"]))
    return EpisodeResult(
        distances=np.array(distances),
        energies=None if None in energies else np.array(energies),
        success_last=solved[-1],
        success_ever=any(solved),
        frames=np.stack(frames),
        goal_image=goal_image,
        seconds_per_action=seconds / steps,
    )
