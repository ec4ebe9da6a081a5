"""What all goal-picture tasks have in common as gymnasium environments: spaces, steps, pictures, saving and restoring.

A task adds where an episode starts, what its goal is, and when it is reached. P = numbers of a state, A of an action.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import gymnasium
import numpy as np
from gymnasium import spaces

from vjepa_wm.envs.picture_names import picture_names
from vjepa_wm.envs.render.back_end import RendererName
from vjepa_wm.envs.simulation import Simulation
from vjepa_wm.envs.variation.factors import VariationConfig, draw

Goal = dict[str, Any]
"""`image` (and `image_<camera>`), `state`, with objects `object`; with parts in order `subgoals`, a list of such."""
WALKS = ("start_actions", "goal_actions")


@dataclass(frozen=True, kw_only=True)
class GoalEnvConfig:
    """Options of every task."""

    image_size: int = 128
    """Height and width S of the pictures [px]."""
    max_steps: int | None = None
    """Control steps after which an episode is truncated; None: never."""
    cameras: tuple[str, ...] = ("front",)
    """Cameras that look on; the first one's pictures are `image`."""
    renderer: RendererName = "auto"
    """What draws: gl, ray (slower, needs no graphics library), or the first of them that this machine has."""
    variation: VariationConfig = field(default_factory=VariationConfig)
    """What changes between episodes in look and physics."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 16 <= self.image_size <= 1024:
            raise ValueError(f"image_size must be between 16 and 1024, got {self.image_size}")
        if self.max_steps is not None and self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, or None for no limit, got {self.max_steps}")


class GoalEnv(gymnasium.Env, ABC):
    """A task with goal pictures.

    `terminated` is always False, so that success can be judged at any step or at the last.

    `options` of `reset` may give start and goal as the task names them. Any task also takes two walks from there,
    actions (K, A) played before the episode begins: "start_actions" lead from the start to another one, "goal_actions"
    on to a state that becomes the goal; its picture is taken and the start restored.

    Attributes:
        robot_type: name of what moves, for data sets.
        control_hz: control steps per second.
        state_names: what the P numbers of `obs["state"]` are.
        action_names: what the A numbers of an action are.
        object_names: what the numbers of `info["object"]` are; empty for tasks without objects.
        cameras: names of the cameras that look on.
        known_cameras: names of all cameras that could.
        factors: what can vary between episodes, and the values of each.
    """

    metadata = gymnasium.Env.metadata | {"render_modes": ["rgb_array"]}
    robot_type: str = "unknown"
    control_hz: int
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    object_names: tuple[str, ...] = ()
    action_space: spaces.Box
    observation_space: spaces.Dict

    def __init__(
        self, config: GoalEnvConfig, scene: Simulation, *, action_space: spaces.Box, state_space: spaces.Box
    ) -> None:
        """Declare the spaces.

        Args:
            config: options.
            scene: what is simulated.
            action_space: box of A numbers.
            state_space: box of P numbers.

        Raises:
            ValueError: if the task lacks a factor that is to vary.
        """
        self.config = config
        self.render_mode = "rgb_array"
        self.cameras = scene.cameras
        self.action_space = action_space
        picture = spaces.Box(0, 255, (config.image_size, config.image_size, 3), np.uint8)
        names = picture_names(scene.cameras).values()
        self.observation_space = spaces.Dict(dict.fromkeys(names, picture) | {"state": state_space})
        self._scene = scene
        self.known_cameras, self.factors = scene.known_cameras, scene.factors
        self._asked = config.variation.chosen(self.factors)
        self._goal: Goal = {}  # until the first reset
        self._num_steps = 0

    @property
    def unwrapped(self) -> Self:
        """The environment itself."""
        return self

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode.

        Args:
            seed: seed of the environment's generator; None: carry on with it.
            options: start and goal, as the task names them, and walks from there; what is missing is sampled.

        Returns:
            Observation and info.

        Raises:
            ValueError: if an option is unknown or cannot be.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        walks = {name: self._check_walk(name, given.pop(name)) for name in WALKS if name in given}
        self._vary()
        self._goal = self._begin(given)
        self._walk(**walks)
        self._num_steps = 0
        return self._observe(), self._whole_info()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Run one control step and look.

        Args:
            action: displacement, (A,); see the table of the task.

        Returns:
            Observation, reward, terminated, truncated, info.

        Raises:
            ValueError: if the action has another shape or is not finite.
            gymnasium.error.ResetNeeded: if there has been no reset.
        """
        if not self._goal:
            raise gymnasium.error.ResetNeeded("call reset() before step(): there is no goal yet")
        self.advance(action)
        info = self._whole_info()
        truncated = self.config.max_steps is not None and self._num_steps >= self.config.max_steps
        return self._observe(), self._reward(info), False, truncated, info

    def advance(self, action: np.ndarray) -> np.ndarray:
        """Run one control step without rendering, for a planner that uses the simulator as its dynamics.

        Args:
            action: displacement, (A,); see the table of the task.

        Returns:
            The state after it, (P,) float32.

        Raises:
            ValueError: if the action has another shape or is not finite.
        """
        action = np.asarray(action, dtype=np.float64)
        (size,) = self.action_space.shape
        if action.shape != (size,) or not np.isfinite(action).all():
            raise ValueError(f"action must be {size} finite numbers, got {action.tolist()} of shape {action.shape}")
        self._move(np.clip(action, self.action_space.low, self.action_space.high))
        self._num_steps += 1
        return self._state()

    def render(self) -> np.ndarray:
        """Return the first camera's picture of the scene as it is, (S, S, 3) uint8."""
        return self._scene.picture()

    def get_state(self) -> np.ndarray:
        """Return all that the coming steps and pictures depend on but the goal, as a float64 vector.

        These are physics, targets, variation and step count.
        """
        return np.append(self._scene.get_state(), float(self._num_steps))

    def set_state(self, state: np.ndarray) -> None:
        """Restore exactly what `get_state` returned, here or in another environment; the goal stays as it is.

        Args:
            state: vector of `get_state`.

        Raises:
            ValueError: if it has another shape.
        """
        expected = self._scene.state_size + 1
        state = np.asarray(state, dtype=np.float64)
        if state.shape != (expected,):
            raise ValueError(f"state must be what get_state returns, of shape ({expected},), got shape {state.shape}")
        self._scene.set_state(state[:-1])
        self._num_steps = int(state[-1])

    def close(self) -> None:
        """Free the renderer."""
        self._scene.close()

    @abstractmethod
    def _begin(self, options: dict[str, Any]) -> Goal:
        """Put the scene into its start and return the goal."""

    @abstractmethod
    def _move(self, action: np.ndarray) -> None:
        """Run one control step."""

    @abstractmethod
    def _state(self) -> np.ndarray:
        """Return the state, (P,) float32."""

    @abstractmethod
    def _info(self) -> dict[str, Any]:
        """Return goal, distance and success."""

    @abstractmethod
    def _reward(self, info: dict[str, Any]) -> float:
        """Return the reward of a step."""

    def _vary(self) -> None:
        if self._asked:
            # Of a generator of its own, so that starts and goals are the same whatever varies.
            rng = np.random.default_rng(copy.deepcopy(self.np_random).integers(2**63))
            self._scene.vary(draw(self._asked, self.factors, rng), rng)

    def _whole_info(self) -> dict[str, Any]:
        return self._info() | ({"variation": dict(self._scene.variation)} if self._asked else {})

    def _check_walk(self, name: str, actions: Any) -> np.ndarray:
        walk = np.asarray(actions, dtype=np.float64)
        (size,) = self.action_space.shape
        if walk.ndim != 2 or walk.shape[1] != size or not np.isfinite(walk).all():
            raise ValueError(f"{name} must be finite actions of {size} numbers each, got shape {walk.shape}")
        return walk

    def _walk(self, start_actions: np.ndarray | None = None, goal_actions: np.ndarray | None = None) -> None:
        """Play from the start to another one, and on to a state that becomes the goal."""
        for action in () if start_actions is None else start_actions:
            self.advance(action)
        if goal_actions is None:
            return
        start = self._scene.get_state()
        for action in goal_actions:
            self.advance(action)
        self._goal = self._goal_here()
        self._scene.set_state(start)

    def _goal_here(self) -> Goal:
        """Return the state as it is as a goal."""
        objects = {"object": np.array(self._info()["object"])} if self.object_names else {}
        return self._scene.pictures() | {"state": self._state()} | objects

    def _observe(self) -> dict[str, np.ndarray]:
        return self._scene.pictures() | {"state": self._state()}

    def _copy_of_goal(self) -> Goal:
        # Copies, since callers may write to what they get.
        return _copied(self._goal)


def _copied(goal: Goal) -> Goal:
    copied = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in goal.items()}
    if "subgoals" in goal:
        copied["subgoals"] = [_copied(subgoal) for subgoal in goal["subgoals"]]
    return copied
