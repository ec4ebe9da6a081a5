"""The agent that does what the proposal says, without any search: the row that tells what a search adds.

Letters: M modes, N tokens per frame, D width, A action, P state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from vjepa_wm.agents.allowed_actions import StateLimits, allowed_from, check_state_limits
from vjepa_wm.agents.perception import Perception, one_thread
from vjepa_wm.agents.policy_rollouts import decided
from vjepa_wm.agents.proposing import Proposes, proposal_of
from vjepa_wm.agents.recovery import Recovery
from vjepa_wm.models.action_mixture import ActionMixture
from vjepa_wm.models.energy import EnergyName, energy
from vjepa_wm.models.world_model import WorldModel
from vjepa_wm.planners import ActionBox

ModeChoice = Literal["heaviest", "moving", "mode", "drawn"]
"""Which action is taken of a mixture while the goal is far: the heaviest mode's mean; that of the heaviest mode that
moves; the mean of a mode drawn by weight; a draw from the whole mixture. Near the goal it is always the heaviest."""


@dataclass(frozen=True, kw_only=True)
class ProposingConfig:
    """How a `ProposalAgent` chooses among what is proposed."""

    choice: ModeChoice = "mode"
    """Which action is taken of a mixture."""
    least_motion: float = 0.15
    """A mode moves if a number of its mean is at least this share of the task's largest."""
    energy: EnergyName = "l2"
    """Distance of latents by which the goal is far or near."""
    state_limits: StateLimits = ((), ())
    """Where the state may be led; empty: anywhere."""

    def __post_init__(self) -> None:
        """Check names and limits."""
        check_state_limits(self.state_limits)
        energy(self.energy)
        if self.choice not in get_args(ModeChoice):
            raise ValueError(f"choice must be one of {', '.join(get_args(ModeChoice))}, got {self.choice!r}")
        if not 0 <= self.least_motion <= 1:
            raise ValueError(f"least_motion must be from 0 to 1, got {self.least_motion}")


class ProposalAgent:
    """Acts by a proposal.

    Attributes:
        last_energy: energy of the picture given to the last `act` against the goal.
    """

    wants_goal_state = False

    def __init__(
        self,
        world_model: WorldModel,
        action_space: ActionBox,
        config: ProposingConfig,
        recovery: Recovery | None = None,
        own_proposal: Proposes | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            world_model: gives latents of pictures.
            action_space: allowed actions.
            config: how to choose.
            recovery: what leaves fixed points; None: nothing does.
            own_proposal: a proposal of the user's own, in place of the world model's; None: the world model's.

        Raises:
            ValueError: if there is no proposal.
        """
        self.proposal = proposal_of(world_model, own_proposal)
        self.config, self.recovery = config, recovery
        self.perception = Perception(world_model)
        self.action_space = action_space.to(self.perception.device)
        self.generator = torch.Generator()
        self.last_energy: float | None = None
        self._energy = energy(config.energy)

    def reset(self, goal_image: np.ndarray, seed: int) -> None:
        """Begin an episode.

        Args:
            goal_image: picture to reach, (H, W, 3) uint8.
            seed: decides all draws of the episode.
        """
        self.perception.begin(goal_image)
        self.generator.manual_seed(seed)
        self.last_energy = None
        if self.recovery is not None:
            self.recovery.reset()

    def show_goal(self, goal_image: np.ndarray) -> None:
        """Aim at another picture from now on, (H, W, 3) uint8."""
        self.perception.show_goal(goal_image)

    def show_goal_state(self, state: np.ndarray) -> None:
        """Do nothing: it goes by the picture."""

    @torch.no_grad()
    def act(self, image: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Choose the next action.

        Args:
            image: what the camera sees, (H, W, 3) uint8.
            state: state of the robot, (P,).

        Returns:
            The action, (A,) float32.
        """
        seen = self.perception
        seen.see(image, state)
        self.last_energy = self._energy(seen.z.unsqueeze(0), seen.z_goal).item()
        is_far = self.last_energy > self.proposal.near_energy
        with one_thread():
            mixture = self.proposal(seen.z.unsqueeze(0), seen.state.unsqueeze(0), seen.z_goal.unsqueeze(0))
        action = self._choose(mixture, is_far)[0].cpu().numpy()
        if self.recovery is not None:
            action = self.recovery(action, state, goal_is_far=is_far, generator=self.generator)
        box = allowed_from(self.action_space, state, self.config.state_limits)
        return decided(torch.from_numpy(action).to(box.low), box).float().cpu().numpy()

    def measure(self, image: np.ndarray) -> float | None:
        """Give the energy of a picture (H, W, 3) uint8 against the goal of the episode."""
        return self._energy(self.perception.encode_image(image).unsqueeze(0), self.perception.z_goal).item()

    def _choose(self, mixture: ActionMixture, is_far: bool) -> Tensor:
        """Choose an action (1, A)."""
        if self.config.choice == "heaviest" or not is_far:
            return mixture.heaviest()
        if self.config.choice == "drawn":
            return mixture.draw(self.generator)
        if self.config.choice == "mode":
            return mixture.take(mixture.draw_modes(self.generator))
        size = torch.maximum(self.action_space.low.abs(), self.action_space.high)
        share = mixture.mean.abs() / size.clamp_min(1e-9)
        moves = (share.masked_fill(size == 0, 0.0) >= self.config.least_motion).any(dim=-1)
        if not moves.any():
            return mixture.heaviest()
        return mixture.take(mixture.log_weights.masked_fill(~moves, -torch.inf).argmax(dim=1))
