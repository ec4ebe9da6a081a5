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
from vjepa_wm.data.clips.sample_order import deal
from vjepa_wm.data.masks.mask import Mask
from vjepa_wm.data.media.video import VideoError
from vjepa_wm.data.randomness import generator_for
from vjepa_wm.training.pretrain.config import PretrainConfig
from vjepa_wm.training.pretrain.curriculum import Stage
from vjepa_wm.training.run.distributed import World

_CROPS, _MASKS, _KINDS = range(1, 4)  # purposes of a draw, beside those of the mixture


@dataclass(frozen=True)
class MicroBatch:
    """What a process computes at once."""

    clips: Tensor
    """``(B, 3, T, S, S)`` float32; T is 1 for pictures by themselves."""
    masks: list[Mask]
    """One per mask setting."""
    share: float = 1.0
    """Weight of its loss in the step."""
    is_last: bool = True
    """Whether no other of its kind, clips or pictures, follows in the step."""


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
    masks: list[Mask]
    share: float
    is_last: bool

    def pin_memory(self) -> Cuts:
        """Return a copy that a GPU can fetch by itself."""
        masks = [Mask(*(ids.pin_memory() for ids in mask)) for mask in self.masks]
        return replace(self, pixels=self.pixels.pin_memory(), masks=masks)

    def prepare(self, device: torch.device) -> MicroBatch:
        """Resize, flip and normalise the clips on a device."""
        pixels = self.pixels.to(device, non_blocking=True).split([3 * t * h * w for t, h, w in self.shapes])
        clips = [
            finish_clip(cut.view(*shape, 3), self.image_size, flip)
            for cut, shape, flip in zip(pixels, self.shapes, self.flips, strict=True)
        ]
        masks = [Mask(*(ids.to(device, non_blocking=True) for ids in mask)) for mask in self.masks]
        return MicroBatch(torch.stack(clips), masks, self.share, self.is_last)


@dataclass(frozen=True)
class StepData:
    """All that a process computes at one step."""

    micro_batches: list[Cuts]
    bad: dict[Path, str]
    """Files that could not be used, with the reason, as far as the worker that made this knows."""
    error: str = ""
    """Why no batch could be made; then there is none."""

    def pin_memory(self) -> StepData:
        """Return a copy that a GPU can fetch by itself."""
        return replace(self, micro_batches=[cuts.pin_memory() for cuts in self.micro_batches])


