"""Action-conditioned training: from a frozen encoder and robot trajectories to a latent world model.

The encoder is frozen, so the latents of all frames are computed once and kept on disk; after that only the predictor
runs.

Letters: B windows, T frames, N tokens per frame, D width, A action, P state.

Source: V-JEPA 2 (arXiv 2506.09985), section 3: teacher forcing plus a two-step rollout, both L1 on normalised latents.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vjepa_wm.data.latents.latent_set import LatentSet, number_units
from vjepa_wm.data.latents.latent_store import encode_dataset
from vjepa_wm.data.latents.window_mixture import WindowMixture
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.models.ac_predictor import ActionConditionedPredictorConfig
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.key_value_cache import KeyValueCache
from vjepa_wm.models.load import load_encoder
from vjepa_wm.models.precision import autocast, pick_device, pick_dtype
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig, save_world_model
from vjepa_wm.training.encoded_data import encode_good_episodes
from vjepa_wm.training.losses import prediction_loss
from vjepa_wm.training.run.distributed import World
from vjepa_wm.training.run.optimizer import make_optimizer, take_step
from vjepa_wm.training.run.run_config import RunConfig
from vjepa_wm.training.run.run_log import RunLog
from vjepa_wm.training.run.training_state import TrainingState

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainACConfig(RunConfig):
    """Train the action-conditioned predictor of V-JEPA 2-AC on robot trajectories, above a frozen encoder."""

    data: tuple[Path, ...]
    """LeRobot v3 dataset folders."""
    data_weights: tuple[float, ...] = ()
    """Share of each dataset in what is drawn; none: by their windows."""
    read: TrajectoryOptions = field(default_factory=TrajectoryOptions)
    """What of them is read: camera, rate, columns, and how they become states and actions."""
    encoder: Path
    """Encoder: a folder as `pretrain` writes it, a file of published weights, or their name."""
    max_bad_share: float = 0.1
    """Largest share of a dataset's episodes that may be unreadable; they are named and left out."""
    latents: Path | None = None
    """Folder that keeps latents, for this run and others; none: a hidden one inside each dataset."""
    predictor_dim: int = 192
    """Width of the predictor."""
    predictor_depth: int = 4
    """Blocks of the predictor."""
    predictor_heads: int = 3
    """Heads of the predictor."""
    normalize: bool = True
    """Give the predictor actions and states in units of the dataset's deviation; off is V-JEPA 2-AC."""
    num_frames: int = 3
    """Frames in a training window."""
    rollout_steps: int = 2
    """Steps of the rollout whose loss is added to teacher forcing's."""
    steps: int = 2_000
    batch_size: int = 64
    validation_share: float = 0.1
    """Share of the episodes kept out of training to measure the loss on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data:
            raise ValueError("data must name at least one dataset, got none")
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share must be from 0 to 1, got {self.max_bad_share}")
        if self.rollout_steps < 1 or self.num_frames < self.rollout_steps + 1:
            raise ValueError(
                f"num_frames must be at least rollout_steps + 1 = {self.rollout_steps + 1}, got {self.num_frames}"
            )


def world_model_losses(
    model: WorldModel, z: Tensor, actions: Tensor, states: Tensor, rollout_steps: int
) -> tuple[Tensor, Tensor]:
    """Return the teacher-forcing and the rollout loss of windows.

    Args:
        model: its predictor gets the gradient.
        z: latents, (B, T, N, D).
        actions: displacement from each frame to the next, (B, T, A); the last one is not used.
        states: pose at each frame, (B, T, P).
        rollout_steps: how many steps are predicted from the first frame on, each from the prediction before it.

    Returns:
        Two scalars. The rollout loss is averaged over all its steps, of which the first is teacher-forced too.
    """
    teacher = prediction_loss(model.predict(z[:, :-1], actions[:, :-1], states[:, :-1]), z[:, 1:])
    if rollout_steps == 1:
        return teacher, teacher
    cache, frame, frames = KeyValueCache(), z[:, :1], []
    for step in range(rollout_steps):
        frame = model.predict(frame, actions[:, step : step + 1], states[:, step : step + 1], cache=cache)
        frames.append(frame)
    return teacher, prediction_loss(torch.cat(frames, dim=1), z[:, 1 : rollout_steps + 1])


class ACTrainer:
    """The world model, optimizer and schedule of a run."""

    def __init__(
        self, config: TrainACConfig, encoder: VideoEncoder, predictor: ActionConditionedPredictorConfig
    ) -> None:
        """Build the world model, its predictor anew.

        Args:
            config: the run.
            encoder: what gives the latents; a copy of it becomes part of the world model.
            predictor: what is trained.
        """
        self.config = config
        self.device = pick_device(config.device)
        self.dtype = pick_dtype(config.precision, self.device)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.model = WorldModel(WorldModelConfig(encoder=encoder.config, predictor=predictor)).to(self.device)
        self.model.encoder.load_state_dict(encoder.state_dict())
        self.optimizer = make_optimizer([self.model.predictor], config.weight_decay)
        self.learning_rate = config.rate_schedule()

    def step(self, step: int, windows: WindowMixture) -> dict[str, Tensor]:
        """Train on one batch of windows and return its scalars.

        Raises:
            FloatingPointError: if the loss is not finite.
        """
        config = self.config
        window = windows.windows(step, config.batch_size, self.device)
        with autocast(self.device, self.dtype):
            teacher, rollout = world_model_losses(self.model, *window, config.rollout_steps)
        grad_norm = take_step(
            self.optimizer,
            [teacher + rollout],
            learning_rate=self.learning_rate(step),
            weight_decay=config.decay_at(step),
            clip_grad_norm=config.clip_grad_norm,
        )
        return {"teacher_loss": teacher.detach(), "rollout_loss": rollout.detach(), "grad_norm": grad_norm}

    @torch.no_grad()
    def validate(self, windows: WindowMixture, max_windows: int = 512) -> dict[str, float]:
        """Measure both losses on held-out episodes, and against the copy baseline.

        `val_over_copy` is the teacher-forcing loss over that of predicting no change: 1 is nothing learned.
        """
        rows, counts = [], []
        for owner, starts in windows.spread(max_windows):
            for part in np.array_split(starts, math.ceil(len(starts) / self.config.batch_size)):
                z, actions, states = windows.sets[owner].windows(part, self.config.num_frames, self.device)
                with autocast(self.device, self.dtype):
                    losses = world_model_losses(self.model, z, actions, states, self.config.rollout_steps)
                copy = prediction_loss(z[:, :-1], z[:, 1:])
                rows.append(torch.stack((*losses, copy)) * len(part))
                counts.append(len(part))
        teacher, rollout, copy = (torch.stack(rows).sum(dim=0) / sum(counts)).tolist()
        return {"val_teacher": teacher, "val_rollout": rollout, "val_over_copy": teacher / max(copy, 1e-12)}


def ac_predictor_config(
    config: TrainACConfig, encoder: VideoEncoder, sets: Sequence[LatentSet]
) -> ActionConditionedPredictorConfig:
    """Return the predictor of a run, with units taken from the training episodes."""
    units: dict[str, Any] = {}
    if config.normalize:
        units = {f"action_{name}": values for name, values in number_units(sets, "actions").items() if name == "scale"}
        units |= {f"state_{name}": values for name, values in number_units(sets, "states").items()}
    return ActionConditionedPredictorConfig(
        encoder_dim=encoder.config.embed_dim,
        embed_dim=config.predictor_dim,
        depth=config.predictor_depth,
        num_heads=config.predictor_heads,
        action_dim=sets[0].actions.shape[1],
        state_dim=sets[0].states.shape[1],
        rope=encoder.config.rope or "true",
        **units,
    )


def open_windows(
    config: TrainACConfig, encoder: VideoEncoder, dtype: torch.dtype
) -> tuple[WindowMixture, WindowMixture]:
    """Return the windows to train on, and those of the episodes that are kept out, after encoding what is not yet.

    Raises:
        TrajectoryError: if a dataset is missing, lacks what is needed, or too many of its episodes are bad.
        ValueError: if no episode is as long as a window, or the datasets do not fit each other.
    """
    encode = partial(encode_dataset, encoder, dtype=dtype, store=config.latents)
    sets = [encode_good_episodes(path, config.read, encode, config.max_bad_share) for path in config.data]
    parts = [one.split(config.validation_share, config.seed) for one in sets]
    train, validation = (
        WindowMixture([part[k] for part in parts], config.num_frames, weights=config.data_weights, seed=config.seed)
        for k in (0, 1)
    )
    return train, validation


def train_ac(config: TrainACConfig) -> Path:
    """Run or resume action-conditioned training and return the folder of the world model.

    Raises:
        CheckpointError: if the encoder is missing or of another architecture, or `config.out` holds another run.
        TrajectoryError: if a dataset is missing, lacks what is needed, or too many of its episodes are bad.
        ValueError: if no episode is as long as a window, or the datasets do not fit each other.
    """
    device = pick_device(config.device)
    encoder = load_encoder(config.encoder).to(device)
    train, validation = open_windows(config, encoder, pick_dtype(config.precision, device))
    trainer = ACTrainer(config, encoder, ac_predictor_config(config, encoder, train.sets))
    modules = {"predictor": trainer.model.predictor}
    state = TrainingState(config.out, modules=modules, optimizer=trainer.optimizer, world=World())
    first_step = state.load()
    logger.info("%d training and %d validation windows", train.num_windows, validation.num_windows)
    log = RunLog(
        config.out,
        first_step=first_step,
        total_steps=config.steps,
        samples_per_step=config.batch_size,
        tensorboard=config.tensorboard,
        name="train-ac",
        samples="windows",
    )
    with state, log:
        config.record("train_ac.json")
        for step in range(first_step, config.steps):
            row = {name: float(value) for name, value in trainer.step(step, train).items()}
            log.step(step)
            is_saved = config.is_due(step, config.save_every)
            if is_saved:
                row |= trainer.validate(validation)
            if config.is_due(step, config.log_every) or is_saved:
                log.write(step, row)
            if is_saved:  # the state last: a run goes on after it, and never writes again what belongs before it
                save_world_model(trainer.model, config.out / "world_model")
                state.save(step + 1)
    return config.out / "world_model"
