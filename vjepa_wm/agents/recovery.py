"""A rule that leaves fixed points: where an action moved nothing, a random displacement is added to the next one.

Why this file exists: a policy without memory that stands still once stands still for ever, pressed against a wall or
over an object it does not see well enough. Such fixed points are half of all failures of a proposal, and most are left
by a push in any direction. The rule reads the robot's own state and the energy against the goal, no simulator.

Letters: A action, P state, L numbers of the state that an action moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vjepa_wm.envs.task import ActionLimits


@dataclass(frozen=True, kw_only=True)
class RecoveryConfig:
    """When the robot is called stuck, and what is done about it."""

    least_command: float = 0.25
    """An action that asks for less, as a share of the task's largest step, is no sign of being stuck."""
    moved_share: float = 0.3
    """Stuck is who moved less than this share of what the action asked for."""
    rest: float = 0.08
    """Resting is who moved less than this share of the largest step."""
    rest_steps: int = 2
    """Resting for so many steps while the goal is far is being stuck too."""
    push: float = 0.5
    """Size of the random displacement, as a share of the largest step."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("least_command", "moved_share", "rest", "push"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {getattr(self, name)}")
        if self.rest_steps < 1:
            raise ValueError(f"rest_steps must be at least 1, got {self.rest_steps}")


class Recovery:
    """Watches an episode and adds to its actions.

    Attributes:
        num_pushes: displacements added in this episode.
    """

    def __init__(self, limits: ActionLimits, config: RecoveryConfig | None = None) -> None:
        """Keep what moves the robot.

        Args:
            limits: of the task; the first numbers of an action move those of the state that it limits, or all of them
                where it limits none.
            config: the rule.
        """
        self._config = config or RecoveryConfig()
        size = np.array(limits.size)
        self._moved = slice(0, len(limits.state_low) or len(size))
        self._unit = np.where(size > 0, size, np.inf)[self._moved]
        self._size = size[self._moved]
        self._away = np.array(limits.away or (-1.0,) * len(self._size))
        self.num_pushes = 0
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self.num_pushes = 0
        self._last_state: np.ndarray | None = None
        self._last_action: np.ndarray | None = None
        self._rested = 0

    def __call__(
        self, action: np.ndarray, state: np.ndarray, *, goal_is_far: bool, generator: torch.Generator
    ) -> np.ndarray:
        """Return the action to execute.

        Args:
            action: what would be done, (A,).
            state: of the robot, (P,).
            goal_is_far: whether what is seen differs from the goal by more than a small step's worth.
            generator: source of the displacement.

        Returns:
            The action, or the action with a displacement, (A,).
        """
        if self._is_stuck(state, goal_is_far):
            action = self._pushed(action, generator)
        self._last_state, self._last_action = state.copy(), action.copy()
        return action

    def _is_stuck(self, state: np.ndarray, goal_is_far: bool) -> bool:
        if self._last_state is None or self._last_action is None:
            return False
        config = self._config
        moved = np.linalg.norm((state - self._last_state)[: len(self._unit)] / self._unit)
        asked = np.linalg.norm(self._last_action[self._moved] / self._unit)
        turned = np.abs(state - self._last_state)[len(self._unit) :].max(initial=0.0)
        self._rested = self._rested + 1 if moved < config.rest and turned < config.rest else 0
        blocked = asked > config.least_command and moved < config.moved_share * asked
        stuck = blocked or (goal_is_far and self._rested >= config.rest_steps)
        if stuck:
            self._rested = 0
        return bool(stuck)

    def _pushed(self, action: np.ndarray, generator: torch.Generator) -> np.ndarray:
        self.num_pushes += 1
        direction = torch.randn(len(self._size), generator=generator, dtype=torch.float64).numpy()
        direction = np.where(self._size > 0, direction, 0.0)
        direction = np.where(self._away >= 0, np.abs(direction), direction)
        push = self._config.push * self._size * direction / max(np.linalg.norm(direction), 1e-9)
        action = action.copy()
        action[self._moved] += push.astype(action.dtype)
        return action
