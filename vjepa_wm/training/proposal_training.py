"""Training of a proposal in hindsight: from trajectories alone, without reward and without the simulator's state.

The world model that gets it stays as it is: its encoder gives the latents, its predictor is not needed.

Letters: B pairs, N tokens per frame, D width, A action, P state, O numbers that say where objects are.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vjepa_wm.data.latents.hindsight import first_arrivals, later_rows
from vjepa_wm.data.latents.latent_store import fingerprint
from vjepa_wm.data.latents.window_mixture import WindowMixture, share_of
from vjepa_wm.data.randomness import generator_for
from vjepa_wm.models.load import load_world_model
from vjepa_wm.models.precision import autocast, pick_device, pick_dtype
from vjepa_wm.models.proposal import Proposal, ProposalConfig
from vjepa_wm.models.world_model import WorldModel
from vjepa_wm.training.proposal_config import TrainProposalConfig, proposal_form, start_of
from vjepa_wm.training.proposal_losses import HindsightBatch, arrival_radius, distance_loss, proposal_losses
from vjepa_wm.training.run.distributed import World, joined_world
from vjepa_wm.training.run.latent_training import Windows, check_data_fit, descend, open_windows, train_on_latents
from vjepa_wm.training.run.optimizer import make_optimizer
from vjepa_wm.training.run.run_config import step_generator
from vjepa_wm.training.scene_learning import SceneLearner, draw_moments

GOALS, SCENE = 1, 2
"""Purposes of the draws of a step: of goals, and of moments to tell apart. Validation has its own."""


class ProposalTrainer:
    """The proposal, optimizer and schedule of a run, in one process of its world.

    Attributes:
        model: the world model, of which the proposal is to be a part.
    """

    def __init__(
        self,
        config: TrainProposalConfig,
        proposal: ProposalConfig,
        model: WorldModel,
        windows: Windows,
        world: World | None = None,
    ) -> None:
        """Build the proposal anew.

        Args:
            config: the run.
            proposal: what is trained.
            model: what gets it, and imagines, where the run asks for it.
            windows: all that is drawn from.
            world: the processes that train together; None: this one.
        """
        self.config, self.model, self.world = config, model, world or World()
        self.device = device = pick_device(config.device)
        self._arrivals = [
            np.minimum(first_arrivals(train, proposal.near_energy), first_arrivals(validation, proposal.near_energy))
            for train, validation in zip(windows.train.sets, windows.validation.sets, strict=True)
        ]
        self.dtype = pick_dtype(config.precision, device)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.proposal = Proposal(proposal).to(device)
            if config.fine_tune:
                assert model.proposal is not None  # `start_of` refuses it
                own = self.proposal.state_dict()
                there = {name: value for name, value in model.proposal.state_dict().items() if name in own}
                self.proposal.load_state_dict(own | there)
            self.scene = SceneLearner(proposal).to(device) if config.scene_weight else None
        self.optimizer = make_optimizer(list(self.modules.values()), config.weight_decay)
        self.learning_rate = config.rate_schedule()

    @property
    def modules(self) -> dict[str, nn.Module]:
        """All networks that change, by name."""
        return {"proposal": self.proposal} | ({} if self.scene is None else {"scene": self.scene})

    def draw_goals(
        self, windows: WindowMixture, drawn: list[tuple[int, np.ndarray]], *place: int
    ) -> list[tuple[int, np.ndarray]]:
        """Draw a goal for each frame.

        Args:
            windows: where the frames are; windows of two frames, so that none is the last of its episode.
            drawn: as `WindowMixture.draw` returns it.
            place: numbers that decide the draw.

        Returns:
            As `drawn`, but rows of frames and of their goals, (2, B).
        """
        pairs = []
        for owner, rows in drawn:
            goals = later_rows(
                windows.sets[owner],
                rows,
                end_share=self.config.goal_at_end,
                max_ahead=self.config.goal_within,
                generator=generator_for(GOALS, *place, owner),
            )
            pairs.append((owner, np.stack((rows, goals))))
        return pairs

    def batch(self, windows: WindowMixture, pairs: list[tuple[int, np.ndarray]]) -> HindsightBatch:
        """Read frames, their goals, and what was done next; `pairs` as `draw_goals` returns them."""
        config, parts, left = self.config, [], []
        for owner, (rows, goals) in pairs:
            latents = windows.sets[owner]
            both = latents.read_z(np.stack((rows, goals)), self.device)
            objects = None if latents.objects is None else torch.from_numpy(latents.objects[rows]).to(self.device)
            left.append(np.maximum(self._arrivals[owner][goals] - rows, 0))
            parts.append(
                (*both, latents.read_states(rows, self.device), latents.read_actions(rows, self.device), objects)
            )
        z, z_goal, state, action = (torch.cat([part[k] for part in parts]) for k in range(4))
        objects = torch.cat([part[4] for part in parts]) if config.label_weight else None
        steps_left = torch.from_numpy(np.concatenate(left)).float().to(self.device)
        return HindsightBatch(z=z, state=state, z_goal=z_goal, action=action, steps_left=steps_left, objects=objects)

    def step(self, step: int, windows: WindowMixture) -> dict[str, Tensor]:
        """Train on this process's share of a batch of pairs and return its scalars.

        Raises:
            FloatingPointError: if the loss is not finite.
        """
        config, world = self.config, self.world
        # goals and noise are drawn for the whole batch, so that they do not depend on the number of processes
        drawn = windows.draw(step, config.batch_size)
        pairs = self.draw_goals(windows, drawn, config.seed, step)
        batch = self.batch(windows, share_of(pairs, world.rank, world.size))
        if config.z_noise:
            shape = (2, config.batch_size, *batch.z.shape[1:])
            noise = torch.randn(shape, generator=step_generator(config.seed, step))
            noise = noise.chunk(world.size, dim=1)[world.rank].to(self.device)
            z, z_goal = torch.stack((batch.z, batch.z_goal)) + config.z_noise * noise
            batch = dataclasses.replace(batch, z=z, z_goal=z_goal)
        with autocast(self.device, self.dtype):
            losses = proposal_losses(self.proposal, batch, config.label_weight)
            if self.scene is not None:  # of the whole batch in every process: a contrast is of all with all
                counts, generator = {owner: len(rows) for owner, rows in drawn}, generator_for(SCENE, config.seed, step)
                moments = draw_moments(windows.sets, counts, generator, self.device)
                losses["scene"] = config.scene_weight * self.scene.loss(self.proposal, *moments)
            num_imagined = round(config.imagined_share * len(batch.z))
            if num_imagined:
                losses["imagined"] = self._distance_imagined(batch, num_imagined)
        grad_norm = descend(self, step, torch.stack(list(losses.values())).sum())
        return {name: loss.detach() for name, loss in losses.items()} | {"grad_norm": grad_norm}

    @torch.no_grad()
    def validate(self, windows: WindowMixture, max_pairs: int = 4096) -> dict[str, float]:
        """Measure the losses on held-out episodes, the same pairs every time, and how near is arrived."""
        self.proposal.eval()
        batch = self.batch(windows, self.draw_goals(windows, windows.spread(max_pairs), 0))
        losses = proposal_losses(self.proposal, batch, self.config.label_weight)
        radius = arrival_radius(self.proposal, batch)
        if radius is not None:
            self.proposal.arrival_radius.copy_(radius)
        if self.proposal.config.scene_dim:
            apart = self.proposal.scene_distance(batch.z, batch.z_goal).mean()
            self.proposal.scene_unit.mul_(apart.clamp_min(1e-6))
        self.proposal.train()
        return {f"val_{name}": float(loss) for name, loss in losses.items()}

    def _distance_imagined(self, batch: HindsightBatch, num: int) -> Tensor:
        """Return the loss of the steps left from what the world model imagines after the first actions of a batch."""
        with torch.no_grad():
            frame = self.model.predict(*(one[:num].unsqueeze(1) for one in (batch.z, batch.action, batch.state)))
        left = (batch.steps_left[:num] - 1).clamp_min(0.0)
        return distance_loss(self.proposal, frame[:, 0], batch.z_goal[:num], left)


def train_proposal(config: TrainProposalConfig) -> Path:
    """Run or resume the training of a proposal, in this process or with the others that `torchrun` started.

    Returns:
        The folder of the world model that has it.

    Raises:
        CheckpointError: if the world model is missing or broken, or `config.out` holds another run.
        TrajectoryError: if a dataset is missing, lacks what is needed, or too many of its episodes are bad.
        ValueError: if the datasets do not fit each other or the world model, or the batch size is no multiple of the
            number of processes.
    """
    device = pick_device(config.device)
    with joined_world(device) as world:
        model = load_world_model(config.world_model).to(device)
        windows = open_windows(config, model.encoder, 2, world, antialias=model.config.antialias)
        proposal = proposal_form(config, windows.train.sets)
        check_data_fit(windows.train.sets, model)
        if config.fine_tune:
            proposal = start_of(config, proposal, model)
        content = {"world_model": fingerprint(model)}
        trainer = ProposalTrainer(config, proposal, model, windows, world)
        model.attach_proposal(trainer.proposal)
        return train_on_latents(trainer, windows, name="train-proposal", samples="pairs", content=content)
