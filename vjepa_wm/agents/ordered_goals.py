"""Goal pictures in order: an agent that goes on to the next one when it has arrived at the one before.

Why this file exists: a protocol may show ordered pictures by the clock, but a robot that is slow, or slips, should not
be shown the next picture before it is at this one. Arrival is judged by the robot's own state against the one that the
proposal reads off the goal picture, within what nine of ten training frames that had arrived kept to. Energies and
steps left call a brick that is not held yet a reached goal; the gripper's opening does not.

Letters: A action, P state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vjepa_wm.agents.planning_agent import PlanningAgent
from vjepa_wm.agents.proposal_agent import ProposalAgent
from vjepa_wm.agents.proposing import trained_proposal
from vjepa_wm.models.world_model import WorldModel


class OrderedGoals:
    """Shows an agent one goal picture after the other.

    Attributes:
        shown: number of actions after which each picture was shown first.
    """

    def __init__(self, agent: PlanningAgent | ProposalAgent, world_model: WorldModel) -> None:
        """Keep who acts.

        Args:
            agent: goes toward one picture.
            world_model: its proposal reads states off pictures.

        Raises:
            ValueError: if the world model has no proposal.
        """
        self.agent = agent
        self.shown: list[int] = []
        self._proposal = trained_proposal(world_model)
        self._left: list[tuple[np.ndarray, int]] = []
        self._deadline = self._num_actions = 0

    wants_goal_state = False

    @property
    def last_energy(self) -> float | None:
        """Energy of the picture given to the last `act` against the goal shown then."""
        return self.agent.last_energy

    def reset(self, goal_image: np.ndarray, seed: int) -> None:
        """Begin an episode with one goal picture, (H, W, 3) uint8; `seed` decides all draws."""
        self.agent.reset(goal_image, seed)
        self.shown, self._left, self._num_actions = [0], [], 0

    def show_goal(self, goal_image: np.ndarray) -> None:
        """Aim at another picture from now on, (H, W, 3) uint8."""
        self.agent.show_goal(goal_image)

    def show_goal_state(self, state: np.ndarray) -> None:
        """Do nothing: states are read off the pictures."""

    def show_goals(self, goal_images: Sequence[np.ndarray], most_steps: Sequence[int]) -> None:
        """Take all pictures to reach, in order.

        Args:
            goal_images: each (H, W, 3) uint8; the first is the one that `reset` was given.
            most_steps: for how many actions each of them but the last serves at most.

        Raises:
            ValueError: if there is no picture, or not one number for each but the last.
        """
        if not goal_images or len(most_steps) != len(goal_images) - 1:
            raise ValueError(
                f"goal_images must be at least one, with most_steps for each but the last, got {len(goal_images)} and "
                f"{len(most_steps)}"
            )
        self._left = list(zip(goal_images[1:], most_steps, strict=True))
        self._deadline = most_steps[0] if most_steps else 0

    def act(self, image: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Choose the next action.

        Args:
            image: what the camera sees, (H, W, 3) uint8.
            state: state of the robot, (P,).

        Returns:
            The action, (A,) float32.
        """
        if self._left and (self._num_actions >= self._deadline or self._has_arrived(state)):
            self.agent.show_goal(self._left.pop(0)[0])
            self.shown.append(self._num_actions)
            self._deadline = self._num_actions + (self._left[0][1] if self._left else 0)
        self._num_actions += 1
        return self.agent.act(image, state)

    def measure(self, image: np.ndarray) -> float | None:
        """Give the energy of a picture (H, W, 3) uint8 against the goal shown last."""
        return self.agent.measure(image)

    @torch.no_grad()
    def _has_arrived(self, state: np.ndarray) -> bool:
        perception = self.agent.perception
        here = torch.tensor(state, dtype=torch.float32, device=perception.device).unsqueeze(0)
        distance = self._proposal.state_distance(here, perception.z_goal.unsqueeze(0))
        return bool(distance <= self._proposal.arrival_radius)
