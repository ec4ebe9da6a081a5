"""Any gymnasium environment whose state can be saved and restored, as an environment with goal pictures.

It is told, in a `ForeignTask`, what the environment cannot say itself: which numbers are the robot's state, how to come
into a state that may be a goal, and what distance counts. Its dynamics stay what they are, to the last bit.

Letters: S image size, P numbers of the robot's state, E of the objects, A of an action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from vjepa_wm.envs.adapters.mujoco_simulation import Dress, Memory, MujocoSimulation
from vjepa_wm.envs.goal_env import Goal, GoalEnv, GoalEnvConfig, Simulation, check_options

NUM_TRIES = 100  # goals drawn until one is far enough from the start


@dataclass(frozen=True, kw_only=True)
class ForeignTask:
    """What the adapter must be told about an environment; the functions get it without its wrappers.

    Attributes:
        control_hz: actions per second, those that `repeat` adds not counted.
        state_names: what the P numbers of the robot's state are.
        action_names: what the A numbers of an action are.
        read_state: returns the robot's state, (P,).
        enter_goal: brings the environment, just reset, into a state that may be a goal, with random numbers from the
            generator: by playing, or by setting a state and letting it settle. `wander` is one for all environments.
        distance: how far the first is from the second, [m] where that makes sense; each is a dict with `state`, (P,),
            and, if there are objects, `object`, (E,).
        success_radius: largest distance that counts as success.
        min_distance: smallest distance of a sampled goal from the start; at least `success_radius` avoids episodes
            that begin with success.
        object_names: what the E numbers of the objects are; empty without objects.
        read_object: returns the objects' numbers, (E,); None without objects.
        repeat: how often the environment is given each action, for one whose steps are shorter than is worth a picture.
    """

    control_hz: int
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    read_state: Callable[[gymnasium.Env], np.ndarray]
    enter_goal: Callable[[gymnasium.Env, np.random.Generator], None]
    distance: Callable[[Mapping[str, np.ndarray], Mapping[str, np.ndarray]], float]
    success_radius: float
    min_distance: float = 0.0
    object_names: tuple[str, ...] = ()
    read_object: Callable[[gymnasium.Env], np.ndarray] | None = None
    repeat: int = 1

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.control_hz < 1 or self.repeat < 1:
            raise ValueError(f"control_hz and repeat must be at least 1, got {self.control_hz} and {self.repeat}")
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
        self, env: gymnasium.Env, simulation: Simulation, task: ForeignTask, config: GoalEnvConfig | None = None
    ) -> None:
        """Take over an environment.

        Args:
            env: as `gymnasium.make` returns it, or without wrappers; nothing else may use it any more.
            simulation: its state and pictures.
            task: what to know about it.
            config: options; None: the defaults. Size of pictures and cameras must be those of the simulation.

        Raises:
            ValueError: if the environment has wrappers of somebody's own, its actions are not A numbers, or something
                shall vary.
        """
        env, config = without_wrappers(env), config or GoalEnvConfig()
        shape, num_names = env.action_space.shape, len(task.action_names)
        if not isinstance(env.action_space, spaces.Box) or shape != (num_names,):
            raise ValueError(
                f"action_space must be a Box of {num_names} numbers, as action_names, got {env.action_space}"
            )
        limit = np.finfo(np.float32).max  # all numbers; gymnasium's checker suspects an infinite box of being a mistake
        state_space = spaces.Box(-limit, limit, (len(task.state_names),), np.float32)
        super().__init__(config, simulation, action_space=env.action_space, state_space=state_space)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": task.control_hz}
        self.control_hz = task.control_hz
        self.state_names, self.action_names, self.object_names = task.state_names, task.action_names, task.object_names
        self._env, self._task = env, task
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
                self._task.enter_goal(self._env, self.np_random)
            goal = self._scene.pictures() | self._now()
            self._scene.set_state(start)
            if "goal" in options or self._task.distance(now, goal) >= self._task.min_distance:
                return goal
        raise RuntimeError(
            f"enter_goal must lead at least min_distance {self._task.min_distance} from the start, "
            f"but in {NUM_TRIES} tries it did not"
        )

    def _move(self, action: np.ndarray) -> None:
        action = action.astype(self.action_space.dtype)
        for _ in range(self._task.repeat):
            _, _, terminated, truncated, _ = self._env.step(action)
            self._ended = (bool(terminated), bool(truncated))
            if any(self._ended):
                break

    def _state(self) -> np.ndarray:
        return _numbers("read_state", self._task.read_state(self._env), self.state_names)

    def _info(self) -> dict[str, Any]:
        now = self._now()
        distance = float(self._task.distance(now, self._goal))
        info = {"goal": self._copy_of_goal(), "distance": distance, "is_success": distance <= self._task.success_radius}
        return info | ({"object": now["object"]} if self.object_names else {})

    def _reward(self, info: dict[str, Any]) -> float:
        return -info["distance"]

    def _now(self) -> dict[str, np.ndarray]:
        now = {"state": self._state()}
        if self._task.read_object is not None:
            now["object"] = _numbers("read_object", self._task.read_object(self._env), self.object_names)
        return now


def adapt_mujoco(
    env: gymnasium.Env,
    task: ForeignTask,
    config: GoalEnvConfig | None = None,
    *,
    xml: Path | str | None = None,
    dress: Dress | None = None,
    memory: Memory | None = None,
) -> ForeignEnv:
    """Make an environment that MuJoCo simulates into one with goal pictures.

    Args:
        env: as `gymnasium.make` returns it, with `model` and `data`; nothing else may use it any more.
        task: what to know about it.
        config: options; None: the defaults. The cameras are those of the XML and those that `dress` adds.
        xml: MuJoCo's file of the environment; None: its attribute `fullpath`, which most environments have.
        dress: changes how the pictures look: adds cameras, hides, colours; see `MujocoSimulation`.
        memory: what the coming steps depend on beside MuJoCo's state; None: nothing.

    Returns:
        The environment.

    Raises:
        ValueError: if the environment, its file or the cameras are not as they must be.
        RuntimeError: if this machine cannot render as asked.
    """
    env, config = without_wrappers(env), config or GoalEnvConfig()
    return ForeignEnv(env, MujocoSimulation(env, config, xml=xml, dress=dress, memory=memory), task, config)


def wander(env: gymnasium.Env, rng: np.random.Generator, *, num_steps: int = 50, hold: int = 10) -> None:
    """Play random actions: an `enter_goal` for every environment, its goals reachable but as often in motion as not.

    Args:
        env: environment to play.
        rng: generator to draw from.
        num_steps: how many of its steps.
        hold: for how many steps an action is kept.
    """
    for k in range(num_steps):
        if k % hold == 0:
            action = rng.uniform(env.action_space.low, env.action_space.high).astype(env.action_space.dtype)
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
