"""Who chooses the actions of a bank's candidates: the proposal, the task's expert with noise, and chance.

All are asked at every step for all of their candidates at once, on what the simulator really shows.

Letters: C candidates of one source, H horizon, N tokens per frame, D width, M modes, A action, P state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor

from vjepa_wm.agents.allowed_actions import StateLimits, allowed_from
from vjepa_wm.agents.policy_rollouts import branched
from vjepa_wm.agents.proposing import Proposes
from vjepa_wm.envs.goal_env import GoalEnv
from vjepa_wm.envs.play import Moment
from vjepa_wm.envs.task import Task
from vjepa_wm.planners import ActionBox

SourceName = Literal["proposal", "expert", "gaussian"]
SOURCE_NAMES: tuple[SourceName, ...] = get_args(SourceName)


class CandidateSource(Protocol):
    """What chooses the actions of some candidates of one state."""

    def act(self, seen: Sequence[Moment], z: Tensor) -> np.ndarray:
        """Choose the next action of each candidate.

        Args:
            seen: the last moment of each, C of them.
            z: latents of their pictures, (C, N, D).

        Returns:
            Actions, (C, A).
        """
        ...


class ProposalSource:
    """Asks the proposal again at every step: its modes first, heaviest first, then modes drawn by their weights."""

    def __init__(
        self, proposal: Proposes, z_goal: Tensor, box: ActionBox, limits: StateLimits, generator: torch.Generator
    ) -> None:
        """Keep what it acts by.

        Args:
            proposal: what is asked.
            z_goal: latent of the goal picture, (N, D).
            box: allowed actions.
            limits: of the state.
            generator: source of the draws.
        """
        self._proposal, self._z_goal, self._generator = proposal, z_goal, generator
        self._box, self._limits = box, limits
        self._has_begun = False

    @torch.no_grad()
    def act(self, seen: Sequence[Moment], z: Tensor) -> np.ndarray:
        """Choose the next action of each candidate, (C, A)."""
        states = torch.tensor(np.stack([moment.obs["state"] for moment in seen]), dtype=z.dtype, device=z.device)
        if self._has_begun:
            mixture = self._proposal(z, states, self._z_goal.unsqueeze(0))
            actions = mixture.take(mixture.draw_modes(self._generator))
        else:
            self._has_begun = True
            mixture = self._proposal(z[:1], states[:1], self._z_goal.unsqueeze(0))
            actions = branched(mixture, len(seen), self._generator)
        return _within(actions, seen, self._box, self._limits)


class ExpertSource:
    """The scripted expert, begun anew in this state; each candidate with more noise, the first with none.

    It does whatever it does, also what plans may not: it is the yardstick.
    """

    def __init__(self, task: Task, env: GoalEnv, noise: np.ndarray, rng: np.random.Generator) -> None:
        """Make the experts.

        Args:
            task: whose expert.
            env: environment of the task.
            noise: deviation of the noise of each candidate, as shares of the largest actions of plans, (C,).
            rng: source of the noise.
        """
        self._policies = [task.make_policy("expert", env, rng) for _ in noise]
        self._deviations = noise[:, None] * np.array(task.limits.size)
        self._rng = rng

    def act(self, seen: Sequence[Moment], z: Tensor) -> np.ndarray:
        """Choose the next action of each candidate, (C, A)."""
        wanted = np.stack(
            [policy(moment.obs, moment.info) for policy, moment in zip(self._policies, seen, strict=True)]
        )
        return wanted + self._rng.normal(0.0, 1.0, wanted.shape) * self._deviations


class GaussianSource:
    """Actions drawn about standing still, as wide as a search begins: what a search from scratch has to choose from."""

    def __init__(self, box: ActionBox, limits: StateLimits, generator: torch.Generator) -> None:
        """Keep what it draws.

        Args:
            box: allowed actions.
            limits: of the state.
            generator: source of the draws.
        """
        self._box, self._limits, self._generator = box, limits, generator

    def act(self, seen: Sequence[Moment], z: Tensor) -> np.ndarray:
        """Draw the next action of each candidate, (C, A)."""
        drawn = torch.randn((len(seen), self._box.dim), generator=self._generator).to(self._box.low)
        return _within(self._box.start + drawn * self._box.spread, seen, self._box, self._limits)


def counts(num_candidates: int, names: Sequence[SourceName]) -> dict[SourceName, int]:
    """Share candidates out among sources as evenly as can be, the first ones getting what is left over."""
    share, left = divmod(num_candidates, len(names))
    return {name: share + (k < left) for k, name in enumerate(names)}


def _within(actions: Tensor, seen: Sequence[Moment], box: ActionBox, limits: StateLimits) -> np.ndarray:
    """Move actions (C, A) to those that plans may take from where each candidate is."""
    allowed = [
        allowed_from(box, moment.obs["state"], limits).project(action)
        for action, moment in zip(actions.to(box.low), seen, strict=True)
    ]
    return torch.stack(allowed).cpu().numpy()
