"""New looks for an old world model: its encoder learns to see them as it sees what it knows.

Why this file exists: predictor, proposal and costs know one look. To train them all anew on thousands costs many times
what it costs to teach the encoder alone: of each frame in a new look it is told, token by token, what the encoder makes
of the same moment in the look that all other parts know. They stay as they are, and take the new look for the old one.

It takes two recordings of the same episodes: our simulator gives them for one seed with and without variation, a robot
by two cameras. Neither rewards nor poses of objects are read.

Letters: B windows, T frames of one, N tokens per frame, D width.

Source: randomized-to-canonical adaptation (arXiv 1812.07252), here from features to features; domain randomization
(arXiv 1703.06907).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vjepa_wm.checks import check_at_least, check_within
from vjepa_wm.data.latents.latent_folder import PICTURES_COMPARED, pictures_number
from vjepa_wm.data.latents.latent_set import LatentSet
from vjepa_wm.data.latents.latent_store import fingerprint
from vjepa_wm.data.latents.window_mixture import WindowMixture, share_of
from vjepa_wm.data.randomness import generator_for
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.metadata_checks import TrajectoryError
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.load import load_world_model
from vjepa_wm.models.precision import autocast, pick_device, pick_dtype
from vjepa_wm.models.world_model import WorldModel, encode_frames
from vjepa_wm.training.ac_objective import Reading
from vjepa_wm.training.losses import prediction_loss
from vjepa_wm.training.run.distributed import World, joined_world
from vjepa_wm.training.run.latent_training import LatentRunConfig, descend, open_windows, train_on_latents
from vjepa_wm.training.run.optimizer import make_optimizer

OLD = 1
"""Purpose of the draw that says which windows are shown in the old look."""


@dataclass(frozen=True, kw_only=True)
class TrainLooksConfig(LatentRunConfig):
    """Teach the encoder of a world model new looks; what is above it stays as it is."""

    data: tuple[Path, ...]
    """LeRobot v3 dataset folders: episodes in new looks."""
    targets: tuple[Path, ...]
    """For each of them one of the same episodes, step by step, in the look that the world model knows: in the simulator
    collected with the same seed, without variation of looks."""
    world_model: Path
    """World model that knows one look; OUT/world_model is it with an encoder that knows more."""
    target_camera: str | None = None
    """Camera of the targets; none: as read.camera says."""
    old_share: float = 0.15
    """Share of the windows that are shown in the old look, so that it is not forgotten."""
    reading_weight: float = 0.3
    """Weight of a loss that compares what the proposal's reader leaves of latents and of what they are to be, so that
    small objects count; without a proposal there is none."""
    num_frames: int = 8
    """Frames that follow each other in a window."""
    max_bad_share: float = 0.0
    steps: int = 3_000
    batch_size: int = 32
    learning_rate: float = 6e-4
    validation_share: float = 0.05

    def __post_init__(self) -> None:
        """Check what is not checked by the parts."""
        super().__post_init__()
        check_at_least(1, num_frames=self.num_frames)
        check_at_least(0, reading_weight=self.reading_weight)
        check_within(0, 1, old_share=self.old_share)
        if len(self.targets) != len(self.data):
            raise ValueError(f"targets must be one for each of {len(self.data)} datasets, got {len(self.targets)}")
        if self.max_bad_share:
            raise ValueError("max_bad_share must be 0: an episode that cannot be read has no pair; see read.episodes")

    @property
    def of_targets(self) -> LatentRunConfig:
        """The same run on the targets alone."""
        camera = self.read.camera if self.target_camera is None else self.target_camera
        return replace(self, data=self.targets, read=replace(self.read, camera=camera))


class PairedFrames:
    """Pictures of the rows of latents, in the new look or in the old one.

    Attributes:
        latents: of the old look.
    """

    def __init__(self, new: TrajectoryDataset, old: TrajectoryDataset, latents: LatentSet) -> None:
        """Make sure that both are of the same episodes.

        Args:
            new: episodes in new looks.
            old: the same in the look that is known.
            latents: of these, all episodes.

        Raises:
            TrajectoryError: if they are not.
        """
        self.latents = latents
        self._looks = new, old
        if new.lengths != old.lengths:
            counts = tuple(f"{one.num_episodes} episodes, {sum(one.lengths)} frames" for one in self._looks)
            raise TrajectoryError(
                f"{new.root} and {old.root} must be the same episodes in two looks, as of one seed; they are "
                f"{counts[0]} and {counts[1]}"
            )
        for i, (first, length) in enumerate(zip(latents.firsts, latents.lengths, strict=True)):
            there, rows = new.numbers(i), slice(first, first + length)
            for name in ("states", "actions"):
                if not np.array_equal(getattr(there, name), getattr(latents, name)[rows]):
                    raise TrajectoryError(
                        f"{new.root} and {old.root} must be the same episodes in two looks, as of one seed; "
                        f"episode {new.episodes[i]} has other {name}"
                    )

    def read(self, start: int, num_frames: int, *, old: bool) -> np.ndarray:
        """Read the frames of a window, (T, height, width, 3) uint8.

        Args:
            start: row of its first frame.
            num_frames: how many.
            old: whether in the look that is known.
        """
        i = int(np.searchsorted(self.latents.firsts, start, side="right")) - 1
        dataset = self._looks[old]
        return dataset.some_frames(i, start - int(self.latents.firsts[i]) + np.arange(num_frames))


class LooksTrainer:
    """The encoder, optimizer and schedule of a run, in one process of its world.

    Attributes:
        model: the world model, whose encoder is trained.
    """

    def __init__(
        self,
        config: TrainLooksConfig,
        model: WorldModel,
        pairs: Sequence[PairedFrames],
        frames: LatentSet,
        world: World | None = None,
    ) -> None:
        """Keep a copy of the encoder as it was, to compare with.

        Args:
            config: the run.
            model: what is trained.
            pairs: the pictures of each dataset.
            frames: training episodes that tell the unit of readings.
            world: the processes that train together; None: this one.
        """
        self.config, self.model, self.world, self._pairs = config, model, world or World(), pairs
        self.device = pick_device(config.device)
        self.dtype = pick_dtype(config.precision, self.device)
        self._before = copy.deepcopy(model.encoder)
        self._reading = None
        if config.reading_weight and model.proposal is not None:
            self._reading = Reading(model.proposal, frames)
        model.encoder.requires_grad_(True)
        self.optimizer = make_optimizer([model.encoder], config.weight_decay)
        self.learning_rate = config.rate_schedule()

    @property
    def modules(self) -> dict[str, nn.Module]:
        """All networks that change, by name."""
        return {"encoder": self.model.encoder}

    def step(self, step: int, windows: WindowMixture) -> dict[str, Tensor]:
        """Train on this process's share of a batch of windows and return its scalars.

        Raises:
            FloatingPointError: if the loss is not finite.
        """
        config, world = self.config, self.world
        draws = torch.rand(config.batch_size, generator=generator_for(OLD, config.seed, step)).numpy()
        drawn, place = [], 0
        for owner, starts in windows.draw(step, config.batch_size):
            old = draws[place : place + len(starts)] < config.old_share
            drawn.append((owner, np.stack((starts, old))))
            place += len(starts)
        frames, z = self._read(windows, share_of(drawn, world.rank, world.size))
        losses = self._losses(self.model.encoder, frames, z)
        loss = losses["latent"]
        if self._reading is not None:
            loss = loss + config.reading_weight * losses["reading"]
        grad_norm = descend(self, step, loss)
        return {f"{name}_loss": value.detach() for name, value in losses.items()} | {"grad_norm": grad_norm}

    @torch.no_grad()
    def validate(self, windows: WindowMixture, max_windows: int = 64) -> dict[str, float]:
        """Measure the losses on held-out episodes in new looks, and beside those of the encoder as it was.

        `val_over_before` is the loss over that one: 1 is nothing learned. `val_old` is the loss in the old look.
        """
        spread = windows.spread(max_windows)
        sums: dict[str, float] = {}
        for old, encoder, names in (
            (0, self.model.encoder, {"latent": "val_latent", "reading": "val_reading"}),
            (0, self._before, {"latent": "val_over_before"}),
            (1, self.model.encoder, {"latent": "val_old"}),
        ):
            for owner, starts in spread:
                frames, z = self._read(windows, [(owner, np.stack((starts, np.full_like(starts, old))))])
                losses = self._losses(encoder, frames, z)
                for name in losses.keys() & names.keys():
                    sums[names[name]] = sums.get(names[name], 0.0) + float(losses[name]) * len(starts)
        means = {name: value / sum(len(starts) for _, starts in spread) for name, value in sums.items()}
        return means | {"val_over_before": means["val_latent"] / max(means["val_over_before"], 1e-12)}

    def _losses(self, encoder: VideoEncoder, frames: Tensor, z: Tensor) -> dict[str, Tensor]:
        """Compare what an encoder makes of frames (B, T, height, width, 3) with latents (B, T, N, D)."""
        with autocast(self.device, self.dtype):
            seen = encode_frames(encoder, frames, antialias=self.model.config.antialias)
        losses = {"latent": prediction_loss(seen, z)}
        if self._reading is not None:
            losses["reading"] = self._reading.error(seen, z)
        return losses

    def _read(self, windows: WindowMixture, drawn: list[tuple[int, np.ndarray]]) -> tuple[Tensor, Tensor]:
        """Read frames and what is to be made of them; `drawn` are first rows and whether in the old look, (2, B)."""
        num, frames, latents = self.config.num_frames, [], []
        for owner, (starts, olds) in drawn:
            frames += [
                self._pairs[owner].read(int(start), num, old=bool(old)) for start, old in zip(starts, olds, strict=True)
            ]
            latents.append(windows.sets[owner].windows(starts, num, self.device)[0])
        sizes = {window.shape[1:3] for window in frames}
        if len(sizes) > 1:
            raise ValueError(f"pictures of data and targets must be of one size, got {sorted(sizes)}")
        return torch.from_numpy(np.stack(frames)).to(self.device), torch.cat(latents)


def train_looks(config: TrainLooksConfig) -> Path:
    """Run or resume the training of an encoder on new looks, alone or with the others that `torchrun` started.

    Returns:
        The folder of the world model that has it.

    Raises:
        CheckpointError: if the world model is missing or broken, or `config.out` holds another run.
        TrajectoryError: if a dataset is missing, lacks what is needed or holds other episodes than its targets, or one
            of its episodes is bad.
        ValueError: if the datasets do not fit each other, no episode is as long as a window, or the batch size is no
            multiple of the number of processes.
    """
    device = pick_device(config.device)
    with joined_world(device) as world:
        model = load_world_model(config.world_model).to(device)
        targets = config.of_targets
        new = [TrajectoryDataset(path, config.read) for path in config.data]
        old = [TrajectoryDataset(path, targets.read) for path in targets.data]
        windows = open_windows(targets, model.encoder, config.num_frames, world, antialias=model.config.antialias)
        whole = map(whole_set, windows.train.sets, windows.validation.sets)
        pairs = [PairedFrames(*three) for three in zip(new, old, whole, strict=True)]
        content = {
            "world_model": fingerprint(model),
            "data": [some_pictures(one) for one in new],
            "targets": [one.content() for one in windows.train.sets],
        }
        trainer = LooksTrainer(config, model, pairs, windows.train.sets[0], world)
        return train_on_latents(trainer, windows, name="train-looks", samples="windows", content=content)


def whole_set(train: LatentSet, validation: LatentSet) -> LatentSet:
    """Put the two parts of a set together again, all episodes in order."""
    firsts = np.concatenate((train.firsts, validation.firsts))
    order = np.argsort(firsts)
    lengths = np.concatenate((train.lengths, validation.lengths))
    return replace(train, firsts=firsts[order], lengths=lengths[order])


def some_pictures(dataset: TrajectoryDataset) -> str:
    """Return text that tells a dataset's pictures from others, by those of a few episodes."""
    some = np.unique(np.linspace(0, dataset.num_episodes - 1, PICTURES_COMPARED).astype(int)).tolist()
    return " ".join(f"{pictures_number(dataset.episode(i)):x}" for i in some)
