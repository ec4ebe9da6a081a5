"""Any gymnasium environment whose state can be saved and restored, as an environment with goal pictures.

It is told, in a `ForeignSpec`, what the environment cannot say itself: which numbers are the robot's state, how to come
into a state that may be a goal, and what distance counts. Its dynamics stay what they are, to the last bit.

Letters: S image size, P numbers of the robot's state, E of the objects, A of an action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from vjepa_wm.checks import check_at_least
from vjepa_wm.envs.goal_env import Goal, GoalEnv, GoalEnvConfig
from vjepa_wm.envs.policy import PolicyName
from vjepa_wm.envs.reset_options import check_options
from vjepa_wm.envs.simulation import Simulation
from vjepa_wm.envs.task import ActionLimits, PolicyMaker, Task

NUM_TRIES = 100  # goals drawn until one is far enough from the start


@dataclass(frozen=True, kw_only=True)
class ForeignSpec:
    """What the adapter must be told about an environment; the functions get it without its wrappers."""

    control_hz: int
    """Actions per second, those that `repeat` adds not counted."""
    state_names: tuple[str, ...]
    """What the P numbers of the robot's state are."""
    action_names: tuple[str, ...]
    """What the A numbers of an action are."""
    read_state: Callable[[gymnasium.Env], np.ndarray]
    """Returns the robot's state, (P,)."""
    enter_goal: Callable[[gymnasium.Env, np.random.Generator], None]
    """Brings the environment, just reset, into a state that may be a goal, with random numbers from the generator: by
    playing, or by setting a state and letting it settle. `wander` is one for all environments."""
    distance: Callable[[Mapping[str, np.ndarray], Mapping[str, np.ndarray]], float]
    """How far the first is from the second, [m] where that makes sense; each is a dict with `state`, (P,), and, with
    objects, `object`, (E,)."""
    success_radius: float
    """Largest distance that counts as success."""
    min_distance: float = 0.0
    """Smallest distance of a sampled goal from the start; from `success_radius` on, no episode begins solved."""
    object_names: tuple[str, ...] = ()
    """What the E numbers of the objects are; empty without objects."""
    read_object: Callable[[gymnasium.Env], np.ndarray] | None = None
    """Returns the objects' numbers, (E,); None without objects."""
    repeat: int = 1
    """How often the environment is given each action, for one whose steps are shorter than is worth a picture."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least(1, control_hz=self.control_hz, repeat=self.repeat)
        if self.success_radius <= 0 or self.min_distance < 0:
            raise ValueError(
                "success_radius must be positive and min_distance not negative, "
                f"got {self.success_radius} and {self.min_distance}"
            )
        if bool(self.object_names) != (self.read_object is not None):
            raise ValueError(
                "object_names and read_object must be given together, "
                f"got {self.object_names} and {'a function' if self.read_object else None}"
            )


class ForeignEnv(GoalEnv):
    """An environment of somebody else with the observations, infos and states of this package's tasks.

    | what             | is                                                                                          |
    | ---------------- | ------------------------------------------------------------------------------------------- |
    | action           | the environment's own: same box, same meaning, same units; given `repeat` times             |
    | obs["state"]     | `read_state`, float32 (P,); "image" and "image_<camera>" are the pictures, uint8 (S, S, 3)  |
    | start            | the environment's own, by its `reset`                                                       |
    | goal             | a state `enter_goal` came to: `image`, `state`, `object`; the start is restored exactly     |
    | info             | `goal`, `distance`, `is_success`, and `object` if there are objects                         |
    | reward           | minus the distance; the environment's own is about a goal of its own                        |
    | terminated       | as the environment says                                                                     |
    | truncated        | from step `max_steps` on, or as the environment says                                        |

    `options` of `reset` may give "start" and "goal", vectors of `get_state`; "goal" is the state in the goal picture.
    """

    def __init__(
        self, env: gymnasium.Env, simulation: Simulation, spec: ForeignSpec, config: GoalEnvConfig | None = None
    ) -> None:
        """Take over an environment.

        Args:
            env: as `gymnasium.make` returns it, or without wrappers; nothing else may use it any more.
            simulation: its state and pictures.
            spec: what to know about it.
            config: options; None: the defaults. Size of pictures and cameras must be those of the simulation.

        Raises:
            ValueError: if the environment has wrappers of somebody's own, its actions are not A numbers, or something
                shall vary.
        """
        env, config = without_wrappers(env), config or GoalEnvConfig()
        shape, num_names = env.action_space.shape, len(spec.action_names)
        if not isinstance(env.action_space, spaces.Box) or shape != (num_names,):
            raise ValueError(
                f"action_space must be a Box of {num_names} numbers, as action_names, got {env.action_space}"
            )
        limit = np.finfo(np.float32).max  # all numbers; gymnasium's checker suspects an infinite box of being a mistake
        state_space = spaces.Box(-limit, limit, (len(spec.state_names),), np.float32)
        super().__init__(config, simulation, action_space=env.action_space, state_space=state_space)
        self.metadata = GoalEnv.metadata | {"render_fps": spec.control_hz}
        self.control_hz = spec.control_hz
        self.state_names, self.action_names, self.object_names = spec.state_names, spec.action_names, spec.object_names
        self._env, self._spec = env, spec
        self._ended = (False, False)

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Run one control step and look; arguments, returns and errors as `GoalEnv.step`, and see the table."""
        obs, reward, _, truncated, info = super().step(action)
        return obs, reward, self._ended[0], truncated or self._ended[1], info

    def close(self) -> None:
        """Free the renderers."""
        super().close()
        self._env.close()

    def _begin(self, options: dict[str, Any]) -> Goal:
        check_options(options, ("start", "goal"))
        self._env.reset(seed=int(self.np_random.integers(2**31)))
        self._ended = (False, False)
        if "start" in options:
            self.set_state(options["start"])
        start, now = self._scene.get_state(), self._now()
        for _ in range(NUM_TRIES):
            if "goal" in options:
                self.set_state(options["goal"])
            else:
                self._spec.enter_goal(self._env, self.np_random)
            goal = self._scene.pictures() | self._now()
            self._scene.set_state(start)
            if "goal" in options or self._spec.distance(now, goal) >= self._spec.min_distance:
                return goal
        raise RuntimeError(
            f"enter_goal must lead at least min_distance {self._spec.min_distance} from the start, "
            f"but in {NUM_TRIES} tries it did not"
        )

    def _move(self, action: np.ndarray) -> None:
        action = action.astype(self.action_space.dtype)
        for _ in range(self._spec.repeat):
            _, _, terminated, truncated, _ = self._env.step(action)
            self._ended = (bool(terminated), bool(truncated))
            if any(self._ended):
                break

    def _state(self) -> np.ndarray:
        return _numbers("read_state", self._spec.read_state(self._env), self.state_names)

    def _info(self) -> dict[str, Any]:
        now = self._now()
        distance = float(self._spec.distance(now, self._goal))
        info = {"goal": self._copy_of_goal(), "distance": distance, "is_success": distance <= self._spec.success_radius}
        return info | ({"object": now["object"]} if self.object_names else {})

    def _reward(self, info: dict[str, Any]) -> float:
        return -info["distance"]

    def _now(self) -> dict[str, np.ndarray]:
        now = {"state": self._state()}
        if self._spec.read_object is not None:
            now["object"] = _numbers("read_object", self._spec.read_object(self._env), self.object_names)
        return now


