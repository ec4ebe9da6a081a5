"""Training of a proposal in hindsight: from trajectories alone, without reward and without the simulator's state.

The world model that gets it stays as it is: its encoder gives the latents, its predictor is not needed.

Letters: B pairs, N tokens per frame, D width, A action, P state, O numbers that say where objects are.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vjepa_wm.checks import check_at_least
from vjepa_wm.data.latents.hindsight import later_rows
from vjepa_wm.data.latents.latent_set import LatentSet, number_units
from vjepa_wm.data.latents.latent_store import encode_dataset
from vjepa_wm.data.latents.window_mixture import WindowMixture
from vjepa_wm.data.randomness import generator_for
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.models.energy import l2_energy
from vjepa_wm.models.load import load_world_model
from vjepa_wm.models.precision import autocast, pick_device, pick_dtype
from vjepa_wm.models.proposal import Proposal, ProposalConfig
from vjepa_wm.models.world_model import WorldModel, save_world_model
from vjepa_wm.training.encoded_data import encode_good_episodes
from vjepa_wm.training.run.distributed import World
from vjepa_wm.training.run.optimizer import make_optimizer, take_step
from vjepa_wm.training.run.run_config import RunConfig, step_generator
from vjepa_wm.training.run.run_log import RunLog
from vjepa_wm.training.run.training_state import TrainingState

logger = logging.getLogger(__name__)
GOALS = 1
"""Purpose of the draws of goals and noise in a step; validation has its own."""


@dataclass(frozen=True, kw_only=True)
class TrainProposalConfig(RunConfig):
    """Train a proposal on trajectories in hindsight, and give it to a world model."""

    data: tuple[Path, ...]
    """LeRobot v3 dataset folders; what they show must lead somewhere, as an expert with noise does."""
    data_weights: tuple[float, ...] = ()
    """Share of each dataset in what is drawn; none: by their frames."""
    read: TrajectoryOptions = field(default_factory=TrajectoryOptions)
    """What of them is read: camera, rate, columns, and how they become states and actions."""
    world_model: Path
    """World model whose encoder gives the latents; OUT/world_model is it with the proposal."""
    max_bad_share: float = 0.1
    """Largest share of a dataset's episodes that may be unreadable; they are named and left out."""
    latents: Path | None = None
    """Folder that keeps latents, for this run and others; none: a hidden one inside each dataset."""
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
    num_modes: int = 8
    """Gaussians of the mixture."""
    use_state: bool = True
    """Give it the robot's state beside the latents."""
    z_noise: float = 0.0
    """Deviation of noise on the latents in training, which are of unit deviation."""
    label_weight: float = 0.0
    """Weight of a loss that reads objects' poses, where the datasets tell them, off the same reader. Such a proposal
    is trained with labels and says so."""
    steps: int = 4_000
    batch_size: int = 256
    weight_decay: float = 0.05
    validation_share: float = 0.05
    """Share of the episodes kept out of training to measure the loss on."""

    def __post_init__(self) -> None:
        """Check what is not checked by the parts."""
        super().__post_init__()
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share must be from 0 to 1, got {self.max_bad_share}")
        if not self.data:
            raise ValueError("data must name at least one dataset, got none")
        for name in ("goal_at_end", "validation_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        check_at_least(1, goal_within=self.goal_within)
        check_at_least(0, z_noise=self.z_noise, label_weight=self.label_weight)


@dataclass(frozen=True)
class HindsightBatch:
    """Frames, a later frame of each, and what was done next."""

    z: Tensor
    """(B, N, D)."""
    state: Tensor
    """(B, P)."""
    z_goal: Tensor
    """(B, N, D)."""
    action: Tensor
    """(B, A)."""
    objects: Tensor | None
    """(B, O), or None where a data set tells none."""


def proposal_losses(proposal: Proposal, batch: HindsightBatch, label_weight: float) -> dict[str, Tensor]:
    """Return the losses of a batch by name: `nll` of the actions in units of their deviation, and `objects`.

    Args:
        proposal: gets the gradient.
        batch: what to propose for.
        label_weight: 0 leaves `objects` out; else it is that times the squared error of the readout.
    """
    mixture = proposal(batch.z, batch.state, batch.z_goal)
    # in units of the actions, so that losses of robots with other units compare
    losses = {"nll": -mixture.log_prob(batch.action).mean() - proposal.action_unit.log().sum()}
    if label_weight:
        assert batch.objects is not None  # the trainer refuses it
        losses["objects"] = label_weight * F.mse_loss(proposal.read_objects(batch.z), object_code(batch.objects))
    return losses


def object_code(objects: Tensor) -> Tensor:
    """Return objects' numbers (B, O) in a form that can be regressed: places in decimetres, the last as sine, cosine.

    The last number of our tasks' objects is a heading, which jumps where its sine and cosine do not.
    """
    return torch.cat((10 * objects[:, :-1], objects[:, -1:].sin(), objects[:, -1:].cos()), dim=1)


class ProposalTrainer:
    """The proposal, optimizer and schedule of a run."""

    def __init__(self, config: TrainProposalConfig, proposal: ProposalConfig, device: torch.device) -> None:
        """Build the proposal anew.

        Args:
            config: the run.
            proposal: what is trained.
            device: where.
        """
        self.config, self.device = config, device
        self.dtype = pick_dtype(config.precision, device)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.proposal = Proposal(proposal).to(device)
        self.optimizer = make_optimizer([self.proposal], config.weight_decay)
        self.learning_rate = config.rate_schedule()

    def batch(self, windows: WindowMixture, drawn: list[tuple[int, np.ndarray]], *place: int) -> HindsightBatch:
        """Read frames, goals of a draw of their own, and what was done between them.

        Args:
            windows: where the frames are; windows of two frames, so that none is the last of its episode.
            drawn: as `WindowMixture.draw` returns it.
            place: numbers that decide the draw of the goals.
        """
        config, parts = self.config, []
        for owner, rows in drawn:
            latents, generator = windows.sets[owner], generator_for(GOALS, *place, owner)
            goals = later_rows(
                latents, rows, end_share=config.goal_at_end, max_ahead=config.goal_within, generator=generator
            )
            both = latents.read_z(np.stack((rows, goals)), self.device)
            objects = None if latents.objects is None else torch.from_numpy(latents.objects[rows]).to(self.device)
            parts.append(
                (*both, latents.read_states(rows, self.device), latents.read_actions(rows, self.device), objects)
            )
        z, z_goal, state, action = (torch.cat([part[k] for part in parts]) for k in range(4))
        objects = torch.cat([part[4] for part in parts]) if config.label_weight else None
        return HindsightBatch(z=z, state=state, z_goal=z_goal, action=action, objects=objects)

    def step(self, step: int, windows: WindowMixture) -> dict[str, Tensor]:
        """Train on one batch of pairs and return its scalars.

        Raises:
            FloatingPointError: if the loss is not finite.
        """
        config = self.config
        batch = self.batch(windows, windows.draw(step, config.batch_size), config.seed, step)
        if config.z_noise:
            generator = step_generator(config.seed, step)
            noise = torch.randn((2, *batch.z.shape), generator=generator).to(self.device)
            z, z_goal = torch.stack((batch.z, batch.z_goal)) + config.z_noise * noise
            batch = dataclasses.replace(batch, z=z, z_goal=z_goal)
        with autocast(self.device, self.dtype):
            losses = proposal_losses(self.proposal, batch, config.label_weight)
        grad_norm = take_step(
            self.optimizer,
            [torch.stack(list(losses.values())).sum()],
            learning_rate=self.learning_rate(step),
            weight_decay=config.decay_at(step),
            clip_grad_norm=config.clip_grad_norm,
        )
        return {name: loss.detach() for name, loss in losses.items()} | {"grad_norm": grad_norm}

    @torch.no_grad()
    def validate(self, windows: WindowMixture, max_pairs: int = 4096) -> dict[str, float]:
        """Measure the losses on held-out episodes, the same pairs every time."""
        drawn = windows.spread(max_pairs)
        self.proposal.eval()
        batch = self.batch(windows, drawn, 0)
        losses = proposal_losses(self.proposal, batch, self.config.label_weight)
        self.proposal.train()
        return {f"val_{name}": float(loss) for name, loss in losses.items()}


def proposal_config(config: TrainProposalConfig, sets: tuple[LatentSet, ...]) -> ProposalConfig:
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
        num_modes=config.num_modes,
        use_state=config.use_state,
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


def train_proposal(config: TrainProposalConfig) -> Path:
    """Run or resume the training of a proposal and return the folder of the world model that has it.

    Raises:
        CheckpointError: if the world model is missing or broken, or `config.out` holds another run.
        TrajectoryError: if a dataset is missing, lacks what is needed, or too many of its episodes are bad.
        ValueError: if the datasets do not fit each other or the world model.
    """
    device = pick_device(config.device)
    model = load_world_model(config.world_model).to(device)
    dtype = pick_dtype(config.precision, device)
    encode = partial(encode_dataset, model.encoder, antialias=model.config.antialias, dtype=dtype, store=config.latents)
    sets = [encode_good_episodes(path, config.read, encode, config.max_bad_share) for path in config.data]
    parts = [one.split(config.validation_share, config.seed) for one in sets]
    train, validation = (
        WindowMixture([part[k] for part in parts], 2, weights=config.data_weights, seed=config.seed) for k in (0, 1)
    )
    trainer = ProposalTrainer(config, proposal_config(config, train.sets), device)
    _check_fit(trainer.proposal.config, model)
    model.attach_proposal(trainer.proposal)
    state = TrainingState(
        config.out, modules={"proposal": trainer.proposal}, optimizer=trainer.optimizer, world=World()
    )
    first_step = state.load()
    logger.info("%d training and %d validation frames", train.num_windows, validation.num_windows)
    log = RunLog(
        config.out,
        first_step=first_step,
        total_steps=config.steps,
        samples_per_step=config.batch_size,
        tensorboard=config.tensorboard,
        name="train-proposal",
        samples="pairs",
    )
    with state, log:
        config.record("train_proposal.json")
        for step in range(first_step, config.steps):
            row = {name: float(value) for name, value in trainer.step(step, train).items()}
            log.step(step)
            is_saved = config.is_due(step, config.save_every)
            if is_saved:
                row |= trainer.validate(validation)
            if config.is_due(step, config.log_every) or is_saved:
                log.write(step, row)
            if is_saved:  # the state last: a run goes on after it, and never writes again what belongs before it
                save_world_model(model, config.out / "world_model")
                state.save(step + 1)
    return config.out / "world_model"


def _check_fit(proposal: ProposalConfig, model: WorldModel) -> None:
    """Raise a ValueError unless the data have the actions and states of the world model."""
    predictor: Any = model.config.predictor
    for name, here in (("action_dim", proposal.action_dim), ("state_dim", proposal.state_dim)):
        there = getattr(predictor, name)
        if here != there and (name != "state_dim" or predictor.use_state):
            raise ValueError(f"the datasets must have the {name} {there} of the world model, they have {here}")
