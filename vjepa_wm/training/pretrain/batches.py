"""Batches of masked pretraining: what one process computes at each step, decoded by workers.

Step s of a run is trained on samples s * B to (s + 1) * B - 1, of which each process takes its stretch. Every draw
depends on the seed and the number of the sample alone, so a run may be resumed in the middle or shared out over other
numbers of processes and workers, and sees the same.

Letters: B clips, T frames, S side of the frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vjepa_wm.data.clips.clip_mixture import ClipMixture
from vjepa_wm.data.clips.crops import cut_clip, finish_clip
from vjepa_wm.data.masks.mask import Mask
from vjepa_wm.data.media.video import VideoError
from vjepa_wm.data.randomness import generator_for
from vjepa_wm.data.trajectories.metadata_checks import TrajectoryError
from vjepa_wm.training.pretrain.action_pairs import ActionPairs, Pairs
from vjepa_wm.training.pretrain.config import PretrainConfig
from vjepa_wm.training.pretrain.curriculum import FullStage
from vjepa_wm.training.pretrain.streams import Stream
from vjepa_wm.training.run.distributed import World

_CROPS, _MASKS = 1, 2  # purposes of a draw, beside those of the mixture and of the streams


@dataclass(frozen=True)
class MicroBatch:
    """What a process computes at once."""

    clips: Tensor
    """(B, C, T, S, S) float32; T is 1 for pictures by themselves."""
    masks: list[Mask]
    """One per mask setting."""
    share: float = 1.0
    """Weight of its losses in the step."""
    context_weight: float = 0.0
    """Weight of the loss on visible tokens beside that on hidden ones."""
    is_last: bool = True
    """Whether no other of its stream follows in the step."""
    pairs: Pairs | None = None
    """For each clip a pair of frames and the action between them, where inverse dynamics is learned too."""


@dataclass(frozen=True)
class Cuts:
    """A micro batch as it was decoded, in bytes: the parts of the frames that were cut out, to be resized."""

    pixels: Tensor
    """All of them end to end, uint8."""
    shapes: list[tuple[int, int, int]]
    """Frames, height and width of each."""
    flips: list[bool]
    """Whether it is turned left to right."""
    image_size: int
    """Side they are resized to [px]."""
    channels: int
    """Colour channels that the encoder takes."""
    masks: list[Mask]
    """One per mask setting."""
    share: float
    """Weight of its losses in the step."""
    context_weight: float
    """Weight of the loss on visible tokens beside that on hidden ones."""
    is_last: bool
    """Whether no other of its stream follows in the step."""
    pairs: Pairs | None
    """For each clip a pair of frames and the action between them, where inverse dynamics is learned too."""

    def pin_memory(self) -> Cuts:
        """Return a copy that a GPU can fetch by itself."""
        masks = [Mask(*(ids.pin_memory() for ids in mask)) for mask in self.masks]
        pairs = self.pairs and self.pairs.pin_memory()
        return replace(self, pixels=self.pixels.pin_memory(), masks=masks, pairs=pairs)

    def prepare(self, device: torch.device) -> MicroBatch:
        """Resize, flip and normalise the clips on a device."""
        pixels = self.pixels.to(device, non_blocking=True).split([3 * t * h * w for t, h, w in self.shapes])
        clips = [
            finish_clip(cut.view(*shape, 3), self.image_size, flip, self.channels)
            for cut, shape, flip in zip(pixels, self.shapes, self.flips, strict=True)
        ]
        masks = [Mask(*(ids.to(device, non_blocking=True) for ids in mask)) for mask in self.masks]
        pairs = self.pairs and self.pairs.to(device)
        return MicroBatch(torch.stack(clips), masks, self.share, self.context_weight, self.is_last, pairs)


@dataclass(frozen=True)
class StepData:
    """All that a process computes at one step."""

    micro_batches: list[Cuts]
    """In the order in which they are computed."""
    bad: dict[Path, str]
    """Files that could not be used, with the reason, as far as the worker that made this knows."""
    error: str = ""
    """Why no batch could be made; then there is none."""

    def pin_memory(self) -> StepData:
        """Return a copy that a GPU can fetch by itself."""
        return replace(self, micro_batches=[cuts.pin_memory() for cuts in self.micro_batches])


class StepBatches(Dataset[StepData]):
    """The batches of one process in one stage, by the number of the step."""

    def __init__(
        self,
        config: PretrainConfig,
        stage: FullStage,
        mixture: ClipMixture,
        world: World,
        pairs: ActionPairs | None = None,
    ) -> None:
        """Check that the batches can be shared out.

        Args:
            config: the run.
            stage: the stretch of it whose clips they are.
            mixture: where clips and pictures are drawn from.
            world: the processes that train together.
            pairs: where pairs of frames for inverse dynamics are drawn from; None: there are none.

        Raises:
            ValueError: if a batch does not divide by the number of processes, or by the micro batches of each.
        """
        self.config, self.mixture, self.world, self._pairs = config, mixture, world, pairs
        self.streams = config.streams(stage)
        self._num_parts = self._count_parts(stage.micro_batch_size)

    def _count_parts(self, micro_batch_size: int | None) -> int:
        """Return into how many micro batches a process divides its stretch of each stream: as many as of the first."""
        num_parts = 0
        for stream in self.streams:
            name, size, processes = stream.size_option, stream.batch_size, self.world.size
            if size % processes:
                raise ValueError(f"{name} must be a multiple of the {processes} processes, got {size}")
            own = size // processes
            if not num_parts:
                rows = min(micro_batch_size or own, own)
                if own % rows:
                    raise ValueError(
                        f"micro_batch_size must divide the {own} samples of a process ({name} {size} over {processes} "
                        f"processes), got {micro_batch_size}"
                    )
                num_parts = own // rows
            if own % num_parts:
                raise ValueError(
                    f"{name} must leave each process a multiple of {num_parts} pictures, as many micro batches as "
                    f"the clips have, got {size} over {processes} processes"
                )
        return num_parts

    def __getitem__(self, step: int) -> StepData:
        """Make what this process computes at a step."""
        try:
            parts = [self._part(stream, step, part) for stream in self.streams for part in range(self._num_parts)]
        except (VideoError, TrajectoryError) as error:  # raised where the training runs, without a worker's traces
            return StepData([], dict(self.mixture.bad), str(error))
        return StepData(parts, dict(self.mixture.bad))

    def _part(self, stream: Stream, step: int, part: int) -> Cuts:
        """Make a micro batch: decode, cut and mask its samples."""
        own = stream.batch_size // self.world.size
        num_rows = own // self._num_parts
        first = self.world.rank * own + part * num_rows
        cuts, flips = [], []
        numbers = range(step * stream.batch_size + first, step * stream.batch_size + first + num_rows)
        for number in numbers:
            frames = stream.draw(self.mixture, self.config.seed, number)
            generator = generator_for(self.config.seed, _CROPS, stream.number, number)
            cut, flip = cut_clip(frames, self.config.augmentation, generator)
            cuts.append(cut)
            flips.append(flip)
        return Cuts(
            pixels=torch.cat([cut.flatten() for cut in cuts]),
            shapes=[(cut.shape[0], cut.shape[1], cut.shape[2]) for cut in cuts],
            flips=flips,
            image_size=stream.image_size,
            channels=self.config.encoder.in_channels,
            masks=self._masks(stream, step, first, num_rows),
            share=stream.loss_share / self._num_parts,
            context_weight=self.config.context_weight(step, stream),
            is_last=part == self._num_parts - 1,
            pairs=self._draw_pairs(numbers, stream),
        )

    def _draw_pairs(self, numbers: range, stream: Stream) -> Pairs | None:
        """Draw the pairs that go with samples of the first stream; None where there are none."""
        if self._pairs is None or stream is not self.streams[0]:
            return None
        return self._pairs.draw(numbers, self.config.seed, len(numbers) * self.world.size / stream.batch_size)

    def _masks(self, stream: Stream, step: int, first: int, num_rows: int) -> list[Mask]:
        """Draw the masks of some rows of the step's batch."""
        whole = self.config.masks.lengths == "batch"
        generator = generator_for(self.config.seed, _MASKS, stream.number, step, 0 if whole else first)
        kept = slice(first, first + num_rows) if whole else slice(None)
        masks = []
        for setting in stream.masks:
            num_drawn = stream.batch_size if whole else num_rows
            mask = setting.sample(stream.grid, num_drawn, step=step, generator=generator)
            masks.append(Mask(*(ids[kept].clone() for ids in mask)))  # a view would carry the whole batch along
        return masks


def load_steps(batches: StepBatches, first_step: int, end: int, *, pin: bool) -> Iterator[tuple[int, StepData]]:
    """Yield (step, data) in order, made ahead of their use.

    Args:
        batches: by the number of the step.
        first_step: the first step.
        end: the step to stop before.
        pin: whether to put the data where a GPU can fetch it by itself.

    Raises:
        VideoError: if too many of the files are bad, or a pair of frames cannot be decoded.
    """
    steps = range(first_step, end)
    workers = batches.config.loader.workers
    loaded: Iterator[StepData]
    if workers:
        loaded = iter(DataLoader(batches, batch_size=None, sampler=steps, num_workers=workers, pin_memory=pin))
    else:
        loaded = _load_in_thread(batches, steps)
    for step, data in zip(steps, loaded, strict=True):
        if data.error:
            raise VideoError(data.error)
        yield step, data


def _load_in_thread(batches: StepBatches, steps: range) -> Iterator[StepData]:
    if not steps:
        return
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(batches.__getitem__, steps[0])
        for step in steps:
            data = coming.result()
            if step + 1 < steps.stop:
                coming = pool.submit(batches.__getitem__, step + 1)
            yield data
