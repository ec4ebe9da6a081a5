"""What a step takes batches of: clips, pictures by themselves, or both.

Why this file exists: V-JEPA 2 mixes pictures among the clips, V-JEPA 2.1 gives them batches of their own. Either is a
stream with sizes, masks and a share of its own; whoever makes batches only goes through the streams of the step.

Source: V-JEPA 2 (arXiv 2506.09985), section 2; V-JEPA 2.1 (arXiv 2603.14482), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vjepa_wm.data.clips.clip_mixture import ClipMixture
from vjepa_wm.data.clips.sample_order import deal
from vjepa_wm.data.masks.samplers import MaskSetting
from vjepa_wm.data.randomness import generator_for

_KINDS = 3  # purpose of a draw, beside those of the batches


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
            is_picture, count = deal(int(generator_for(seed, _KINDS).initial_seed()), number, shares)
        if not is_picture:
            return mixture.video(count)
        return mixture.picture(count).expand(self.num_frames, -1, -1, -1)
