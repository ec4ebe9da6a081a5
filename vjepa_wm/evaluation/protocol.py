"""The list of starts and goals that every policy is measured on, and how sure a success rate is.

Numbers of two policies can only be compared on the same episodes, and only on episodes that nobody trained on or
solved by standing still. So the list is made once from a seed of its own, saved, and read by every later run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from vjepa_wm.models.pose import POSE_DIM

HELD_OUT = 2**64
"""First word of every random stream used here; collections seed theirs with small numbers and cannot meet it."""

EPISODE_SEEDS = (2**32, 2**33)
"""Range of the seeds given to the environment, above all seeds of 32 bits that collections draw."""

MAX_TRIES = 1000


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One start and one goal.

    Attributes:
        seed: seed for `env.reset`.
        start: pose of the gripper at the first frame, 7 numbers [m, rad, 0..1].
        goal: pose of the gripper in the goal picture, 7 numbers.

    Raises:
        ValueError: if the seed is negative or a pose is not 7 finite numbers.
    """

    seed: int
    start: tuple[float, ...]
    goal: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        for name in ("start", "goal"):
            pose = getattr(self, name)
            if len(pose) != POSE_DIM or not all(math.isfinite(value) for value in pose):
                raise ValueError(f"{name} must be {POSE_DIM} finite numbers, got {list(pose)}")

    @property
    def distance(self) -> float:
        """Give the distance between start and goal [m]."""
        return math.dist(self.start[:3], self.goal[:3])


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is measured: the episodes and when one counts as a success.

    Attributes:
        task: name of the environment's task.
        episodes: starts and goals.
        steps: actions per episode.
        seed: what the list was made from.
        min_distance: least distance of a start to its goal [m].
        success_radius: distance below which the task counts as solved [m].

    Raises:
        ValueError: if there is no episode or step, the radius reaches the least distance, or a start is too near.
    """

    task: str
    episodes: tuple[Episode, ...]
    steps: int
    seed: int
    min_distance: float = 0.15
    success_radius: float = 0.05

    def __post_init__(self) -> None:
        if not self.episodes:
            raise ValueError("episodes must hold at least one episode, got none")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        _check_distances(self.min_distance, self.success_radius)
        for index, episode in enumerate(self.episodes):
            if episode.distance < self.min_distance:
                raise ValueError(
                    f"every start must be at least min_distance {self.min_distance} m from its goal, "
                    f"episode {index} has {episode.distance:.3f} m"
                )


def make_protocol(
    env: gymnasium.Env,
    *,
    task: str,
    num_episodes: int,
    steps: int,
    seed: int,
    min_distance: float = Protocol.min_distance,
    success_radius: float = Protocol.success_radius,
) -> Protocol:
    """Draw starts and goals from an environment's own poses, leaving out what is solved at the start.

    Episode k depends only on the environment, the distances and (seed, k), so a longer list begins with a shorter one.

    Args:
        env: environment with `sample_pose(rng) -> (7,)`, whose reset takes the options "start" and "goal".
        task: name of its task.
        num_episodes: number of episodes.
        steps: actions per episode.
        seed: source of all randomness; never meets the seeds of collections.
        min_distance: least distance of a start to its goal [m].
        success_radius: distance below which the task counts as solved [m].

    Returns:
        The protocol.

    Raises:
        ValueError: if a count or distance is out of range, or no pair of poses is far enough apart.
    """
    if num_episodes < 1:
        raise ValueError(f"num_episodes must be at least 1, got {num_episodes}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    _check_distances(min_distance, success_radius)
    episodes = tuple(
        _draw_episode(env, np.random.default_rng((HELD_OUT, seed, k)), min_distance) for k in range(num_episodes)
    )
    return Protocol(
        task=task,
        episodes=episodes,
        steps=steps,
        seed=seed,
        min_distance=min_distance,
        success_radius=success_radius,
    )


def save_protocol(protocol: Protocol, path: str | Path) -> None:
    """Write a protocol as json; floats keep every digit."""
    Path(path).write_text(json.dumps(asdict(protocol), indent=2) + "\n")


def load_protocol(path: str | Path) -> Protocol:
    """Read what `save_protocol` wrote.

    Args:
        path: the json file.

    Returns:
        The protocol.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not json, lacks a field, has one too many or holds a value out of range.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no protocol at {path}; `save_protocol` writes one")
    try:
        content = json.loads(path.read_text())
        content = _fields_of(Protocol, content)
        if not isinstance(content["episodes"], list):
            raise ValueError(f"episodes must be a list, got {type(content['episodes']).__name__}")
        content["episodes"] = tuple(_read_episode(index, entry) for index, entry in enumerate(content["episodes"]))
        return Protocol(**content)
    except (ValueError, TypeError) as error:  # also what json raises
        raise ValueError(f"{path} is not a protocol: {error}") from error


def wilson_interval(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Give the Wilson score interval of a success rate.

    Args:
        successes: number of successes.
        n: number of episodes.
        z: width in standard deviations; the default gives 95 %.

    Returns:
        Lower and upper bound, within 0..1.

    Raises:
        ValueError: if n is below 1 or successes is not within 0..n.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"successes must be within 0..n and n at least 1, got {successes} of {n}")
    share = successes / n
    scale = 1 / (1 + z * z / n)
    centre = scale * (share + z * z / (2 * n))
    half = scale * z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # at 0 and n the bounds are exactly 0 and 1; rounding must not move them
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return low, high


def _draw_episode(env: gymnasium.Env, rng: np.random.Generator, min_distance: float) -> Episode:
    """Draw pairs of poses until the environment itself calls one far apart and unsolved."""
    seed = int(rng.integers(*EPISODE_SEEDS))
    for _ in range(MAX_TRIES):
        start, goal = env.unwrapped.sample_pose(rng), env.unwrapped.sample_pose(rng)
        episode = Episode(seed=seed, start=tuple(map(float, start)), goal=tuple(map(float, goal)))
        if episode.distance < min_distance:
            continue
        _, info = env.reset(seed=seed, options={"start": start, "goal": goal})
        if not info["is_success"]:
            return episode
    raise ValueError(
        f"min_distance {min_distance} m is too large for the environment: none of {MAX_TRIES} pairs of poses is so far "
        "apart and unsolved"
    )


def _check_distances(min_distance: float, success_radius: float) -> None:
    if not 0 < success_radius < min_distance < math.inf:
        raise ValueError(
            f"min_distance must exceed success_radius and both be positive, got {min_distance} and {success_radius}"
        )


def _fields_of(kind: type, content: Any) -> dict[str, Any]:
    """Check that a json object has exactly the fields of a dataclass."""
    if not isinstance(content, Mapping):
        raise ValueError(f"{kind.__name__} must be a json object, got {type(content).__name__}")
    names = [field.name for field in fields(kind)]
    missing = [name for name in names if name not in content]
    unknown = [name for name in content if name not in names]
    if missing or unknown:
        raise ValueError(
            f"{kind.__name__} must have the fields {', '.join(names)}; "
            f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
        )
    return dict(content)


def _read_episode(index: int, entry: Any) -> Episode:
    try:
        content = _fields_of(Episode, entry)
        return Episode(seed=content["seed"], start=tuple(content["start"]), goal=tuple(content["goal"]))
    except (ValueError, TypeError) as error:
        raise ValueError(f"episode {index}: {error}") from error
