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
from vjepa_wm.data.latents.latent_set import LatentSet
from vjepa_wm.data.latents.latent_store import fingerprint
from vjepa_wm.data.latents.window_mixture import WindowMixture, share_of
from vjepa_wm.data.randomness import generator_for
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.load import load_world_model
from vjepa_wm.models.precision import autocast, pick_device, pick_dtype
from vjepa_wm.models.world_model import WorldModel, encode_frames
from vjepa_wm.training.ac_objective import Reading
from vjepa_wm.training.look_losses import patch_changes, proposal_gap
from vjepa_wm.training.losses import LossName, token_loss
from vjepa_wm.training.paired_frames import PairedFrames, check_pairs, check_sizes, some_pictures
from vjepa_wm.training.run.distributed import World, joined_world
from vjepa_wm.training.run.latent_training import (
    LatentRunConfig,
    check_data_fit,
    descend,
    open_windows,
    train_on_latents,
)
from vjepa_wm.training.run.optimizer import make_optimizer

UNIT_WINDOWS = 128
"""Windows that tell how much patches change on average."""
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
    loss: LossName = "l2"
    """Distance of latents. By l1 the best answer is the likeliest one, which leaves out what is seldom at a place."""
    change_share: float = 0.7
    """Share of the loss on latents in which each patch counts by how much it changes within its episode in the known
    look: what moves may be a single patch, and most of a picture stands still."""
    reading_weight: float = 0.3
    """Weight of a loss that compares what the proposal's reader leaves of latents and of what they are to be, so that
    small objects count; without a proposal there is none."""
    proposal_weight: float = 0.05
    """Weight of how far what the proposal says, on the way to the last frame, diverges from what it says of what the
    latents are to be: what is small beside the robot may decide what to do. Without a proposal there is none."""
    start_from: Path | None = None
    """World model of an earlier run of this kind, whose encoder goes on; none: that of world_model."""
    num_frames: int = 8
    """Frames of a window, spread evenly from its first to the last of the episode."""
    max_bad_share: float = 0.0
    steps: int = 3_000
    batch_size: int = 32
    learning_rate: float = 6e-4
    validation_share: float = 0.05

    def __post_init__(self) -> None:
        """Check what is not checked by the parts."""
        super().__post_init__()
        check_at_least(2, num_frames=self.num_frames)
        check_at_least(0, reading_weight=self.reading_weight, proposal_weight=self.proposal_weight)
        check_within(0, 1, old_share=self.old_share, change_share=self.change_share)
        if len(self.targets) != len(self.data):
            raise ValueError(f"targets must be one for each of {len(self.data)} datasets, got {len(self.targets)}")
        if (self.out / "world_model").resolve() == self.world_model.resolve():
            raise ValueError(f"out must be another folder than that of world_model, got {self.out}")
        if self.max_bad_share:
            raise ValueError("max_bad_share must be 0: an episode that cannot be read has no pair; see read.episodes")

    @property
    def of_targets(self) -> LatentRunConfig:
        """The same run on the targets alone."""
        camera = self.read.camera if self.target_camera is None else self.target_camera
        return replace(self, data=self.targets, read=replace(self.read, camera=camera))


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
        start: VideoEncoder | None = None,
    ) -> None:
        """Keep a copy of the encoder as it was, to compare with.

        Args:
            config: the run.
            model: what is trained.
            pairs: the pictures of each dataset.
            frames: training episodes that tell the units of readings and of changes.
            world: the processes that train together; None: this one.
            start: whose weights the encoder begins with; None: its own.
        """
        self.config, self.model, self.world, self._pairs = config, model, world or World(), pairs
        self.device = pick_device(config.device)
        self.dtype = pick_dtype(config.precision, self.device)
        self._before = copy.deepcopy(model.encoder)
        if start is not None:
            model.encoder.load_state_dict(start.state_dict())
        self._reading = None
        self._proposal = None if model.proposal is None else model.proposal.requires_grad_(False)
        if self._proposal is not None:
            self._reading = Reading(self._proposal, frames)
        starts = frames.window_starts(config.num_frames)
        some = starts[np.linspace(0, len(starts) - 1, min(UNIT_WINDOWS, len(starts))).astype(np.int64)]
        rows = spread_rows(frames, some, config.num_frames)
        self._change = patch_changes(frames.read_z(rows, self.device)).mean().clamp_min(1e-6)
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
        losses = self._losses(self.model.encoder, *self._read(windows, share_of(drawn, world.rank, world.size)))
        weights = {
            "latent": 1 - config.change_share,
            "moving": config.change_share,
            "reading": config.reading_weight,
            "proposal": config.proposal_weight,
        }
        loss = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
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
            (0, self.model.encoder, {name: f"val_{name}" for name in ("latent", "moving", "reading", "proposal")}),
            (0, self._before, {"latent": "val_over_before"}),
            (1, self.model.encoder, {"latent": "val_old"}),
        ):
            for owner, starts in spread:
                drawn = [(owner, np.stack((starts, np.full_like(starts, old))))]
                losses = self._losses(encoder, *self._read(windows, drawn))
                for name in (name for name in names if name in losses):
                    sums[names[name]] = sums.get(names[name], 0.0) + float(losses[name]) * len(starts)
        means = {name: value / sum(len(starts) for _, starts in spread) for name, value in sums.items()}
        return means | {"val_over_before": means["val_latent"] / max(means["val_over_before"], 1e-12)}

    def _losses(self, encoder: VideoEncoder, frames: Tensor, z: Tensor, states: Tensor) -> dict[str, Tensor]:
        """Compare what an encoder makes of frames (B, T, height, width, 3) with latents (B, T, N, D)."""
        with autocast(self.device, self.dtype):
            seen = encode_frames(encoder, frames, antialias=self.model.config.antialias)
        off = token_loss(seen, z, self.config.loss)
        losses = {"latent": off.mean(), "moving": (patch_changes(z) * off).mean() / self._change}
        if self._reading is not None and self._proposal is not None:
            losses["reading"] = self._reading.error(seen, z)
            losses["proposal"] = proposal_gap(self._proposal, seen, z, states)
        return losses

    def _read(self, windows: WindowMixture, drawn: list[tuple[int, np.ndarray]]) -> tuple[Tensor, Tensor, Tensor]:
        """Read frames, what is to be made of them, and states; `drawn` are first rows and whether of the old look."""
        frames, latents, states = [], [], []
        for owner, (starts, olds) in drawn:
            one = windows.sets[owner]
            rows = spread_rows(one, starts, self.config.num_frames)
            frames += [self._pairs[owner].read(which, old=bool(old)) for which, old in zip(rows, olds, strict=True)]
            latents.append(one.read_z(rows, self.device))
            states.append(one.read_states(rows, self.device))
        return torch.from_numpy(np.stack(frames)).to(self.device), torch.cat(latents), torch.cat(states)


