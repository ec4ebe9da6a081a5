"""What every policy is measured on: a named, versioned list of episodes with a step budget.

Numbers of two policies can only be compared on the same episodes, and only on episodes that nobody trained on or
solved by standing still. So a list is made once from a seed of its own, saved under a name, and read by every later
run. An episode is a seed and reset options, whatever they are; when it is solved only the environment says.

Letters: A numbers of an action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import numpy as np

from vjepa_wm.checks import check_at_least
from vjepa_wm.envs.goal_env import Goal, GoalEnv
from vjepa_wm.envs.play import play
from vjepa_wm.envs.policy import Policy
from vjepa_wm.envs.variation.factors import VariationConfig

HELD_OUT = 2**64
"""First word of every random stream used here; collections seed theirs with small numbers and cannot meet it."""
EPISODE_SEEDS = (2**32, 2**33)
"""Range of the seeds given to the environment, above all seeds of 32 bits that collections draw."""
MAX_TRIES = 100


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode to be played."""

    seed: int
    """Seed for the environment's reset."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the environment's reset by name, whatever it takes; what they lack the environment samples."""

    def __post_init__(self) -> None:
        """Check the types, which may come from a file."""
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise ValueError(f"seed must be a whole number, at least 0, got {self.seed!r}")
        if not isinstance(self.options, Mapping):
            raise ValueError(f"options must be options of reset by name, got {type(self.options).__name__}")

    def reset_options(self) -> dict[str, np.ndarray]:
        """Return the options as the environment takes them: lists of numbers are float64 arrays."""
        return {
            name: np.array(value, dtype=np.float64) if isinstance(value, list) else value
            for name, value in self.options.items()
        }


