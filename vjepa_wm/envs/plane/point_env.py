"""What the tasks of the plane have in common: the point's states and actions, start and goal, success.

P = 2 numbers of a state: x, y [m].
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from vjepa_wm.envs.goal_env import Goal, GoalEnv, GoalEnvConfig
from vjepa_wm.envs.plane.geometry import (
    CONTROL_HZ,
    HALF_WIDTH,
    POINT_ACTION_HIGH,
    POINT_RADIUS,
    SUCCESS_RADIUS,
    are_free,
)
from vjepa_wm.envs.plane.point_scene import PointScene
from vjepa_wm.envs.reset_options import check_numbers, check_options, draw_until

# A measured place may be this deep in a wall and still be asked for [m].
SLACK = 0.002


@dataclass(frozen=True, kw_only=True)
class PointConfig(GoalEnvConfig):
    """Options of the tasks of the plane."""

    cameras: tuple[str, ...] = ("top",)
    """Cameras that look on; the first one's pictures are `image`."""
    success_radius: float = SUCCESS_RADIUS
    """Largest distance of the point to the goal that counts as success [m]."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        if not 0 < self.success_radius <= 0.15:
            raise ValueError(f"success_radius must be above 0 and at most 0.15, got {self.success_radius}")


class PointEnv(GoalEnv):
    """A task of a point in the plane, seen from above: x to the right and y up, its middle at 0.

    Action, float32 (2,): displacement per control step. The point heads for the measured place plus the displacement;
    walls stop it, and it slides along them without friction. An action outside the box is clipped to it. Within the
    control step it comes to rest, so its place is all of its state.

    | entry | meaning                         | range | unit |
    | ----- | ------------------------------- | ----- | ---- |
    | 0-1   | displacement along x, y         | ± 0.1 | m    |
    """

    config: PointConfig
    metadata = GoalEnv.metadata | {"render_fps": CONTROL_HZ}
    robot_type = "point"
    control_hz = CONTROL_HZ
    state_names = ("x", "y")
    action_names = ("dx", "dy")

    def __init__(self, config: PointConfig, scene: PointScene) -> None:
        """Declare the spaces.

        Args:
            config: options.
            scene: what is simulated.
        """
        super().__init__(
            config,
            scene,
            action_space=spaces.Box(-POINT_ACTION_HIGH, POINT_ACTION_HIGH),
            state_space=spaces.Box(-HALF_WIDTH, HALF_WIDTH, (2,), np.float32),
        )
        self._plane = scene

    @abstractmethod
    def _are_apart(self, start: np.ndarray, goal: np.ndarray) -> bool:
        """Tell whether a sampled start and goal, (P,) each, make a task."""

    def sample_position(self, rng: np.random.Generator) -> np.ndarray:
        """Sample a place: a cell of the layout, all as likely, and in it a place where the point touches no wall.

        Args:
            rng: generator to draw from.

        Returns:
            State, (P,) float32.
        """
        num_cells = self._plane.num_cells
        cell = HALF_WIDTH / num_cells * (2 * rng.integers(num_cells, size=2) + 1) - HALF_WIDTH
        while True:
            position = (cell + rng.uniform(-HALF_WIDTH, HALF_WIDTH, 2) / num_cells).astype(np.float32)
            if are_free(position[None], self._plane.walls).all():
                return position

    def _begin(self, options: dict[str, Any]) -> Goal:
        start, goal = self._start_and_goal(options)
        self._plane.place(start)
        return self._plane.render_position(goal)

    def _start_and_goal(self, options: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        check_options(options, ("start", "goal"))
        given = {name: self._check_position(name, value) for name, value in options.items()}

        def draw() -> tuple[np.ndarray, np.ndarray]:
            """Draw what is not given."""
            start = given.get("start", self.sample_position(self.np_random))
            return start, given.get("goal", self.sample_position(self.np_random))

        def is_right(drawn: tuple[np.ndarray, np.ndarray]) -> bool:
            """Take what is given as it is; else keep the distance."""
            return len(given) == 2 or self._are_apart(*drawn)

        return draw_until(draw, is_right, "start and goal were not far enough apart for this task")

    def _check_position(self, name: str, value: np.ndarray) -> np.ndarray:
        position = check_numbers(name, value, self.state_names)
        if np.abs(position).max() > HALF_WIDTH:
            raise ValueError(f"{name} must lie within ± {HALF_WIDTH} m, got {position.round(3).tolist()}")
        if not are_free(position[None], self._plane.walls, POINT_RADIUS - SLACK).all():
            raise ValueError(
                f"{name} must keep {POINT_RADIUS} m from the walls of layout {self._plane.layout!r}, "
                f"got {position.round(3).tolist()}"
            )
        return position

    def _move(self, action: np.ndarray) -> None:
        self._plane.move(action)

    def _state(self) -> np.ndarray:
        return self._plane.position().astype(np.float32)

    def _info(self) -> dict[str, Any]:
        distance = float(np.linalg.norm(self._state() - self._goal["state"]))
        return {
            "goal": self._copy_of_goal(),
            "walls": self._plane.walls.copy(),
            "distance": distance,
            "is_success": distance <= self.config.success_radius,
        }

    def _reward(self, info: dict[str, Any]) -> float:
        return -info["distance"]
