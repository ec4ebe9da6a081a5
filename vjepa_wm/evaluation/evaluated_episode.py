"""One episode of a protocol, played by an agent, and the record of it from which every number and curve is made.

Agents are given pictures and the robot's state only: distances and success are read from the simulator after their
actions and never reach them.

Letters: S actions of an episode.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vjepa_wm.agents.agent import Agent, ScriptedAgent, policy_of
from vjepa_wm.agents.ordered_goals import OrderedGoals
from vjepa_wm.envs.goal_env import Goal, GoalEnv
from vjepa_wm.envs.play import Rollout, play, record
from vjepa_wm.evaluation.protocol import Episode, EvaluationProtocol


@dataclass(frozen=True, kw_only=True)
class EpisodeResult:
    """What an episode came to; entry 0 of each list belongs to the start."""

    seed: int
    """Of the episode."""
    distances: tuple[float, ...]
    """True distance to the goal before the first and after every action, S + 1 numbers, in the environment's units."""
    reached: tuple[bool, ...]
    """Whether the environment calls each moment a success, S + 1."""
    energies: tuple[float, ...] | None
    """Energy of the same frames against the goal picture shown then, S + 1; None for an agent without energy."""
    seconds_per_action: float
    """Mean time the agent took to choose an action [s]."""
    states: tuple[tuple[float, ...], ...] | None = None
    """State of the robot at the same moments, rounded, (S + 1, P); None: an older record."""
    objects: tuple[tuple[float, ...], ...] | None = None
    """Numbers of the objects at the same moments, rounded; None: a task without, or an older record."""

    def __post_init__(self) -> None:
        """Check the lengths, which may come from a file."""
        parts = (self.distances, self.reached, self.energies, self.states, self.objects)
        lengths = {len(part) for part in parts if part is not None}
        if len(lengths) > 1 or min(lengths) < 2:
            raise ValueError(
                f"distances, reached, energies, states and objects must be of one length, at least 2, got {lengths}"
            )

    @property
    def success_last(self) -> bool:
        """Whether the task was solved after the last action."""
        return self.reached[-1]

    @property
    def success_ever(self) -> bool:
        """Whether it was solved after any action."""
        return any(self.reached[1:])

    @property
    def first_reached(self) -> int | None:
        """After how many actions it was solved first; None: never."""
        return self.reached.index(True, 1) if self.success_ever else None

    def to_json(self) -> str:
        """Write the record as json; floats keep every digit."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_json(cls, text: str) -> EpisodeResult:
        """Read what `to_json` wrote.

        Raises:
            ValueError: if it is not such a record.
        """
        content: Any = json.loads(text)
        names = set(cls.__dataclass_fields__)
        if not isinstance(content, Mapping) or not names - {"states", "objects"} <= set(content) <= names:
            raise ValueError(f"an episode's record must have {', '.join(cls.__dataclass_fields__)}")
        values: dict[str, Any] = {name: _tuples(content.get(name)) for name in cls.__dataclass_fields__}
        for name, is_right in _RULES.items():
            if not is_right(values[name]):
                raise ValueError(f"{name} of an episode's record must not be {json.dumps(content.get(name))[:60]}")
        return cls(**values)


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluatedEpisode:
    """An episode's record, and what is only looked at."""

    result: EpisodeResult
    """The record."""
    rollout: Rollout
    """Pictures, states and actions."""
    goal_pictures: dict[int, np.ndarray]
    """The pictures the agent was shown, (H, W, 3) uint8, by the number of actions after which each was shown first."""


