"""Action-conditioned training: from a frozen encoder and robot trajectories to a latent world model.

The encoder is frozen, so the latents of all frames are computed once; after that only the predictor runs.

Letters: B windows, T frames, N tokens per frame, D width, A action, P state.

Source: V-JEPA 2 (arXiv 2506.09985), section 3: teacher forcing plus a two-step rollout, both L1 on normalised latents.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.models.ac_predictor import ActionConditionedPredictorConfig
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.key_value_cache import KeyValueCache
from vjepa_wm.models.load import load_encoder
from vjepa_wm.models.precision import autocast, pick_device, pick_dtype
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig, encode_frames, save_world_model
from vjepa_wm.training.losses import prediction_loss
from vjepa_wm.training.run.distributed import World
from vjepa_wm.training.run.metrics import MetricsWriter
from vjepa_wm.training.run.optimizer import make_optimizer, take_step
from vjepa_wm.training.run.run_config import RunConfig, step_generator
from vjepa_wm.training.run.training_state import TrainingState

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainACConfig(RunConfig):
    """Train the action-conditioned predictor of V-JEPA 2-AC on robot trajectories, above a frozen encoder."""

    data: Path
    """LeRobot v3 dataset folder."""
    read: TrajectoryOptions = field(default_factory=TrajectoryOptions)
    """What of it is read: camera, rate, columns, and how they become states and actions."""
    encoder: Path
    """Encoder: a folder as `pretrain` writes it, a file of published weights, or their name."""
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
        if self.rollout_steps < 1 or self.num_frames < self.rollout_steps + 1:
            raise ValueError(
                f"num_frames must be at least rollout_steps + 1 = {self.rollout_steps + 1}, got {self.num_frames}"
            )


@dataclass(frozen=True)
class LatentEpisodes:
    """Episodes with frames already encoded, end to end, and the windows that stay inside an episode."""

    z: Tensor
    """(frames, N, D)."""
    states: Tensor
    """(frames, P) float32."""
    actions: Tensor
    """(frames, A) float32; a row moves its frame to the next."""
    starts: Tensor
    """First frame of every window."""

    def window(self, starts: Tensor, num_frames: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Return z (B, T, N, D), actions (B, T, A) and states (B, T, P) of windows."""
        index = starts.unsqueeze(1) + torch.arange(num_frames)
        z, actions, states = (values[index].to(device).float() for values in (self.z, self.actions, self.states))
        return z, actions, states


@torch.no_grad()
def encode_episodes(
    encoder: VideoEncoder, dataset: TrajectoryDataset, num_frames: int, dtype: torch.dtype
) -> LatentEpisodes:
    """Encode every frame of a dataset once.

    Raises:
        ValueError: if no episode is as long as a window.
    """
    device = encoder.patch_embed.proj.weight.device
    parts: dict[str, list[Tensor]] = {"z": [], "states": [], "actions": [], "starts": []}
    total = 0
    for index in tqdm(range(dataset.num_episodes), desc="encode", unit="episode", mininterval=1.0):
        episode = dataset.episode(index)
        with autocast(device, dtype):
            frames = torch.from_numpy(episode.frames).to(device)
            parts["z"].append(encode_frames(encoder, frames.unsqueeze(0))[0].to("cpu", torch.float16))
        parts["states"].append(torch.from_numpy(episode.states))
        parts["actions"].append(torch.from_numpy(episode.actions))
        length = len(episode.states)
        parts["starts"].append(total + torch.arange(max(length - num_frames + 1, 0)))
        total += length
    episodes = LatentEpisodes(**{name: torch.cat(values) for name, values in parts.items()})
    if not len(episodes.starts):
        raise ValueError(f"no episode holds a window of num_frames {num_frames}; lower num_frames")
    return episodes


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

    def step(self, step: int, episodes: LatentEpisodes) -> dict[str, Tensor]:
        """Train on one batch of windows and return its scalars.

        Raises:
            FloatingPointError: if the loss is not finite.
        """
        config = self.config
        generator = step_generator(config.seed, step)
        chosen = torch.randint(len(episodes.starts), (config.batch_size,), generator=generator)
        window = episodes.window(episodes.starts[chosen], config.num_frames, self.device)
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
    def validate(self, episodes: LatentEpisodes, max_windows: int = 512) -> dict[str, float]:
        """Measure both losses on held-out episodes, and against the copy baseline.

        `val_over_copy` is the teacher-forcing loss over that of predicting no change: 1 is nothing learned.
        """
        spread = torch.linspace(0, len(episodes.starts) - 1, min(max_windows, len(episodes.starts))).long()
        rows = []
        for part in episodes.starts[spread].split(self.config.batch_size):
            z, actions, states = episodes.window(part, self.config.num_frames, self.device)
            with autocast(self.device, self.dtype):
                losses = world_model_losses(self.model, z, actions, states, self.config.rollout_steps)
            copy = prediction_loss(z[:, :-1], z[:, 1:])
            rows.append(torch.stack((*losses, copy)) * len(part))
        teacher, rollout, copy = (torch.stack(rows).sum(dim=0) / len(spread)).tolist()
        return {"val_teacher": teacher, "val_rollout": rollout, "val_over_copy": teacher / max(copy, 1e-12)}