def spread_rows(latents: LatentSet, starts: np.ndarray, num_frames: int) -> np.ndarray:
    """Return rows spread evenly from first ones (B,) to the last of their episodes, (B, T)."""
    return np.linspace(starts, latents.episode_ends(starts), num_frames).astype(np.int64).T


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
        start = None if config.start_from is None else load_world_model(config.start_from).encoder
        if start is not None and start.config != model.encoder.config:
            raise ValueError(f"start_from {config.start_from} must have an encoder of the form of the world model's")
        targets = config.of_targets
        new = [TrajectoryDataset(path, config.read) for path in config.data]
        old = [TrajectoryDataset(path, targets.read) for path in targets.data]
        for both in zip(new, old, strict=True):
            check_pairs(*both)
        check_sizes("data and targets", [*new, *old])
        windows = open_windows(targets, model.encoder, config.num_frames, world, antialias=model.config.antialias)
        check_data_fit(windows.train.sets, model)
        pairs = [PairedFrames(*both) for both in zip(new, old, strict=True)]
        content = {
            "world_model": fingerprint(model),
            "start_from": None if start is None else fingerprint(start),
            "data": [some_pictures(one) for one in new],
            "targets": [
                f"{one.content()} {some_pictures(known)}" for one, known in zip(windows.train.sets, old, strict=True)
            ],
        }
        trainer = LooksTrainer(config, model, pairs, windows.train.sets[0], world, start)
        return train_on_latents(trainer, windows, name="train-looks", samples="windows", content=content)
