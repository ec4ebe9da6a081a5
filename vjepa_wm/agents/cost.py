"""What a plan costs: parts that add up, each a function of what was imagined.

A planner sees the sum alone. How far imagined frames are from the goal is the part that every plan has; others count
the steps that the proposal says are left, compare the robot's imagined state with the goal's, keep to actions that the
training data hold, or are the user's own.

Letters: K candidates, H horizon, N tokens per frame, D width, A action, P state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from vjepa_wm.agents.proposing import Proposes
from vjepa_wm.checks import check_at_least
from vjepa_wm.models.energy import EnergyName, token_energy
from vjepa_wm.models.proposal import Proposal

DistanceName = Literal["l1", "l2", "cosine", "reading", "scene"]
OF_PROPOSAL: tuple[DistanceName, ...] = ("reading", "scene")
"""Distances of what a proposal leaves of latents."""
StepsName = Literal["last", "sum", "discounted", "least"]
PatchWeights = Literal["none", "change"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Imagined:
    """What candidates lead to, and what they are to lead to."""

    z: Tensor
    """Latents after each action, (K, H, N, D)."""
    actions: Tensor
    """(K, H, A)."""
    z_start: Tensor
    """Latent of what is seen now, (N, D)."""
    z_goal: Tensor
    """Latent of the goal picture, (N, D)."""
    state: Tensor
    """State of the robot now, (P,)."""
    states: Tensor | None = None
    """States of the robot after each action, (K, H, P); None where nothing asks for them."""
    state_goal: Tensor | None = None
    """State of the robot at the goal, (P,), as it is given or read off the goal picture; None where nothing asks."""


CostPart = Callable[[Imagined], Tensor]
"""Scores candidates with (K,), lower is better; each candidate's number depends on it alone."""


@dataclass(frozen=True, kw_only=True)
class CostConfig:
    """What the cost of a plan is made of."""

    energy: DistanceName = "l2"
    """Distance of latents: l1 (V-JEPA 2-AC), l2 or cosine; or reading, which is l2 of what the proposal's reader leaves
    of both. The reader has learned what of the latents says how to act, where an object counts as much as the arm that
    hides it. Or scene, which is l2 of the codes that the proposal has of the scene without the robot, in units of how
    far frames are from their goals in training."""
    steps: StepsName = "sum"
    """last judges a plan by its last frame (V-JEPA 2-AC), sum by all its frames, discounted by all with the later ones
    counting less, least by the nearest of them. With a horizon above 1, last may put off the arrival at every step and
    hover beside a goal within reach; sum wants it soon."""
    discount: float = 0.9
    """By which each later frame counts less, for discounted."""
    patch_weights: PatchWeights = "none"
    """change weighs each patch by how much goal and start differ in it, so that a small object counts beside an arm
    that fills many patches; none: all alike."""
    distance_weight: float = 0.0
    """Weight of the steps to the goal that the proposal says are left, of the frames that count."""
    state_weight: float = 0.0
    """Weight of the squared distance between imagined states of the robot and that at the goal, in units of the
    states' deviation, mean over their numbers, of the frames that count."""
    prior_weight: float = 0.0
    """Weight of how unlikely the proposal calls the first action, minus the logarithm of its density: what is imagined
    must be so much better for an action that an expert would hardly do."""
    action_weight: float = 0.0
    """Weight of how far actions lie beyond twice the deviation of the training actions, squared, summed over steps."""

    def __post_init__(self) -> None:
        """Check names and ranges."""
        words = (("energy", DistanceName), ("steps", StepsName), ("patch_weights", PatchWeights))
        for name, known in words:
            if getattr(self, name) not in get_args(known):
                raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {getattr(self, name)!r}")
        if self.energy == "scene" and self.patch_weights != "none":
            raise ValueError(
                f"patch_weights must be none for scene, which is no energy of patches, got {self.patch_weights}"
            )
        if not 0 < self.discount <= 1:
            raise ValueError(f"discount must be above 0 and at most 1, got {self.discount}")
        names = ("distance_weight", "state_weight", "prior_weight", "action_weight")
        check_at_least(0, **{name: getattr(self, name) for name in names})

    @property
    def latent_energy(self) -> EnergyName:
        """Energy of the latents themselves, by which what is seen is far from the goal or near."""
        return "l2" if self.energy == "reading" or self.energy == "scene" else self.energy


def over_steps(frames: Tensor, config: CostConfig) -> Tensor:
    """Reduce numbers of each imagined frame (K, H) to one of each candidate (K,), as the configuration says."""
    if config.steps == "last":
        return frames[:, -1]
    if config.steps == "least":
        return frames.amin(dim=1)
    if config.steps == "discounted":
        frames = frames * config.discount ** torch.arange(frames.shape[1], device=frames.device)
    return frames.sum(dim=1)