def foreign_task(
    name: str,
    make_env: Callable[..., GoalEnv],
    *,
    aim: str,
    success_rule: str,
    action_size: Sequence[float],
    usual_steps: int,
    policies: Mapping[PolicyName, PolicyMaker] | None = None,
) -> Task:
    """Return somebody else's environment as a task, which collection, training, planning and evaluation take.

    Args:
        name: of the task; on the command line it is `module:name_of_the_variable`.
        make_env: makes the environment; takes the fields of `GoalEnvConfig` by name, and imports mujoco itself.
        aim: what is to be done, in a few words that begin with a verb.
        success_rule: when the goal is reached, in words.
        action_size: how far a plan may move each of the A numbers of an action, mostly the bounds of its box.
        usual_steps: actions of an episode.
        policies: what makes its expert, noisy_expert and play, as far as there are any; random ones there always are.

    Returns:
        The task.
    """
    return Task(
        name=name,
        aim=aim,
        success_rule=success_rule,
        make_env=make_env,
        limits=ActionLimits(size=tuple(action_size)),
        usual_steps=usual_steps,
        policies=policies or {},
    )


def wander(env: gymnasium.Env, rng: np.random.Generator, *, num_steps: int = 50, hold: int = 10) -> None:
    """Play random actions: an `enter_goal` for every environment, its goals reachable but as often in motion as not.

    Args:
        env: environment to play.
        rng: generator to draw from.
        num_steps: how many of its steps.
        hold: for how many steps an action is kept.
    """
    space = cast(spaces.Box, env.action_space)
    for k in range(num_steps):
        if k % hold == 0:
            action = rng.uniform(space.low, space.high).astype(space.dtype)
        env.step(action)


def without_wrappers(env: gymnasium.Env) -> gymnasium.Env:
    """Take off the wrappers `gymnasium.make` puts around an environment; its time limit is `max_steps` here.

    Raises:
        ValueError: if there are others, whose effect would be lost and whose state could not be saved.
    """
    while isinstance(env, gymnasium.Wrapper):
        own = (gymnasium.wrappers.PassiveEnvChecker, gymnasium.wrappers.OrderEnforcing, gymnasium.wrappers.TimeLimit)
        if not isinstance(env, own):
            raise ValueError(
                f"env must have no wrappers but gymnasium.make's own, got {type(env).__name__}; wrap the result instead"
            )
        env = env.env
    return env


def _numbers(function: str, value: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    numbers = np.array(value, dtype=np.float32)
    if numbers.shape != (len(names),):
        raise ValueError(f"{function} must return {len(names)} numbers ({', '.join(names)}), got shape {numbers.shape}")
    return numbers
