"""Action-conditioned training: from a frozen encoder and robot trajectories to a latent world model.

Letters: B windows, T frames, N tokens per frame, D width, A action, P state.

Source: V-JEPA 2 (arXiv 2506.09985), section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vjepa_wm.checks import check_at_least
from vjepa_wm.data.latents.latent_set import LatentSet, number_units
from vjepa_wm.data.latents.latent_store import fingerprint
from vjepa_wm.data.latents.object_motion import moving_frames
from vjepa_wm.data.latents.window_mixture import WindowMixture
from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig, Conditioning
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.inverse_dynamics import InverseDynamics, InverseDynamicsConfig
from vjepa_wm.models.layers import check_width
from vjepa_wm.models.load import load_encoder, load_world_model
from vjepa_wm.models.precision import autocast, pick_device, pick_dtype
from vjepa_wm.models.rope import check_head
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig
from vjepa_wm.training.ac_objective import Reading, world_model_losses
from vjepa_wm.training.imagined_objects import report_imagined_objects
from vjepa_wm.training.losses import prediction_loss
from vjepa_wm.training.run.distributed import World, joined_world
from vjepa_wm.training.run.latent_training import (
    LatentRunConfig,
    check_data_fit,
    descend,
    open_windows,
    train_on_latents,
)
from vjepa_wm.training.run.optimizer import make_optimizer

OF_NEW_PREDICTORS = (
    "predictor_dim",
    "predictor_depth",
    "predictor_heads",
    "predictor_conditioning",
    "use_state",
    "normalize",
)
"""Options that one which goes on does not take."""


@dataclass(frozen=True, kw_only=True)
class TrainACConfig(LatentRunConfig):
    """Train the action-conditioned predictor of V-JEPA 2-AC on robot trajectories, above a frozen encoder."""

    encoder: Path | None = None
    """Encoder: a folder as `pretrain` writes it, a file of published weights, or their name."""
    world_model: Path | None = None
    """In place of an encoder: a world model whose predictor goes on, its form and units as they are; its encoder and
    its proposal stay."""
    reading_weight: float = 0.0
    """Weight of a loss that compares what the proposal's reader leaves of predicted and of true latents, so that an
    object counts beside the arm; 0: none. Needs world_model, with a proposal."""
    predictor_dim: int = 192
    """Width of the predictor."""
    predictor_depth: int = 4
    """Blocks of the predictor."""
    predictor_heads: int = 3
    """Heads of the predictor."""
    predictor_conditioning: Conditioning = "tokens"
    """How actions and states reach the patches: as tokens (V-JEPA 2-AC), or by adaptive norms (AdaLN)."""
    use_state: bool = True
    """Give the predictor the robot's state beside the latents; off: it knows of the robot what pictures show."""
    normalize: bool = True
    """Give the predictor actions and states in units of the dataset's deviation; off is V-JEPA 2-AC."""
    num_frames: int = 3
    """Frames in a training window."""
    rollout_steps: int = 2
    """Steps of the rollout whose loss is added to teacher forcing's."""
    inverse_weight: float = 0.0
    """Weight of a loss that compares actions as read off predicted and off true latents, by a network trained beside
    the predictor; 0: no such network."""
    balance_motion: bool = False
    """Draw half of a dataset's windows among those in which something but the robot moves, found without labels."""
    steps: int = 2_000
    batch_size: int = 64

    def __post_init__(self) -> None:
        """Check what is not checked by the parts."""
        super().__post_init__()
        if (self.encoder is None) == (self.world_model is None):
            raise ValueError("one of encoder and world_model must be given, and not both")
        if self.world_model is not None:
            for name in OF_NEW_PREDICTORS:
                if getattr(self, name) != getattr(TrainACConfig, name):
                    raise ValueError(f"{name} must be left out with a world_model, whose predictor keeps its form")
        if self.reading_weight and self.world_model is None:
            raise ValueError("reading_weight must be 0 without a world_model, whose proposal reads")
        check_at_least(0, inverse_weight=self.inverse_weight, reading_weight=self.reading_weight)
        check_at_least(1, predictor_depth=self.predictor_depth)
        check_width(self.predictor_dim, self.predictor_heads, "predictor_dim", "predictor_heads")
        check_head(self.predictor_dim // self.predictor_heads)
        if self.rollout_steps < 1 or self.num_frames < self.rollout_steps + 1:
            raise ValueError(
                f"num_frames must be at least rollout_steps + 1 = {self.rollout_steps + 1}, got {self.num_frames}"
            )


class ACTrainer:
    """The world model, optimizer and schedule of a run, in one process of its world.

    Attributes:
        model: the world model, whose predictor is trained.
        inverse: what reads actions off latents, trained beside it; None without `inverse_weight`.
    """

    def __init__(
        self,
        config: TrainACConfig,
        begin: VideoEncoder | WorldModel,
        sets: Sequence[LatentSet],
        world: World | None = None,
    ) -> None:
        """Build the world model, its predictor anew, or take the one that goes on.

        Args:
            config: the run.
            begin: what gives the latents, of which a copy becomes part of the world model; or the world model that goes
                on.
            sets: the training episodes, of which the units of a new predictor are taken.
            world: the processes that train together; None: this one.

        Raises:
            ValueError: if readings are to be compared and the world model has no proposal.
        """
        self.config = config
        self.world = world or World()
        self.device = pick_device(config.device)
        self.dtype = pick_dtype(config.precision, self.device)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.model = (begin if isinstance(begin, WorldModel) else _new_model(config, begin, sets)).to(self.device)
            self.inverse = None
            if config.inverse_weight:  # drawn after the predictor, which begins the same with and without
                self.inverse = InverseDynamics(inverse_dynamics_config(sets)).to(self.device)
        self.reading = None
        if config.reading_weight:
            if self.model.proposal is None:
                raise ValueError(f"reading_weight needs a world model with a proposal, {config.world_model} has none")
            self.reading = Reading(self.model.proposal, sets[0])
        self.optimizer = make_optimizer(list(self.modules.values()), config.weight_decay)
        self.learning_rate = config.rate_schedule()

    @property
    def modules(self) -> dict[str, nn.Module]:
        """All networks that change, by name."""
        inverse = {} if self.inverse is None else {"inverse": self.inverse}
        return {"predictor": self.model.predictor, **inverse}

    def step(self, step: int, windows: WindowMixture) -> dict[str, Tensor]:
        """Train on this process's share of a batch of windows and return its scalars.

        Raises:
            FloatingPointError: if the loss is not finite.
        """
        config, world = self.config, self.world
        window = windows.windows(step, config.batch_size, self.device, share=(world.rank, world.size))
        losses = self._losses(*window)
        loss = losses["teacher"] + losses["rollout"]
        if self.inverse is not None:
            loss = loss + losses["inverse"] + config.inverse_weight * losses["imagined_inverse"]
        if self.reading is not None:
            loss = loss + config.reading_weight * losses["reading"]
        grad_norm = descend(self, step, loss)
        return {f"{name}_loss": value.detach() for name, value in losses.items()} | {"grad_norm": grad_norm}

    @torch.no_grad()
    def validate(self, windows: WindowMixture, max_windows: int = 512) -> dict[str, float]:
        """Measure all losses on held-out episodes, and against the copy baseline.

        `val_over_copy` is the teacher-forcing loss over that of predicting no change: 1 is nothing learned.
        """
        sums: dict[str, float] = {}
        for owner, starts in windows.spread(max_windows):
            for part in np.array_split(starts, math.ceil(len(starts) / self.config.batch_size)):
                z, actions, states = windows.sets[owner].windows(part, self.config.num_frames, self.device)
                losses = self._losses(z, actions, states) | {"copy": prediction_loss(z[:, :-1], z[:, 1:])}
                for name, loss in losses.items():
                    sums[name] = sums.get(name, 0.0) + float(loss) * len(part)
        count = min(max_windows, windows.num_windows)
        over_copy = sums["teacher"] / max(sums.pop("copy"), 1e-12)
        return {f"val_{name}": value / count for name, value in sums.items()} | {"val_over_copy": over_copy}

    def _losses(self, z: Tensor, actions: Tensor, states: Tensor) -> dict[str, Tensor]:
        with autocast(self.device, self.dtype):
            steps = self.config.rollout_steps
            return world_model_losses(self.model, z, actions, states, steps, self.inverse, self.reading)


def _new_model(config: TrainACConfig, encoder: VideoEncoder, sets: Sequence[LatentSet]) -> WorldModel:
    """Return a world model above a copy of an encoder, its predictor new."""
    model = WorldModel(WorldModelConfig(encoder=encoder.config, predictor=ac_predictor_config(config, encoder, sets)))
    model.encoder.load_state_dict(encoder.state_dict())
    return model


def ac_predictor_config(
    config: TrainACConfig, encoder: VideoEncoder, sets: Sequence[LatentSet]
) -> ActionConditionedPredictorConfig:
    """Return the predictor of a run, with units taken from the training episodes."""
    units: dict[str, Any] = {}
    if config.normalize:
        units["action_scale"] = number_units(sets, "actions")["scale"]
    if config.normalize and config.use_state:
        units |= {f"state_{name}": values for name, values in number_units(sets, "states").items()}
    return ActionConditionedPredictorConfig(
        encoder_dim=encoder.config.embed_dim,
        embed_dim=config.predictor_dim,
        depth=config.predictor_depth,
        num_heads=config.predictor_heads,
        conditioning=config.predictor_conditioning,
        action_dim=sets[0].actions.shape[1],
        state_dim=sets[0].states.shape[1],
        use_state=config.use_state,
        rope=encoder.config.rope or "true",
        **units,
    )


def inverse_dynamics_config(sets: Sequence[LatentSet]) -> InverseDynamicsConfig:
    """Return the network that reads actions off latents, with units taken from the training episodes."""
    num_tokens, encoder_dim = sets[0].z.shape[1:]
    units = number_units(sets, "actions")
    return InverseDynamicsConfig(
        encoder_dim=encoder_dim, num_tokens=num_tokens, action_mean=units["mean"], action_scale=units["scale"]
    )


def _load(config: TrainACConfig) -> VideoEncoder | WorldModel:
    """Load what a run begins with."""
    if config.world_model is not None:
        return load_world_model(config.world_model)
    assert config.encoder is not None  # refused before
    return load_encoder(config.encoder)


def train_ac(config: TrainACConfig) -> Path:
    """Run or resume action-conditioned training, in this process or with the others that `torchrun` started.

    Returns:
        The folder of the world model.

    Raises:
        CheckpointError: if what it begins with is missing or of another architecture, or `config.out` holds another
            run.
        TrajectoryError: if a dataset is missing, lacks what is needed, or too many of its episodes are bad.
        ValueError: if no episode is as long as a window, the datasets do not fit each other, or the batch size is no
            multiple of the number of processes.
    """
    device = pick_device(config.device)
    with joined_world(device) as world:
        begin = _load(config).to(device)
        encoder = begin.encoder if isinstance(begin, WorldModel) else begin
        antialias = begin.config.antialias if isinstance(begin, WorldModel) else True
        find_motion = partial(moving_frames, seed=config.seed, device=device) if config.balance_motion else None
        windows = open_windows(config, encoder, config.num_frames, world, antialias=antialias, find_motion=find_motion)
        if isinstance(begin, WorldModel):
            check_data_fit(windows.train.sets, begin)
        trainer = ACTrainer(config, begin, windows.train.sets, world)
        content = {"encoder" if begin is encoder else "world_model": fingerprint(begin)}
        folder = train_on_latents(trainer, windows, name="train-ac", samples="windows", content=content)
        if world.is_main:
            sets = windows.train.sets, windows.validation.sets
            report_imagined_objects(trainer.model, *sets, config.out, seed=config.seed)
        return folder
