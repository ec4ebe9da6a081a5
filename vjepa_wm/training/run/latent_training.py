"""What the trainings above a frozen encoder share: their data, and the loop of one process or many.

Latents of all frames are computed once and kept on disk; after that only what is trained runs. The windows of a step
are dealt out by its number, and divided among the processes that `torchrun` started, so that many train as one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vjepa_wm.checks import check_positive, check_within
from vjepa_wm.data.latents.latent_set import LatentSet, num_validation
from vjepa_wm.data.latents.latent_store import encode_dataset
from vjepa_wm.data.latents.window_mixture import WindowMixture
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.precision import pick_device, pick_dtype
from vjepa_wm.models.world_model import WorldModel, save_world_model
from vjepa_wm.training.encoded_data import encode_good_episodes
from vjepa_wm.training.run.distributed import World
from vjepa_wm.training.run.optimizer import take_step
from vjepa_wm.training.run.run_config import RunConfig
from vjepa_wm.training.run.run_log import open_log
from vjepa_wm.training.run.training_state import TrainingState

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LatentRunConfig(RunConfig):
    """Options of a training above latents of trajectories."""

    data: tuple[Path, ...]
    """LeRobot v3 dataset folders."""
    data_weights: tuple[float, ...] = ()
    """Share of each dataset in what is drawn; none: by what there is to draw in them."""
    read: TrajectoryOptions = field(default_factory=TrajectoryOptions)
    """What of them is read: camera, rate, columns, and how they become states and actions."""
    max_bad_share: float = 0.1
    """Largest share of a dataset's episodes that may be unreadable; they are named and left out."""
    latents: Path | None = None
    """Folder that keeps latents, for this run and others; none: a hidden one inside each dataset."""
    validation_share: float = 0.1
    """Share of the episodes kept out of training to measure the loss on."""

    free_options = (*RunConfig.free_options, "latents")

    def __post_init__(self) -> None:
        """Check what is not checked by the parts."""
        super().__post_init__()
        for weight in self.data_weights:
            check_positive(data_weights=weight)
        check_within(0, 1, validation_share=self.validation_share, max_bad_share=self.max_bad_share)
        if not self.data:
            raise ValueError("data must name at least one dataset, got none")


@dataclass(frozen=True)
class Windows:
    """Windows of latents."""

    train: WindowMixture
    """To train on."""
    validation: WindowMixture
    """Of the episodes that are kept out."""


class LatentTrainer(Protocol):
    """What is trained, in one process of its world."""

    @property
    def config(self) -> LatentRunConfig:
        """The run."""

    @property
    def world(self) -> World:
        """The processes that train together."""

    @property
    def model(self) -> WorldModel:
        """The world model that the run leaves, in OUT/world_model."""

    @property
    def modules(self) -> dict[str, nn.Module]:
        """All networks that change, by name."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Of these networks."""

    @property
    def learning_rate(self) -> Callable[[int], float]:
        """That of each step."""

    def step(self, step: int, windows: WindowMixture) -> dict[str, Tensor]:
        """Train on the share of a step that is this process's, and return the scalars of this share."""

    def validate(self, windows: WindowMixture) -> dict[str, float]:
        """Measure on held-out episodes; one process does it."""


