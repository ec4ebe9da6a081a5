"""What proposes actions to an agent: a part of the world model, or something of the user's own in its place.

Letters: B batch, M modes, N tokens per frame, D width, A action, P state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from vjepa_wm.models.action_mixture import ActionMixture
from vjepa_wm.models.proposal import Proposal
from vjepa_wm.models.world_model import WorldModel


class Proposes(Protocol):
    """What a proposal is to those who ask it."""

    @property
    def near_energy(self) -> float:
        """L2 energy of latents below which what is seen is called near the goal."""
        ...

    def __call__(self, z: Tensor, state: Tensor, z_goal: Tensor, /) -> ActionMixture:
        """Propose the next action.

        Args:
            z: latents of what is seen now, (B, N, D).
            state: of the robot, (B, P).
            z_goal: latents of the goal picture, (B, N, D), or (1, N, D) for all of the batch.
        """
        ...


class OwnProposal:
    """A proposal of the user's own; what it returns is checked.

    Attributes:
        near_energy: what the user's has under this name; 0, at which nothing is near, if it has none.
    """

    def __init__(self, propose: Callable[[Tensor, Tensor, Tensor], ActionMixture], name: str, num_actions: int) -> None:
        """Keep what proposes.

        Args:
            propose: the user's; it is given z_goal as (B, N, D).
            name: of it, for messages.
            num_actions: numbers A of an action.
        """
        self._propose, self._name, self._num_actions = propose, name, num_actions
        self.near_energy = float(getattr(propose, "near_energy", 0.0))

    def __call__(self, z: Tensor, state: Tensor, z_goal: Tensor) -> ActionMixture:
        """Propose the next action, as `Proposes` says.

        Raises:
            ValueError: if the user's returns no `ActionMixture`, one of other shapes, or one that is no mixture.
        """
        mixture = self._propose(z, state, z_goal.expand(len(z), -1, -1))
        if not isinstance(mixture, ActionMixture):
            raise ValueError(
                f"proposal {self._name} must return a vjepa_wm.models.action_mixture.ActionMixture, got "
                f"{type(mixture).__name__}"
            )
        self._check_shapes(mixture, len(z))
        self._check_numbers(mixture)
        return mixture

    def _check_shapes(self, mixture: ActionMixture, num: int) -> None:
        num_modes = mixture.log_weights.shape[-1] if mixture.log_weights.ndim == 2 else 1
        actions = (num, num_modes, self._num_actions)
        for part, shape in (("log_weights", (num, num_modes)), ("mean", actions), ("std", actions)):
            got = tuple(getattr(mixture, part).shape)
            if got != shape:
                raise ValueError(
                    f"proposal {self._name} must return {part} {shape}, for {num} states, {num_modes} modes and "
                    f"{self._num_actions} numbers of an action, got {got}"
                )

    def _check_numbers(self, mixture: ActionMixture) -> None:
        for part in ("mean", "std"):
            if not getattr(mixture, part).isfinite().all():
                raise ValueError(f"proposal {self._name} must return finite {part}, got NaN or infinity")
        if not (mixture.std > 0).all():
            raise ValueError(f"proposal {self._name} must return positive std, got {mixture.std.min().item():g}")
        weights = mixture.log_weights.exp().sum(dim=1)
        if not torch.allclose(weights, torch.ones_like(weights), atol=1e-3):
            worst = weights[(weights - 1).abs().nan_to_num(torch.inf).argmax()].item()
            raise ValueError(
                f"proposal {self._name} must return log_weights whose exponentials add up to 1, got {worst:g}; "
                "torch.log_softmax makes such"
            )


def proposal_of(world_model: WorldModel, own: Proposes | None = None) -> Proposes:
    """Return what proposes: the user's own if there is one, else that of the world model.

    Raises:
        ValueError: if there is neither.
    """
    return trained_proposal(world_model) if own is None else own


def trained_proposal(world_model: WorldModel) -> Proposal:
    """Return the proposal that is a part of a world model.

    Raises:
        ValueError: if it has none.
    """
    if world_model.proposal is None:
        raise ValueError("the world model has no proposal; train one with: vjepa-wm train-proposal")
    return world_model.proposal