def ac_predictor_config(
    config: TrainACConfig, encoder: VideoEncoder, episodes: LatentEpisodes
) -> ActionConditionedPredictorConfig:
    """Return the predictor of a run, with units taken from the training episodes."""
    units: dict[str, Any] = {}
    if config.normalize:
        # A number that hardly varies must not be blown up, hence the floor of a thousandth [m, rad, gripper].
        units = {
            "action_scale": tuple(episodes.actions.std(dim=0).clamp_min(1e-3).tolist()),
            "state_mean": tuple(episodes.states.mean(dim=0).tolist()),
            "state_scale": tuple(episodes.states.std(dim=0).clamp_min(1e-3).tolist()),
        }
    return ActionConditionedPredictorConfig(
        encoder_dim=encoder.config.embed_dim,
        embed_dim=config.predictor_dim,
        depth=config.predictor_depth,
        num_heads=config.predictor_heads,
        action_dim=episodes.actions.shape[-1],
        state_dim=episodes.states.shape[-1],
        rope=encoder.config.rope or "true",
        **units,
    )


def train_ac(config: TrainACConfig) -> Path:
    """Run or resume action-conditioned training and return the folder of the world model.

    Raises:
        CheckpointError: if the encoder is missing or of another architecture, or `config.out` holds another run.
        TrajectoryError: if the dataset is missing or lacks what is needed.
    """
    device = pick_device(config.device)
    encoder = load_encoder(config.encoder).to(device)
    dtype = pick_dtype(config.precision, device)
    train, validation = (
        encode_episodes(encoder, part, config.num_frames, dtype)
        for part in TrajectoryDataset(config.data, config.read).split(config.validation_share, config.seed)
    )
    trainer = ACTrainer(config, encoder, ac_predictor_config(config, encoder, train))
    modules = {"predictor": trainer.model.predictor}
    state = TrainingState(config.out, modules=modules, optimizer=trainer.optimizer, world=World())
    first_step = state.load()
    logger.info("%d training and %d validation windows", len(train.starts), len(validation.starts))
    writer = MetricsWriter(config.out / "metrics.csv", first_step=first_step)
    measured: dict[str, float] = {}
    with state, tqdm(total=config.steps, initial=first_step, desc="train-ac", unit="step", mininterval=1.0) as bar:
        config.record("train_ac.json")
        for step in range(first_step, config.steps):
            row = {name: float(value) for name, value in trainer.step(step, train).items()}
            bar.update()
            is_saved = config.is_due(step, config.save_every)
            if is_saved:
                measured = trainer.validate(validation)
                row |= measured
            if config.is_due(step, config.log_every):
                writer.write(step, row)
                shown = {"loss": row["teacher_loss"], "val/copy": measured.get("val_over_copy", float("nan"))}
                bar.set_postfix({name: f"{value:.3f}" for name, value in shown.items()})
            if is_saved:  # the state last: a run goes on after it, and never writes again what belongs before it
                save_world_model(trainer.model, config.out / "world_model")
                state.save(step + 1)
    return config.out / "world_model"
