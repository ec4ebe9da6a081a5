"""The loop in which a policy plays an episode, for all who play: collection, previews, evaluation, tables.

An episode depends on nothing but its seed, its options and the policy. Needs no simulator of its own.

Letters: S actions of an episode, which has S + 1 moments; P numbers of a state, A of an action, E of the objects.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vjepa_wm.envs.goal_env import GoalEnv
from vjepa_wm.envs.policy import Policy


@dataclass(frozen=True, kw_only=True, eq=False)
class Moment:
    """One moment of an episode; its arrays are its own."""

    obs: dict[str, np.ndarray]
    """The observation: pictures, and `state` (P,)."""
    info: dict[str, Any]
    """The info, with goal, distance and success."""
    action: np.ndarray | None = None
    """What led here, (A,) as the environment did it; None at the start."""
    seconds: float = 0.0
    """Time the policy took to choose it [s]."""
    has_ended: bool = False
    """Whether the environment ended the episode here."""


def play(
    env: GoalEnv, policy: Policy, *, num_steps: int, seed: int, options: Mapping[str, Any] | None = None
) -> Iterator[Moment]:
    """Play an episode moment by moment, so that whoever looks on can act in between, for example show another goal.

    Args:
        env: environment.
        policy: chooses the actions; what of them is outside the action space is cut off.
        num_steps: actions S to take, unless the environment ends the episode earlier.
        seed: of the environment.
        options: of the environment's reset.

    Yields:
        The start, and what followed each action.
    """
    obs, info = env.reset(seed=seed, options=None if options is None else dict(options))
    yield Moment(obs=_copied(obs), info=info)
    space, has_ended = env.action_space, False
    for _ in range(num_steps):
        if has_ended:
            return
        begin_s = time.perf_counter()
        wanted = policy(obs, info)
        seconds = time.perf_counter() - begin_s
        action = np.clip(np.asarray(wanted, dtype=space.dtype), space.low, space.high)
        obs, _, terminated, truncated, info = env.step(action)
        has_ended = terminated or truncated
        yield Moment(obs=_copied(obs), info=info, action=action, seconds=seconds, has_ended=has_ended)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rollout:
    """What was played of an episode, moment by moment."""

    pictures: dict[str, np.ndarray]
    """What each camera saw, by the name of the observation, (S + 1, H, W, 3) uint8."""
    states: np.ndarray
    """(S + 1, P) float32."""
    actions: np.ndarray
    """(S, A) float32."""
    objects: np.ndarray | None
    """Numbers of the objects, (S + 1, E) float32; None in a task without."""
    distances: np.ndarray
    """To the goal, (S + 1,), in the units of the environment, [m] in all of this package's own."""
    reached: np.ndarray
    """Whether each moment is a success, (S + 1,) bool."""
    goal: dict[str, Any]
    """The goal, as the environment gave it."""
    variation: dict[str, str] | None
    """What varied, if anything could."""
    seconds_per_action: float
    """Mean time the policy took to choose [s]."""
    was_cut_short: bool
    """Whether the environment ended the episode before its number of steps."""

    @property
    def frames(self) -> np.ndarray:
        """What the first camera saw, (S + 1, H, W, 3) uint8."""
        return self.pictures["image"]


def record(moments: Iterable[Moment], num_steps: int) -> Rollout:
    """Put the moments of an episode together.

    Args:
        moments: as `play` yields them.
        num_steps: actions that the episode should have.
    """
    seen = list(moments)
    first, played = seen[0], seen[1:]
    names = [name for name in first.obs if name != "state"]
    return Rollout(
        pictures={name: np.stack([moment.obs[name] for moment in seen]) for name in names},
        states=np.stack([moment.obs["state"] for moment in seen]),
        actions=np.stack([moment.action for moment in seen if moment.action is not None]),
        objects=np.stack([moment.info["object"] for moment in seen]) if "object" in first.info else None,
        distances=np.array([moment.info["distance"] for moment in seen], dtype=np.float64),
        reached=np.array([moment.info["is_success"] for moment in seen], dtype=bool),
        goal=first.info["goal"],
        variation=first.info.get("variation"),
        seconds_per_action=sum(moment.seconds for moment in played) / len(played),
        was_cut_short=len(played) < num_steps,
    )


def _copied(obs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Copy an observation, since environments may write over what they gave."""
    return {name: np.array(value) for name, value in obs.items()}