class GoalDistance:
    """How far imagined frames are from the goal picture."""

    def __init__(self, config: CostConfig, proposal: Proposal | None = None) -> None:
        """Keep how it is measured.

        Args:
            config: energy, steps and weights of patches.
            proposal: of the world model, which reads; None: there is none.

        Raises:
            ValueError: if readings or codes are to be compared and nothing gives them.
        """
        if config.energy in OF_PROPOSAL and proposal is None:
            raise ValueError(
                f"energy must be l1, l2 or cosine for a world model without a proposal, got {config.energy}"
            )
        if config.energy == "scene":
            assert proposal is not None  # refused above
            proposal.check_scene()
        self._config, self._proposal = config, proposal

    def __call__(self, imagined: Imagined) -> Tensor:
        """Return the distance of each candidate, (K,)."""
        config, z = self._config, imagined.z
        if config.energy == "scene":
            return over_steps(self._scenes_apart(z.flatten(0, 1), imagined.z_goal).unflatten(0, z.shape[:2]), config)
        tokens = self._apart(z.flatten(0, 1), imagined.z_goal)
        if config.patch_weights == "change":
            changes = self._apart(imagined.z_start.unsqueeze(0), imagined.z_goal)[0]
            tokens = tokens * (changes / changes.mean().clamp_min(1e-9))
        return over_steps(tokens.mean(dim=-1).unflatten(0, z.shape[:2]), config)

    def _scenes_apart(self, z: Tensor, z_goal: Tensor) -> Tensor:
        """Return how far the scenes of latents (B, N, D) are from the goal's (N, D), (B,)."""
        assert self._proposal is not None  # refused before
        return self._proposal.scene_distance(z, z_goal.unsqueeze(0))

    def _apart(self, z: Tensor, z_goal: Tensor) -> Tensor:
        """Return how far each token of latents (B, N, D) is from the goal's (N, D), (B, N)."""
        if self._config.energy != "reading":
            return token_energy(z, z_goal, self._config.latent_energy)
        assert self._proposal is not None  # refused before
        return token_energy(self._proposal.read_tokens(z), self._proposal.read_tokens(z_goal), "l2")


class StepsLeft:
    """How many steps the proposal says are left."""

    def __init__(self, proposal: Proposal, config: CostConfig) -> None:
        """Keep who estimates them.

        Args:
            proposal: of the world model.
            config: weight, and which frames count.
        """
        self._proposal, self._config = proposal, config

    def __call__(self, imagined: Imagined) -> Tensor:
        """Return the cost of each candidate, (K,)."""
        left = self._proposal.steps_left(imagined.z.flatten(0, 1), imagined.z_goal.unsqueeze(0))
        return self._config.distance_weight * over_steps(left.unflatten(0, imagined.z.shape[:2]), self._config)


class StateDistance:
    """How far the robot's imagined states are from that at the goal."""

    def __init__(self, unit: Tensor, config: CostConfig) -> None:
        """Keep how it is measured.

        Args:
            unit: deviation of each number of the state, (P,).
            config: weight, and which frames count.
        """
        self._unit, self._config = unit, config

    def __call__(self, imagined: Imagined) -> Tensor:
        """Return the cost of each candidate, (K,)."""
        assert imagined.states is not None and imagined.state_goal is not None  # given to who weighs them
        off = (imagined.states - imagined.state_goal) / self._unit
        return self._config.state_weight * over_steps(off.square().mean(dim=-1), self._config)


class ProposalPrior:
    """How unlikely the proposal calls the first action."""

    def __init__(self, proposal: Proposes, weight: float) -> None:
        """Keep who is asked.

        Args:
            proposal: of the world model, or the user's own.
            weight: of minus the logarithm of the density.
        """
        self._proposal, self._weight = proposal, weight

    def __call__(self, imagined: Imagined) -> Tensor:
        """Return the cost of each candidate, (K,)."""
        one = (imagined.z_start, imagined.state, imagined.z_goal)
        mixture = self._proposal(*(part.unsqueeze(0) for part in one))
        return -self._weight * mixture.log_prob(imagined.actions[:, 0])


class ActionPrior:
    """How far actions lie beyond what the training data hold."""

    def __init__(self, scale: tuple[float, ...], weight: float) -> None:
        """Keep the unit of the actions.

        Args:
            scale: deviation of each number of the training actions, (A,).
            weight: of the sum.
        """
        self._scale, self._weight = scale, weight

    def __call__(self, imagined: Imagined) -> Tensor:
        """Return the cost of each candidate, (K,)."""
        beyond = imagined.actions.abs() / imagined.actions.new_tensor(self._scale) - 2.0
        return self._weight * beyond.clamp_min(0.0).square().sum(dim=(1, 2))
