"""The simplest goal-picture task: bring the gripper to where the goal picture shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from vjepa_wm.envs.arm import Arm
from vjepa_wm.envs.workspace import ACTION_HIGH, CONTROL_HZ, POSE_HIGH, POSE_LOW

STATE_LOW = np.array([-1.5, -1.5, -1.5, -np.pi, -np.pi, -np.pi, -0.1], dtype=np.float32)
STATE_HIGH = np.array([1.5, 1.5, 1.5, np.pi, np.pi, np.pi, 1.1], dtype=np.float32)
# A measured pose may lie this far outside the workspace and still be asked for [m, rad, gripper].
POSE_SLACK = 0.01


@dataclass(frozen=True, kw_only=True)
class ReachConfig:
    """Options of `ReachEnv`."""

    image_size: int = 128
    """Height and width S of the pictures [px]."""
    max_steps: int | None = None
    """Control steps after which an episode is truncated; None: never."""
    success_radius: float = 0.05
    """Largest distance of the tool centre point to the goal's that counts as success [m]."""
    min_distance: float = 0.15
    """Smallest distance between a sampled start and a sampled goal [m]."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 16 <= self.image_size <= 1024:
            raise ValueError(f"image_size must be between 16 and 1024, got {self.image_size}")
        if self.max_steps is not None and self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, or None for no limit, got {self.max_steps}")
        if not 0 < self.success_radius < self.min_distance <= 0.25:
            raise ValueError(
                "success_radius and min_distance must satisfy 0 < success_radius < min_distance <= 0.25, "
                f"got {self.success_radius} and {self.min_distance}"
            )


class ReachEnv(gymnasium.Env):
    """Bring the tool centre point of a Franka-like arm to where it is in a goal picture.

    Positions are in the frame of the robot's base: x forward, y left, z up. Angles are extrinsic xyz Euler angles of
    the tool frame, whose z axis points from the fingers to the wrist: straight down, all angles are zero.

    Action, float32 (7,): displacement per control step. The arm heads for the measured pose plus the displacement,
    clipped to the workspace; an action outside the box is clipped to it.

    | entry | meaning                                                       | range   | unit |
    | ----- | ------------------------------------------------------------- | ------- | ---- |
    | 0-2   | displacement of the tool centre point along x, y, z           | ± 0.075 | m    |
    | 3-5   | rotation R_next R_now^T about fixed axes, as xyz Euler angles | ± 0.2   | rad  |
    | 6     | change of the gripper, + closes                               | ± 1     |      |

    Observation:

    | key   | entry | meaning                                       | workspace                                 | unit |
    | ----- | ----- | --------------------------------------------- | ----------------------------------------- | ---- |
    | image |       | fixed camera, uint8 (S, S, 3), RGB            |                                           |      |
    | state | 0-2   | x, y, z of the tool centre point, float32     | 0.38 .. 0.64, -0.25 .. 0.25, 0.10 .. 0.42 | m    |
    | state | 3-5   | roll, pitch, yaw                              | ± 0.1, ± 0.1, ± 0.6                       | rad  |
    | state | 6     | gripper, 0 open .. 1 closed                   | 0 .. 1                                    |      |

    Start and goal: at rest, gripper straight down and open, tool centre point uniform in the workspace, at least
    `min_distance` apart; or given as `options={"start": state, "goal": state}` of `reset`. The goal picture is that of
    the exact goal state; since the joints are a function of the pose, the arm that arrives there looks the same.

    Info: `goal` (`image`, `state`), `distance` of the tool centre point to the goal's [m], and `is_success`: that
    distance is at most `success_radius`. The reward is minus the distance. `terminated` is always False, so that
    success can be judged at the last step of an episode as well as at any; `truncated` is True from step `max_steps`.

    Control rate: `control_hz` = 5.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": CONTROL_HZ}
    control_hz = CONTROL_HZ

    def __init__(self, config: ReachConfig | None = None) -> None:
        """Build the simulation.

        Args:
            config: options; None: the defaults.
        """
        self.config = config or ReachConfig()
        self.render_mode = "rgb_array"
        size = self.config.image_size
        self.action_space = spaces.Box(-ACTION_HIGH, ACTION_HIGH)
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (size, size, 3), np.uint8),
                "state": spaces.Box(STATE_LOW, STATE_HIGH),
            }
        )
        self._arm = Arm(size)
        self._goal: dict[str, np.ndarray] | None = None
        self._num_steps = 0

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode.

        Args:
            seed: seed of the environment's generator; None: carry on with it.
            options: "start" and "goal", each a state (7,); what is missing is sampled.

        Returns:
            Observation and info.

        Raises:
            ValueError: if an option is unknown or not a state within the workspace.
        """
        super().reset(seed=seed)
        start, goal = self._start_and_goal(dict(options or {}))
        self._arm.place(start)
        self._num_steps = 0
        image, state = self._arm.render_pose(goal)
        self._goal = {"image": image, "state": state.astype(np.float32)}
        return self._observe(), self._info()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Run one control step and look.

        Args:
            action: displacement, (7,); see the table above.

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
        return self._observe(), -info["distance"], False, truncated, info

    def advance(self, action: np.ndarray) -> np.ndarray:
        """Run one control step without rendering, for a planner that uses the simulator as its dynamics.

        Args:
            action: displacement, (7,); see the table above.

        Returns:
            The state after it, (7,) float32.

        Raises:
            ValueError: if the action has another shape or is not finite.
        """
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (7,) or not np.isfinite(action).all():
            raise ValueError(f"action must be 7 finite numbers, got {action.tolist()} of shape {action.shape}")
        self._arm.move(np.clip(action, -ACTION_HIGH, ACTION_HIGH))
        self._num_steps += 1
        return self._state()

    def sample_pose(self, rng: np.random.Generator) -> np.ndarray:
        """Sample a start or goal: straight down, open, position uniform in the workspace.

        Args:
            rng: generator to draw from.

        Returns:
            State, (7,) float32.
        """
        pose = np.zeros(7, dtype=np.float32)
        pose[:3] = rng.uniform(POSE_LOW[:3], POSE_HIGH[:3])
        return pose

    def render(self) -> np.ndarray:
        """Return the picture of the arm as it is, (S, S, 3) uint8."""
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

    def _start_and_goal(self, options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        unknown = sorted(set(options) - {"start", "goal"})
        if unknown:
            raise ValueError(f"options of reset must be 'start' and 'goal', got {unknown}")
        given = {name: _check_pose(name, value) for name, value in options.items()}
        while True:
            start = given.get("start", self.sample_pose(self.np_random))
            goal = given.get("goal", self.sample_pose(self.np_random))
            if len(given) == 2 or np.linalg.norm(start[:3] - goal[:3]) >= self.config.min_distance:
                return start, goal

    def _observe(self) -> dict[str, np.ndarray]:
        return {"image": self._arm.render(), "state": self._state()}

    def _state(self) -> np.ndarray:
        return self._arm.pose().astype(np.float32)

    def _info(self) -> dict[str, Any]:
        distance = float(np.linalg.norm(self._state()[:3] - self._goal["state"][:3]))
        # Copies, since callers may write to what they get.
        goal = {name: value.copy() for name, value in self._goal.items()}
        return {"goal": goal, "distance": distance, "is_success": distance <= self.config.success_radius}


def _check_pose(name: str, value: np.ndarray) -> np.ndarray:
    pose = np.asarray(value, dtype=np.float64)
    if pose.shape != (7,) or not np.isfinite(pose).all():
        raise ValueError(f"{name} must be a state of 7 finite numbers, got {pose.tolist()} of shape {pose.shape}")
    if (pose < POSE_LOW - POSE_SLACK).any() or (pose > POSE_HIGH + POSE_SLACK).any():
        workspace = f"{POSE_LOW.tolist()} .. {POSE_HIGH.tolist()}"
        raise ValueError(f"{name} must lie in the workspace {workspace}, got {pose.round(3).tolist()}")
    return pose
