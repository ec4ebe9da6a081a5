"""What a step takes batches of: clips, pictures by themselves, or both.

Why this file exists: V-JEPA 2 mixes pictures among the clips, V-JEPA 2.1 gives them batches of their own. Either is a
stream with sizes, masks and a share of its own; whoever makes batches only goes through the streams of the step.

Source: V-JEPA 2 (arXiv 2506.09985), section 2; V-JEPA 2.1 (arXiv 2603.14482), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import tyro
from torch import Tensor

from vjepa_wm.checks import check_at_least
from vjepa_wm.data.clips.clip_mixture import ClipMixture
from vjepa_wm.data.clips.sample_order import deal
from vjepa_wm.data.masks.mask_words import MaskWord
from vjepa_wm.data.masks.multi_block import small_grid_masks
from vjepa_wm.data.masks.samplers import MaskPreset, MaskSetting, preset_masks
from vjepa_wm.data.randomness import generator_for

_KINDS = 3  # purpose of a draw, beside those of the batches


@dataclass(frozen=True, kw_only=True)
class PicturesConfig:
    """Pictures: from the sources' pictures, or single frames of their videos where there are none."""

    share: float = 0.25
    """Share of pictures among the clips, each repeated for as many frames (V-JEPA 2); with an encoder that has an image
    tokenizer, pictures get a batch of their own at every step, whose loss has this share (V-JEPA 2.1)."""
    batch_size: int | None = None
    """Pictures per step in batches of their own; none: as many as clips."""
    masks: MaskPreset | None = None
    """Mask settings for batches of pictures; none: those of the clips."""
    context_loss_weight: float | None = None
    """Weight of the loss on visible tokens for batches of pictures; none: as for clips."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"pictures.share must be within 0..1, got {self.share}")
        check_at_least(1, **{"pictures.batch_size": self.batch_size})
        check_at_least(0, **{"pictures.context_loss_weight": self.context_loss_weight})


@dataclass(frozen=True, kw_only=True)
class MasksConfig:
    """What is hidden of the clips."""

    settings: tyro.conf.AvoidSubcommands[tuple[MaskSetting, ...]] = field(default_factory=small_grid_masks)
    """Mask settings; every clip is masked by each of them."""
    samplers: tuple[MaskWord, ...] = ()
    """Settings of any kind, in place of `settings`: blocks, tubes, images, future or parts, and options, for example
    parts,context=0.8:0.2,targets=0.2:0.8."""
    preset: MaskPreset | None = None
    """Settings by name, in place of `settings`."""
    lengths: Literal["batch", "micro_batch"] = "batch"
    """Where masks are cut to one length: in the whole batch, whatever it is divided into; or in what one process
    computes at once, which drops fewer tokens (V-JEPA 2)."""

    def __post_init__(self) -> None:
        if not self.settings:
            raise ValueError("masks.settings must hold at least one setting, got none")
        if self.samplers and self.preset:
            raise ValueError(
                "masks.samplers and masks.preset exclude each other; both stand in place of masks.settings"
            )

    def chosen(self, preset: MaskPreset | None = None) -> tuple[MaskSetting, ...]:
        """Return the settings that hold; a preset goes before them."""
        preset = preset or self.preset
        return preset_masks(preset) if preset else self.samplers or self.settings


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Samples of one kind, of which every step takes a batch."""

    number: int
    """Which one of a run, 0 or 1; its draws depend on it."""
    size_option: str
    """The option that `batch_size` comes from, for messages."""
    batch_size: int
    """Samples per step, over all processes."""
    num_frames: int
    """Frames of a sample."""
    image_size: int
    """Side of the frames [px]."""
    grid: tuple[int, int, int]
    """Tokens of a sample in time, rows and columns."""
    picture_share: float
    """Share of the samples that are a picture, repeated."""
    masks: tuple[MaskSetting, ...]
    """Mask settings; every sample is masked by each of them."""
    loss_share: float
    """Weight of its loss in the step; those of all streams add up to 1."""
    context_loss_weight: float
    """Weight of the loss on visible tokens, once it has risen."""

    def draw(self, mixture: ClipMixture, seed: int, number: int) -> Tensor:
        """Return the sample of a number, uint8 RGB, (num_frames, H, W, 3).

        Raises:
            ValueError: if a clip is due and the mixture holds no video.
            VideoError: if by now too many files are bad.
        """
        is_picture, count = self.picture_share == 1.0, number
        if 0.0 < self.picture_share < 1.0:
            shares = (1.0 - self.picture_share, self.picture_share)
            kind, count = deal(int(generator_for(seed, _KINDS).initial_seed()), number, shares)
            is_picture = kind == 1
        if not is_picture:
            return mixture.video(count)
        return mixture.picture(count).expand(self.num_frames, -1, -1, -1)