def play_episode(
    agent: Agent | ScriptedAgent,
    env: GoalEnv,
    protocol: EvaluationProtocol,
    episode: Episode,
    *,
    seed: int,
    goal_image: np.ndarray | None = None,
) -> EvaluatedEpisode:
    """Play one episode from its start to its last step, solved or not.

    Args:
        agent: what chooses the actions.
        env: environment of the protocol's task.
        protocol: says how many actions, and which goal pictures are shown when.
        episode: what is played.
        seed: decides all that the agent draws.
        goal_image: picture to show the agent instead of the goal's own, (H, W, 3) uint8; distances still refer to the
            goal of the episode.

    Returns:
        The record and what was seen.

    Raises:
        ValueError: if the environment starts the episode solved or ends it early, or lacks the pictures to show.
    """
    moments = play(env, policy_of(agent), num_steps=protocol.steps, seed=episode.seed, options=episode.reset_options())
    seen = [next(moments)]
    energies: list[float | None] = []
    if seen[0].info["is_success"]:
        raise ValueError(f"the episode with seed {episode.seed} is solved before the first action")
    goals = {0: {"image": goal_image}} if goal_image is not None else protocol.goals(seen[0].info["goal"])
    ordered = agent if isinstance(agent, OrderedGoals) else None
    _show(agent, goals[0], seed)
    if ordered is not None:
        ordered.show_goals([goal["image"] for goal in goals.values()], [2 * steps for steps in protocol.goal_steps])
    for moment in moments:
        energies.append(agent.last_energy)
        seen.append(moment)
        if len(energies) in goals and ordered is None:
            _show(agent, goals[len(energies)])
    if len(energies) < protocol.steps:
        raise ValueError(f"steps must fit the environment, which ended after {len(energies)} of {protocol.steps} steps")
    energies.append(agent.measure(seen[-1].obs["image"]))
    rollout = record(seen, protocol.steps)
    shown = goals if ordered is None else dict(zip(ordered.shown, goals.values(), strict=False))
    pictures = {step: np.array(goal["image"]) for step, goal in shown.items()}
    return EvaluatedEpisode(result=_result_of(rollout, energies, episode.seed), rollout=rollout, goal_pictures=pictures)


def _result_of(rollout: Rollout, energies: list[float | None], seed: int) -> EpisodeResult:
    """Return the record of an episode; energies (S + 1,) count only if there is one of every moment."""
    return EpisodeResult(
        seed=seed,
        distances=tuple(rollout.distances.tolist()),
        reached=tuple(rollout.reached.tolist()),
        energies=None if None in energies else tuple(number for number in energies if number is not None),
        seconds_per_action=rollout.seconds_per_action,
        states=_rounded(rollout.states),
        objects=None if rollout.objects is None else _rounded(rollout.objects),
    )


def _show(agent: Agent | ScriptedAgent, goal: Goal, seed: int | None = None) -> None:
    """Show an agent a goal: its picture, and the robot's state at it only if it asks for that."""
    if seed is None:
        agent.show_goal(np.array(goal["image"]))
    else:
        agent.reset(np.array(goal["image"]), seed)
    if not isinstance(agent, ScriptedAgent) and agent.wants_goal_state:
        if "state" not in goal:
            raise ValueError("goal_state must be read where a goal picture comes without the robot's state")
        agent.show_goal_state(np.array(goal["state"]))


def _rounded(values: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """Return numbers of moments to a hundredth of a millimetre, which a record has room for."""
    return tuple(map(tuple, values.astype(np.float64).round(5).tolist()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_is_number, value))


def _are_rows(value: Any) -> bool:
    """Tell whether a value is rows of numbers, all of one length, or None."""
    if value is None:
        return True
    return isinstance(value, tuple) and all(map(_are_numbers, value)) and len({len(row) for row in value}) == 1


# What a record out of a file may hold, by name of the field.
_RULES: dict[str, Callable[[Any], bool]] = {
    "seed": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "distances": _are_numbers,
    "reached": lambda value: isinstance(value, tuple) and all(isinstance(one, bool) for one in value),
    "energies": lambda value: value is None or _are_numbers(value),
    "seconds_per_action": _is_number,
    "states": _are_rows,
    "objects": _are_rows,
}


def _tuples(value: Any) -> Any:
    """Return lists as tuples, also those within lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