@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol:
    """What is measured."""

    name: str
    """Its name, under which results are compared."""
    version: int = 1
    """Raised whenever an episode or the budget changes: results of two versions are not comparable."""
    task: str
    """Name of the task."""
    steps: int
    """Actions per episode; success is judged after the last."""
    episodes: tuple[Episode, ...]
    """What is played."""
    goal_steps: tuple[int, ...] = ()
    """For how many actions each of the task's ordered goal pictures is shown, but for the last, which stays; empty: the
    goal picture alone is shown."""
    variation: Mapping[str, str] = field(default_factory=dict)
    """What changes between episodes in look and physics: fields of `VariationConfig` and their values."""
    origin: str = ""
    """How the episodes were made, in words."""

    def __post_init__(self) -> None:
        """Check what may come from a file."""
        if not self.episodes:
            raise ValueError("episodes must hold at least one episode, got none")
        for name in ("name", "task", "origin"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a text, got {getattr(self, name)!r}")
        for name in ("version", "steps"):
            if type(getattr(self, name)) is not int:
                raise ValueError(f"{name} must be a whole number, got {getattr(self, name)!r}")
        VariationConfig.of(self.variation)
        check_at_least(1, version=self.version, steps=self.steps, goal_steps=min(self.goal_steps, default=1))
        if sum(self.goal_steps) >= self.steps:
            raise ValueError(
                f"goal_steps must leave some of the {self.steps} steps to the last goal, got {self.goal_steps}"
            )

    def first(self, num_episodes: int) -> EvaluationProtocol:
        """Return the protocol with its first episodes alone.

        Raises:
            ValueError: if it has not as many.
        """
        check_at_least(1, num_episodes=num_episodes)
        if num_episodes > len(self.episodes):
            raise ValueError(
                f"episodes must be at most the {len(self.episodes)} of protocol {self.name}, got {num_episodes}"
            )
        return replace(self, episodes=self.episodes[:num_episodes])

    def with_steps(self, steps: int) -> EvaluationProtocol:
        """Return the same episodes with another budget, of which each goal picture has the same share.

        Args:
            steps: actions per episode.

        Raises:
            ValueError: if there are fewer than goal pictures.
        """
        if steps == self.steps:
            return self
        goal_steps = tuple(max(1, shown * steps // self.steps) for shown in self.goal_steps)
        return replace(self, name=f"{self.name}, {steps} steps", steps=steps, goal_steps=goal_steps)

    def with_variation(self, variation: Mapping[str, str]) -> EvaluationProtocol:
        """Return the same seeds and options where other things change between episodes.

        Args:
            variation: what changes, as the field of the same name has it; it takes the place of what did.
        """
        if variation == self.variation:
            return self
        words = ", ".join(f"{name} {value}" for name, value in variation.items()) or "nothing varied"
        return replace(self, name=f"{self.name}, {words}", variation=dict(variation))

    def goals(self, goal: Goal) -> dict[int, Goal]:
        """Return what to show, by the number of actions after which each is shown first.

        Args:
            goal: of the environment.

        Raises:
            ValueError: if the goal has not as many ordered pictures as `goal_steps` wants, or none in its
                sequence.
        """
        if not self.goal_steps:
            return {0: goal}
        parts = list(goal.get("subgoals", ()))
        if "subgoals" in goal and not parts:
            raise ValueError(
                f"protocol {self.name} shows {len(self.goal_steps) + 1} goal pictures in order, but the environment's "
                "sequence of them is empty"
            )
        if len(parts) != len(self.goal_steps) + 1:
            raise ValueError(
                f"protocol {self.name} shows {len(self.goal_steps) + 1} goal pictures in order, but the environment "
                f"gives {len(parts) or 1}"
            )
        return dict(zip((0, *accumulate(self.goal_steps)), parts, strict=True))


def make_protocol(
    env: GoalEnv,
    *,
    name: str,
    task: str,
    num_episodes: int,
    steps: int,
    seed: int,
    goal_steps: tuple[int, ...] = (),
    variation: Mapping[str, str] | None = None,
) -> EvaluationProtocol:
    """Let an environment sample starts and goals from held-out seeds, leaving out what is solved at the start.

    Episode k depends only on the environment and (seed, k), so a longer list begins with a shorter one.

    Args:
        env: environment of the task.
        name: of the protocol.
        task: name of the task.
        num_episodes: number of episodes.
        steps: actions per episode.
        seed: source of all randomness; never meets the seeds of collections.
        goal_steps: as in `EvaluationProtocol`.
        variation: as in `EvaluationProtocol`; what the environment was made with.

    Returns:
        The protocol.

    Raises:
        ValueError: if a number is out of range, or the environment starts every episode solved.
    """

    def draw(rng: np.random.Generator) -> Episode:
        """Draw a seed alone."""
        return Episode(seed=int(rng.integers(*EPISODE_SEEDS)))

    return EvaluationProtocol(
        name=name,
        task=task,
        episodes=_draw_unsolved(env, draw, num_episodes, seed),
        steps=steps,
        goal_steps=goal_steps,
        variation=dict(variation or {}),
        origin=f"starts and goals as the environment samples them, seed {seed}",
    )


def make_ahead_protocol(
    env: GoalEnv,
    make_policy: Callable[[np.random.Generator], Policy],
    *,
    name: str,
    task: str,
    num_episodes: int,
    ahead: int,
    steps: int,
    seed: int,
    latest_start: int = 0,
) -> EvaluationProtocol:
    """Take starts and goals from held-out trajectories: the goal is what the trajectory shows some steps on.

    Args:
        env: environment of the task.
        make_policy: makes the policy that plays a trajectory.
        name: of the protocol.
        task: name of the task.
        num_episodes: number of episodes.
        ahead: steps from the start to the goal.
        steps: actions per episode.
        seed: source of all randomness; never meets the seeds of collections.
        latest_start: step of the trajectory at which an episode starts at the latest.

    Returns:
        The protocol; its episodes lead to start and goal by the actions of the trajectory.

    Raises:
        ValueError: if a number is out of range, or the trajectories lead to no goal that is not reached already.

    Source: DINO-WM (arXiv 2411.04983), evaluation on Push-T.
    """
    check_at_least(1, ahead=ahead)
    check_at_least(0, latest_start=latest_start)

    def draw(rng: np.random.Generator) -> Episode:
        """Draw a stretch of a trajectory."""
        env_seed, start = int(rng.integers(*EPISODE_SEEDS)), int(rng.integers(latest_start + 1))
        moments = list(play(env, make_policy(rng), num_steps=start + ahead, seed=env_seed))
        actions = [
            [round(float(number), 4) for number in moment.action] for moment in moments if moment.action is not None
        ]
        options = {"start_actions": actions[:start]} if start else {}
        return Episode(seed=env_seed, options=options | {"goal_actions": actions[start:]})

    return EvaluationProtocol(
        name=name,
        task=task,
        episodes=_draw_unsolved(env, draw, num_episodes, seed),
        steps=steps,
        origin=f"start and goal {ahead} steps apart on held-out trajectories, seed {seed}",
    )


def _draw_unsolved(
    env: GoalEnv, draw: Callable[[np.random.Generator], Episode], num_episodes: int, seed: int
) -> tuple[Episode, ...]:
    check_at_least(1, num_episodes=num_episodes)
    check_at_least(0, seed=seed)
    return tuple(_draw_one(env, draw, np.random.default_rng((HELD_OUT, seed, k))) for k in range(num_episodes))


def _draw_one(env: GoalEnv, draw: Callable[[np.random.Generator], Episode], rng: np.random.Generator) -> Episode:
    for _ in range(MAX_TRIES):
        episode = draw(rng)
        options = episode.reset_options()
        _, info = env.reset(seed=episode.seed, options=options)
        if not info["is_success"] and _leads_to_the_goal(env, list(options.get("goal_actions", ()))):
            return episode
    raise ValueError(
        f"the environment starts every one of {MAX_TRIES} episodes solved, or walks to goals that are none"
    )


def _leads_to_the_goal(env: GoalEnv, goal_actions: Sequence[np.ndarray]) -> bool:
    """Tell whether the walk to the goal, if there is one, ends in success; a brick in hand is none, for one."""
    info = {"is_success": True}
    for action in goal_actions:
        info = env.step(action)[4]
    return bool(info["is_success"])
