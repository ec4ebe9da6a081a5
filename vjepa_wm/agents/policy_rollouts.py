"""A proposal rolled forward, in imagination or for real: closed-loop candidates for a search.

Why this file exists: a sequence of actions drawn at once does not react to what it leads to; a policy that is asked
again at every imagined step does. Its modes are branched at the first step, where the choice matters, and what comes
out are action sequences like any other candidate's, scored by the same cost.

Letters: K candidates, H horizon, M modes, N tokens per frame, D width, A action, P state.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vjepa_wm.agents.proposing import Proposes
from vjepa_wm.models.action_mixture import ActionMixture
from vjepa_wm.models.key_value_cache import KeyValueCache
from vjepa_wm.models.pose import integrate_pose
from vjepa_wm.models.world_model import WorldModel
from vjepa_wm.planners import ActionBox

DECIDED = 0.15
"""Share of its limit from which on a discrete number is taken for the limit."""


def decided(actions: Tensor, box: ActionBox) -> Tensor:
    """Make proposed actions allowed ones.

    A proposal has learned from a gripper that opens as far as it was closed, be it a little; a discrete number is
    therefore taken for its limit as soon as it is clearly not 0.

    Args:
        actions: as proposed, (..., A).
        box: allowed actions.

    Returns:
        (..., A).
    """
    actions = actions.clone()
    for k in box.discrete:
        value, low, high = actions[..., k], box.low[k], box.high[k]
        actions[..., k] = torch.where(
            value > DECIDED * high, high, torch.where(value < DECIDED * low, low, torch.zeros_like(value))
        )
    return box.project(actions)


def branched(mixture: ActionMixture, num_candidates: int, generator: torch.Generator) -> Tensor:
    """Return first actions: the means of the modes by their weight, then draws from the mixture.

    Args:
        mixture: of one state, (1, M, A).
        num_candidates: how many, K.
        generator: source of the draws.

    Returns:
        (K, A).
    """
    order = mixture.log_weights[0].argsort(descending=True)[:num_candidates]
    means = mixture.mean[0, order]
    num_drawn = num_candidates - len(means)
    if not num_drawn:
        return means
    many = ActionMixture(
        log_weights=mixture.log_weights.expand(num_drawn, -1),
        mean=mixture.mean.expand(num_drawn, -1, -1),
        std=mixture.std.expand(num_drawn, -1, -1),
    )
    return torch.cat((means, many.draw(generator)))


Advance = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Does the next action of every candidate, (K, A), and returns latents (K, N, D) and states (K, P) after it."""


@torch.no_grad()
def roll_policy(
    proposal: Proposes,
    first: Tensor,
    z_goal: Tensor,
    advance: Advance,
    *,
    horizon: int,
    action_space: ActionBox,
    generator: torch.Generator,
) -> Tensor:
    """Go on from each of several first actions as the proposal would.

    Args:
        proposal: is asked again after every step.
        first: first actions, (K, A).
        z_goal: latent of the goal picture, (N, D).
        advance: says what actions lead to.
        horizon: steps H.
        action_space: allowed actions; all are moved into it.
        generator: source of the modes that are drawn after the first step.

    Returns:
        Action sequences, (K, H, A).
    """
    actions = [decided(first, action_space)]
    while len(actions) < horizon:
        mixture = proposal(*advance(actions[-1]), z_goal.unsqueeze(0))
        actions.append(decided(mixture.take(mixture.draw_modes(generator)), action_space))
    return torch.stack(actions, dim=1)


class Imagination:
    """Advances candidates inside a world model, from one moment on."""

    def __init__(self, world_model: WorldModel, z: Tensor, state: Tensor, num_candidates: int) -> None:
        """Begin at what is seen.

        Args:
            world_model: imagines.
            z: latent of what is seen, (N, D).
            state: of the robot, (P,).
            num_candidates: how many go on from there, K.
        """
        self._world_model, self._cache = world_model, KeyValueCache()
        self._frame = z.expand(num_candidates, 1, *z.shape)
        self._states = state.expand(num_candidates, 1, -1)

    def __call__(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Do the next action of every candidate, (K, A); returns latents (K, N, D) and states (K, P)."""
        action = actions.unsqueeze(1)
        self._frame = self._world_model.predict(self._frame, action, self._states, cache=self._cache)
        if action.shape[-1] == self._states.shape[-1]:
            self._states = integrate_pose(self._states, action)
        return self._frame[:, 0], self._states[:, 0]
