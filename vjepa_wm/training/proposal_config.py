"""Options of a proposal's training, and the form of what it trains: a new proposal, or one that goes on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vjepa_wm.checks import check_at_least, check_within
from vjepa_wm.data.latents.latent_set import LatentSet, number_units
from vjepa_wm.models.energy import l2_energy
from vjepa_wm.models.proposal import ProposalConfig
from vjepa_wm.models.world_model import WorldModel
from vjepa_wm.training.run.latent_training import LatentRunConfig

SCENE_DIM = 16
"""Numbers in the code of the scene."""


@dataclass(frozen=True, kw_only=True)
class TrainProposalConfig(LatentRunConfig):
    """Train a proposal on trajectories in hindsight, and give it to a world model."""

    data: tuple[Path, ...]
    """LeRobot v3 dataset folders; what they show must lead somewhere, as an expert with noise does."""
    world_model: Path
    """World model whose encoder gives the latents; OUT/world_model is it with the proposal."""
    fine_tune: bool = False
    """Go on from the proposal that the world model has, whose form and units stay, in place of a new one."""
    goal_at_end: float = 0.5
    """Share of the goals that are the episode's last frame; the others are any later one."""
    goal_within: int | None = None
    """Most steps from a frame to such a later goal; none: any."""
    reader_dim: int = 32
    """Width to which each token is reduced."""
    hidden_dim: int = 512
    """Width of the hidden layers."""
    depth: int = 3
    """Hidden layers."""
    relation_dim: int = 0
    """Channels of convolutions over the grid of tokens, present beside goal; 0: none. 64 makes a step three times as
    long and sees small turns of an object sooner."""
    relation_depth: int = 2
    """Blocks of such convolutions; a maze wants as many as the way has turns."""
    relation_rounds: int = 1
    """How often these blocks are passed, with the same weights: more reach without more weights."""
    num_modes: int = 8
    """Gaussians of the mixture."""
    use_state: bool = True
    """Give it the robot's state beside the latents."""
    z_noise: float = 0.0
    """Deviation of noise on the latents in training, which are of unit deviation."""
    imagined_share: float = 0.0
    """Share of a batch on which the estimate of the steps left also learns from latents that the world model's
    predictor imagines, for a search whose cost has it."""
    scene_weight: float = 0.3
    """Weight of a loss that makes the reader of tokens tell the scene without the robot, learned without labels: small
    objects and their turns are noticed sooner, and a search can go by the scene (energy scene). 0: none."""
    label_weight: float = 0.0
    """Weight of a loss that reads objects' poses, where the datasets tell them, off the same reader. Such a proposal
    is trained with labels and says so."""
    steps: int = 4_000
    batch_size: int = 256
    weight_decay: float = 0.05
    validation_share: float = 0.05

    def __post_init__(self) -> None:
        """Check what is not checked by the parts."""
        super().__post_init__()
        check_within(0, 1, goal_at_end=self.goal_at_end, imagined_share=self.imagined_share)
        check_at_least(1, goal_within=self.goal_within, reader_dim=self.reader_dim, hidden_dim=self.hidden_dim)
        check_at_least(1, depth=self.depth, num_modes=self.num_modes)
        check_at_least(1, relation_depth=self.relation_depth, relation_rounds=self.relation_rounds)
        check_at_least(0, z_noise=self.z_noise, scene_weight=self.scene_weight, label_weight=self.label_weight)


def proposal_form(config: TrainProposalConfig, sets: tuple[LatentSet, ...]) -> ProposalConfig:
    """Return the proposal of a run, with units taken from the training episodes."""
    states, actions = number_units(sets, "states"), number_units(sets, "actions")
    objects = [one.objects for one in sets if one.objects is not None]
    if config.label_weight and len(objects) < len(sets):
        raise ValueError("label_weight must be 0 unless every dataset tells where objects are")
    return ProposalConfig(
        encoder_dim=sets[0].z.shape[2],
        num_tokens=sets[0].z.shape[1],
        action_dim=sets[0].actions.shape[1],
        state_dim=sets[0].states.shape[1],
        reader_dim=config.reader_dim,
        hidden_dim=config.hidden_dim,
        depth=config.depth,
        relation_dim=config.relation_dim,
        relation_depth=config.relation_depth,
        relation_rounds=config.relation_rounds,
        num_modes=config.num_modes,
        use_state=config.use_state,
        scene_dim=SCENE_DIM if config.scene_weight else 0,
        object_dim=objects[0].shape[1] + 1 if config.label_weight else 0,
        near_energy=near_energy(sets),
        action_scale=actions["scale"],
        state_mean=states["mean"],
        state_scale=states["scale"],
    )


def near_energy(sets: tuple[LatentSet, ...], max_pairs: int = 2048) -> float:
    """Return the L2 energy that only one in twenty of the steps in which the robot acts stays below."""
    energies = []
    for one in sets:
        rows = one.window_starts(2)
        acts = np.abs(one.actions[rows] / np.maximum(one.actions[rows].std(axis=0), 1e-3)).max(axis=1) > 1.0
        rows = rows[acts][:: max(1, int(acts.sum()) // max_pairs)]
        energies.append(l2_energy(*(one.read_z(k, torch.device("cpu")) for k in (rows, rows + 1))))
    return float(torch.cat(energies).quantile(0.05))


def start_of(config: TrainProposalConfig, new: ProposalConfig, model: WorldModel) -> ProposalConfig:
    """Return the form of the proposal that a run goes on from; only its code of the scene may come or go.

    Args:
        config: the run.
        new: form of a new proposal from the run's data.
        model: what has the proposal.

    Raises:
        ValueError: if there is none, or the data have other actions, states or labels than it was trained with.
    """
    if model.proposal is None:
        raise ValueError(f"fine_tune needs a world model with a proposal, {config.world_model} has none")
    there = model.proposal.config
    for name in ("action_dim", "state_dim", "object_dim"):
        if getattr(there, name) != getattr(new, name):
            raise ValueError(
                f"fine_tune needs the {name} {getattr(there, name)} of the proposal in {config.world_model}, the "
                f"datasets and label_weight {config.label_weight:g} give {getattr(new, name)}"
            )
    return replace(there, scene_dim=new.scene_dim)
