"""Who plays an evaluation: agents that see pictures and the robot's state, and scripts that see the simulator.

The rows of a results table differ only here. Standing still and random actions say what a task is worth, the scripted
expert what can be had; what an agent sees is all that a robot could see.

Letters: A numbers of an action, P of a state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from vjepa_wm.envs.policy import Policy


class Agent(Protocol):
    """What an evaluation needs of somebody who is told by pictures what to do."""

    @property
    def last_energy(self) -> float | None:
        """Energy of the picture given to the last `act` against the goal; None for agents without energy."""
        ...

    @property
    def wants_goal_state(self) -> bool:
        """Whether `show_goal_state` is to tell it the robot's state at the goal; who goes by pictures does not."""
        ...

    def reset(self, goal_image: np.ndarray, seed: int) -> None:
        """Begin an episode.

        Args:
            goal_image: picture to reach, (H, W, 3) uint8.
            seed: decides all that the agent draws in the episode.
        """
        ...

    def show_goal(self, goal_image: np.ndarray) -> None:
        """Show another picture to reach from now on, (H, W, 3) uint8."""
        ...

    def show_goal_state(self, state: np.ndarray) -> None:
        """Tell the robot's state at the goal that was shown last, (P,); only to who wants it."""
        ...

    def act(self, image: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Choose the next action.

        Args:
            image: what the camera sees, (H, W, 3) uint8.
            state: state of the robot, (P,).

        Returns:
            The action, (A,) float32.
        """
        ...

    def measure(self, image: np.ndarray) -> float | None:
        """Give the energy of a picture against the goal; None for agents without energy."""
        ...


class ScriptedAgent:
    """A scripted policy, which is given the simulator's info: an expert, random actions, none.

    It has no energy, and no picture tells it what to do.
    """

    last_energy = None

    def __init__(self, make_policy: Callable[[np.random.Generator], Policy]) -> None:
        """Keep what makes the policy.

        Args:
            make_policy: makes the policy of an episode from a generator.
        """
        self._make_policy = make_policy
        self._policy: Policy | None = None

    def reset(self, goal_image: np.ndarray, seed: int) -> None:
        """Begin an episode."""
        self._policy = self._make_policy(np.random.default_rng(seed))

    def show_goal(self, goal_image: np.ndarray) -> None:
        """Do nothing."""

    def act_on_info(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Choose the next action from observation and info, (A,) float32."""
        if self._policy is None:
            raise RuntimeError("reset(goal_image, seed) must be called before the first action")
        return self._policy(obs, info)

    def measure(self, image: np.ndarray) -> None:
        """Return None: there is no energy."""


class StandStill:
    """A policy that never moves: the floor of every task."""

    def __init__(self, num_actions: int) -> None:
        """Keep the size of an action.

        Args:
            num_actions: numbers A of an action.
        """
        self._action = np.zeros(num_actions, dtype=np.float32)

    def __call__(self, obs: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> np.ndarray:
        """Return the zero action, (A,) float32."""
        return self._action


def policy_of(agent: Agent | ScriptedAgent) -> Policy:
    """Return an agent as a policy; of the simulator's info only scripts are shown anything."""
    if isinstance(agent, ScriptedAgent):
        return agent.act_on_info
    return lambda obs, info: agent.act(obs["image"], obs["state"])