def open_windows(
    config: LatentRunConfig,
    encoder: VideoEncoder,
    num_frames: int,
    world: World,
    *,
    antialias: bool = True,
    find_motion: Callable[[LatentSet], np.ndarray] | None = None,
) -> Windows:
    """Open the data of a run after encoding what is not yet, which one process does.

    Args:
        config: the run.
        encoder: what gives the latents.
        num_frames: frames of a window.
        world: the processes that train together.
        antialias: as of `encode_dataset`.
        find_motion: tells of which frames something moves on to the next, for windows to train on that are balanced by
            it; None: all windows are alike.

    Raises:
        TrajectoryError: if a dataset is missing, lacks what is needed, or too many of its episodes are bad.
        ValueError: if no episode is as long as a window, the datasets do not fit each other, or a batch cannot be
            divided among the processes.
    """
    if config.batch_size % world.size:
        raise ValueError(f"batch_size must be a multiple of the {world.size} processes, got {config.batch_size}")
    dtype = pick_dtype(config.precision, pick_device(config.device))
    for path in config.data:  # else it is told after hours of encoding
        num_validation(config.validation_share, TrajectoryDataset(path, config.read).num_episodes)
    encode = partial(encode_dataset, encoder, antialias=antialias, dtype=dtype, store=config.latents)
    with world.main_first():
        sets = [
            encode_good_episodes(path, config.read, encode, config.max_bad_share, config.latents)
            for path in config.data
        ]
    parts = [one.split(config.validation_share, config.seed) for one in sets]
    moving = None if find_motion is None else [find_motion(train) for train, _ in parts]
    deal = partial(WindowMixture, num_frames=num_frames, weights=config.data_weights, seed=config.seed)
    return Windows(deal([train for train, _ in parts], moving=moving), deal([rest for _, rest in parts]))


def check_data_fit(sets: Sequence[LatentSet], model: WorldModel) -> None:
    """Raise a ValueError unless the data have the actions and states of a world model."""
    predictor = model.config.predictor
    wanted = (("action_dim", "actions", True), ("state_dim", "states", predictor.use_state))
    for name, numbers, counts in wanted:
        here, there = getattr(sets[0], numbers).shape[1], getattr(predictor, name)
        if counts and here != there:
            raise ValueError(f"the datasets must have the {name} {there} of the world model, they have {here}")


def descend(trainer: LatentTrainer, step: int, loss: Tensor) -> Tensor:
    """Move what a trainer trains down the gradient of a step's loss, and return its norm before clipping.

    Raises:
        FloatingPointError: if the loss is not finite.
    """
    return take_step(
        trainer.optimizer,
        [loss],
        learning_rate=trainer.learning_rate(step),
        weight_decay=trainer.config.decay_at(step),
        clip_grad_norm=trainer.config.clip_grad_norm,
        world=trainer.world,
    )


def train_on_latents(
    trainer: LatentTrainer, windows: Windows, *, name: str, samples: str, content: Mapping[str, object]
) -> Path:
    """Run or resume a training, and return the folder of its world model.

    Args:
        trainer: what is trained.
        windows: what on.
        name: of the command, for the log.
        samples: what the samples are called there.
        content: what is read beside the numbers of the data, as of `RunConfig.record`.

    Raises:
        CheckpointError: if the folder of the run holds another run.
        FolderInUseError: if another run is writing there.
    """
    config, world = trainer.config, trainer.world
    folder, record = config.out / "world_model", f"{name.replace('-', '_')}.json"
    if "data" not in content:
        sets = windows.train.sets
        numbers, pictures = [one.content() for one in sets], [one.pictures_content() for one in sets]
        content = {"data": numbers, "pictures of data": pictures, **content}
    config.check_same_run(record, **content)
    state = TrainingState(config.out, modules=trainer.modules, optimizer=trainer.optimizer, world=world)
    first_step = state.load()
    counts = windows.train.num_windows, windows.validation.num_windows
    logger.info("%d %s to train on and %d to validate on", counts[0], samples, counts[1])
    with state, open_log(config, world, first_step, config.steps, name=name, samples=samples) as log:
        if world.is_main:
            config.record(record, **content)
        for step in range(first_step, config.steps):
            scalars = trainer.step(step, windows.train)
            is_saved = config.is_due(step, config.save_every)
            if log:
                log.step(step)
            if config.is_due(step, config.log_every) or is_saved:
                row = {key: float(world.mean(value)) for key, value in scalars.items()}
                if log:
                    log.write(step, row | (trainer.validate(windows.validation) if is_saved else {}))
            if is_saved:  # the state last: a run goes on after it, and never writes again what belongs before it
                if world.is_main:
                    save_world_model(trainer.model, folder)
                state.save(step + 1)
    return folder