class StepBatches(Dataset[StepData]):
    """The batches of one process in one stage, by the number of the step."""

    def __init__(self, config: PretrainConfig, stage: Stage, mixture: ClipMixture, world: World) -> None:
        """Check that the batches can be shared out.

        Raises:
            ValueError: a batch does not divide by the number of processes, or by the micro batches of each.
        """
        self.config, self.stage, self.mixture, self.world = config, stage, mixture, world
        self._sizes = {False: config.batch_size, True: config.picture_batch_size or config.batch_size}
        main = not config.has_batches(pictures=False)
        own = self._sizes[main] // world.size
        self._num_parts = own // min(stage.micro_batch_size or own, max(own, 1)) if own else 0
        for pictures in filter(config.has_batches, (False, True)):
            self._check(pictures, stage.micro_batch_size if pictures == main else None)

    def _check(self, pictures: bool, micro_batch_size: int | None) -> None:
        name, size = ("picture_batch_size" if pictures else "batch_size"), self._sizes[pictures]
        if size % self.world.size:
            raise ValueError(f"{name} must be a multiple of the {self.world.size} processes, got {size}")
        own = size // self.world.size
        if micro_batch_size and own % min(micro_batch_size, own):
            raise ValueError(
                f"micro_batch_size must divide the {own} samples of a process ({name} {size} over {self.world.size} "
                f"processes), got {micro_batch_size}"
            )
        if own % self._num_parts:
            raise ValueError(
                f"{name} must leave each process a multiple of {self._num_parts} pictures, as many micro batches as "
                f"the clips have, got {size} over {self.world.size} processes"
            )

    def __getitem__(self, step: int) -> StepData:
        """Make what this process computes at a step."""
        try:
            parts = [
                part
                for pictures in (False, True)
                if self.config.has_batches(pictures)
                for part in self._parts(step, pictures)
            ]
        except VideoError as error:  # raised where the training runs, not with the traces of a worker
            return StepData([], dict(self.mixture.bad), str(error))
        return StepData(parts, dict(self.mixture.bad))

    def _parts(self, step: int, pictures: bool) -> Iterator[Cuts]:
        """Make the micro batches of clips, or of pictures by themselves."""
        config, size = self.config, self._sizes[pictures]
        own = size // self.world.size
        rows = own // self._num_parts
        share = 1.0
        if config.encoder.image_tokenizer:
            share = config.image_share if pictures else 1.0 - config.image_share
        for part in range(self._num_parts):
            first = self.world.rank * own + part * rows
            yield self._cuts(
                [step * size + row for row in range(first, first + rows)],
                pictures,
                masks=self._masks(step, pictures, size, first, rows),
                share=share / self._num_parts,
                is_last=part == self._num_parts - 1,
            )

    def _masks(self, step: int, pictures: bool, size: int, first: int, rows: int) -> list[Mask]:
        """Draw the masks of some rows of the step's batch."""
        grid, whole = self.config.grid(self.stage, pictures), self.config.mask_lengths == "batch"
        generator = generator_for(self.config.seed, _MASKS, pictures, step, 0 if whole else first)
        kept = slice(first, first + rows) if whole else slice(None)
        masks = []
        for setting in self.config.settings(pictures):
            mask = setting.sample(grid, size if whole else rows, step=step, generator=generator)
            masks.append(Mask(*(ids[kept].clone() for ids in mask)))  # a view would carry the whole batch along
        return masks

    def _cuts(self, numbers: list[int], pictures: bool, *, masks: list[Mask], share: float, is_last: bool) -> Cuts:
        """Decode and cut the samples of these numbers."""
        cuts, flips = [], []
        for number in numbers:
            frames = self.mixture.picture(number) if pictures else self._frames(number)
            generator = generator_for(self.config.seed, _CROPS, pictures, number)
            cut, flip = cut_clip(frames, self.config.augmentation, generator)
            cuts.append(cut)
            flips.append(flip)
        size = self.stage.picture_size if pictures else self.stage.image_size
        pixels = torch.cat([cut.flatten() for cut in cuts])
        return Cuts(pixels, [tuple(cut.shape[:3]) for cut in cuts], flips, size, masks, share, is_last)

    def _frames(self, number: int) -> Tensor:
        """Return a clip, or a picture that stands for one."""
        config = self.config
        if config.encoder.image_tokenizer or config.image_share == 0.0:
            return self.mixture.video(number)
        if config.image_share == 1.0:
            is_picture, count = 1, number
        else:
            shares = (1.0 - config.image_share, config.image_share)
            is_picture, count = deal(int(generator_for(config.seed, _KINDS).initial_seed()), number, shares)
        if not is_picture:
            return self.mixture.video(count)
        return self.mixture.picture(count).expand(self.stage.num_frames, -1, -1, -1)


def load_steps(batches: StepBatches, first_step: int, end: int, *, pin: bool) -> Iterator[tuple[int, StepData]]:
    """Yield (step, data) in order, made ahead of their use.

    Args:
        batches: by the number of the step.
        first_step: the first step.
        end: the step to stop before.
        pin: whether to put the data where a GPU can fetch it by itself.

    Raises:
        VideoError: too many of the files are bad.
    """
    steps = range(first_step, end)
    workers = batches.config.workers
    if workers:
        loaded = iter(DataLoader(batches, batch_size=None, sampler=steps, num_workers=workers, pin_memory=pin))
    else:
        loaded = _load_in_thread(batches, steps)
    for step, data in zip(steps, loaded, strict=True):
        if data.error:
            raise VideoError(data.error)
        yield step, data


def _load_in_thread(batches: StepBatches, steps: range) -> Iterator[StepData]:
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(batches.__getitem__, steps[0]) if steps else None
        for step in steps:
            data = coming.result()
            if step + 1 < steps.stop:
                coming = pool.submit(batches.__getitem__, step + 1)
            yield data
