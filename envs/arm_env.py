"""What all tasks of the arm have in common as gymnasium environments: spaces, steps, saving and restoring.

A task adds where an episode starts, what its goal is, and when it is reached. P = 7 entries of a pose.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from vjepa_wm.envs.arm import Arm
from vjepa_wm.envs.workspace import ACTION_HIGH, CONTROL_HZ, Workspace

STATE_LOW = np.array([-1.5, -1.5, -1.5, -np.pi, -np.pi, -np.pi, -0.1], dtype=np.float32)
STATE_HIGH = np.array([1.5, 1.5, 1.5, np.pi, np.pi, np.pi, 1.1], dtype=np.float32)
# A measured pose may lie this far outside the workspace and still be asked for [m, rad, gripper].
POSE_SLACK = 0.01


@dataclass(frozen=True, kw_only=True)
class ArmEnvConfig:
    """Options of every task of the arm."""

    image_size: int = 128
    """Height and width S of the pictures [px]."""
    max_steps: int | None = None
    """Control steps after which an episode is truncated; None: never."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 16 <= self.image_size <= 1024:
            raise ValueError(f"image_size must be between 16 and 1024, got {self.image_size}")
        if self.max_steps is not None and self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, or None for no limit, got {self.max_steps}")


class ArmEnv(gymnasium.Env, ABC):
    """A task of the arm; `terminated` is always False, so that success can be judged at any step or at the last."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": CONTROL_HZ}
    control_hz = CONTROL_HZ
    object_names: tuple[str, ...] = ()
    """What the numbers of `info["object"]` are; empty for tasks without objects."""

    def __init__(self, config: ArmEnvConfig, arm: Arm) -> None:
        """Declare the spaces.

        Args:
            config: options.
            arm: the simulated scene.
        """
        self.config = config
        self.render_mode = "rgb_array"
        size = config.image_size
        self.action_space = spaces.Box(-ACTION_HIGH, ACTION_HIGH)
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (size, size, 3), np.uint8),
                "state": spaces.Box(STATE_LOW, STATE_HIGH),
            }
        )
        self._arm = arm
        self._goal: dict[str, np.ndarray] | None = None
        self._num_steps = 0

    @property
    def workspace(self) -> Workspace:
        """Where the tool may be."""
        return self._arm.workspace

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode.

        Args:
            seed: seed of the environment's generator; None: carry on with it.
            options: start and goal, as the task names them; what is missing is sampled.

        Returns:
            Observation and info.

        Raises:
            ValueError: if an option is unknown or cannot be.
        """
        super().reset(seed=seed)
        self._goal = self._begin(dict(options or {}))
        self._num_steps = 0
        return self._observe(), self._info()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Run one control step and look.

        Args:
            action: displacement, (7,); see the table of the task.

        Returns:
            Observation, reward, terminated, truncated, info.

        Raises:
            ValueError: if the action has another shape or is not finite.
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if self._goal is None:
            raise gymnasium.error.ResetNeeded("call reset() before step(): there is no goal yet")
        self.advance(action)
        info = self._info()
        truncated = self.config.max_steps is not None and self._num_steps >= self.config.max_steps
        return self._observe(), self._reward(info), False, truncated, info

    def advance(self, action: np.ndarray) -> np.ndarray:
        """Run one control step without rendering, for a planner that uses the simulator as its dynamics.

        Args:
            action: displacement, (7,); see the table of the task.

        Returns:
            The state after it, (7,) float32.

        Raises:
            ValueError: if the action has another shape or is not finite.
        """
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (7,) or not np.isfinite(action).all():
            raise ValueError(f"action must be 7 finite numbers, got {action.tolist()} of shape {action.shape}")
        self._move(np.clip(action, -ACTION_HIGH, ACTION_HIGH))
        self._num_steps += 1
        return self._state()

    def render(self) -> np.ndarray:
        """Return the picture of the scene as it is, (S, S, 3) uint8."""
        return self._arm.render()

    def get_state(self) -> np.ndarray:
        """Return all that the coming steps depend on but the goal: physics, targets, step count; float64 vector."""
        return np.append(self._arm.get_state(), float(self._num_steps))

    def set_state(self, state: np.ndarray) -> None:
        """Restore exactly what `get_state` returned, here or in another environment; the goal stays as it is.

        Args:
            state: vector of `get_state`.

        Raises:
            ValueError: if it has another shape.
        """
        expected = self._arm.state_size + 1
        state = np.asarray(state, dtype=np.float64)
        if state.shape != (expected,):
            raise ValueError(f"state must be what get_state returns, of shape ({expected},), got shape {state.shape}")
        self._arm.set_state(state[:-1])
        self._num_steps = int(state[-1])

    def close(self) -> None:
        """Free the renderer."""
        self._arm.close()

    @abstractmethod
    def _begin(self, options: dict[str, Any]) -> dict[str, np.ndarray]:
        """Put the scene into its start and return the goal."""

    @abstractmethod
    def _info(self) -> dict[str, Any]:
        """Return goal, distance and success."""

    @abstractmethod
    def _reward(self, info: dict[str, Any]) -> float:
        """Return the reward of a step."""

    def _move(self, action: np.ndarray) -> None:
        self._arm.move(action)

    def _observe(self) -> dict[str, np.ndarray]:
        return {"image": self._arm.render(), "state": self._state()}

    def _state(self) -> np.ndarray:
        return self._arm.pose().astype(np.float32)

    def _copy_of_goal(self) -> dict[str, np.ndarray]:
        # Copies, since callers may write to what they get.
        return {name: value.copy() for name, value in self._goal.items()}


def check_options(options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raise a ValueError unless all options of `reset` are known."""
    unknown = sorted(set(options) - set(known))
    if unknown:
        names = ", ".join(map(repr, known[:-1])) + f" and {known[-1]!r}"
        raise ValueError(f"options of reset must be {names}, got {unknown}")


def check_pose(name: str, value: np.ndarray, workspace: Workspace) -> np.ndarray:
    """Return a pose of the tool as float64.

    Args:
        name: what it is, for the message.
        value: the pose, (P,).
        workspace: where it must lie.

    Raises:
        ValueError: if it is not 7 finite numbers in the workspace.
    """
    pose = np.asarray(value, dtype=np.float64)
    if pose.shape != (7,) or not np.isfinite(pose).all():
        raise ValueError(f"{name} must be a state of 7 finite numbers, got {pose.tolist()} of shape {pose.shape}")
    if (pose < workspace.low - POSE_SLACK).any() or (pose > workspace.high + POSE_SLACK).any():
        limits = f"{workspace.low.tolist()} .. {workspace.high.tolist()}"
        raise ValueError(f"{name} must lie in the workspace {limits}, got {pose.round(3).tolist()}")
    return pose
