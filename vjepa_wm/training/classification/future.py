"""What a predictor expects of the time after a clip, as tokens beside the encoder's own.

Why this file exists: the published way to anticipate actions asks the masked predictor of pretraining for one time step
that lies some seconds behind the clip, and gives the probe both.

Letters: B clips, N tokens of a clip, S of them in a time step, L levels, D width.

Source: V-JEPA 2 (arXiv 2506.09985), section on action anticipation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vjepa_wm.checks import check_at_least
from vjepa_wm.data.labelled.clip_views import ClipOptions
from vjepa_wm.data.latents.latent_store import fingerprint
from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.load import load_predictor
from vjepa_wm.models.predictor import MaskedPredictor
from vjepa_wm.models.sincos import Grid

PUBLISHED_MASK_INDEX = 1
"""The mask token that the published probes were trained with."""
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class FutureOptions:
    """What is predicted of the time after a clip and read beside it, to anticipate actions."""

    predictor: str | None = None
    """Masked predictor: a folder as `pretrain` writes it, or file or name of published weights; none: only the clip is
    read."""
    mask_index: int = PUBLISHED_MASK_INDEX
    """Which of its mask tokens asks, modulo their number; the published probes were trained with 1."""

    def __post_init__(self) -> None:
        check_at_least(0, mask_index=self.mask_index)


@dataclass(frozen=True, kw_only=True)
class FutureNote:
    """What is kept of a predictor beside a head that was trained with it."""

    predictor: str
    """Where it is."""
    predictor_content: str
    """What tells it from others."""
    mask_index: int
    """Which of its mask tokens asks."""
    anticipation_s: float
    """How long after the clip lies what is predicted [s]."""


@dataclass(frozen=True, kw_only=True)
class Future:
    """A frozen predictor that is asked for one time step after a clip."""

    predictor: MaskedPredictor
    """In evaluation mode."""
    num_skipped: int
    """Time steps between the end of the clip and what is predicted."""
    note: FutureNote
    """What is kept of it beside a head."""

    @property
    def num_levels(self) -> int:
        """Levels of the encoder that the predictor reads."""
        return self.predictor.config.num_levels

    def predict(self, context: Tensor, grid: Grid) -> Tensor:
        """Return the tokens of the time step that is asked for.

        Args:
            context: all tokens of whole clips, levels end to end, without class tokens, (B, N, L * D).
            grid: of the clips, in time, rows and columns.

        Returns:
            The last level of the predictions, (B, S, D).
        """
        steps, rows, columns = grid
        first = (steps + self.num_skipped) * rows * columns
        numbers = torch.arange(first + rows * columns, device=context.device).expand(len(context), -1)
        seen, asked = numbers[:, : context.shape[1]], numbers[:, first:]
        reach = (steps + self.num_skipped + 1, rows, columns)
        predicted = self.predictor(context, seen, asked, reach, self.note.mask_index)
        return predicted[..., -self.predictor.config.encoder_dim :]


def open_future(
    options: FutureOptions, encoder: VideoEncoderConfig, clips: ClipOptions, anticipation_s: float | None
) -> Future | None:
    """Load the predictor that is asked for; None: none is.

    Args:
        options: which, and how it is asked.
        encoder: whose tokens it reads.
        clips: what is seen of an item.
        anticipation_s: how long after a clip lies what is to be anticipated [s].

    Raises:
        CheckpointError: if there is no such predictor, or it reads other features than the encoder's.
        ValueError: if it is open when the future is, or the predictor cannot look there.
    """
    if options.predictor is None:
        return None
    if anticipation_s is None:
        raise ValueError("future.predictor needs read.anticipation_s, how long after a clip to look, got none")
    if clips.fps is None or clips.clips != 1 or clips.num_frames == 1:
        raise ValueError(
            "future.predictor needs one clip of several frames with clips.fps, got "
            f"clips.clips {clips.clips}, clips.num_frames {clips.num_frames}, clips.fps {clips.fps or 'none'}"
        )
    predictor = load_predictor(options.predictor).requires_grad_(False)
    form = predictor.config
    has_levels = form.num_levels == 1 or form.num_levels <= len(encoder.levels)
    if form.encoder_dim != encoder.embed_dim or not has_levels or form.output_dim != form.input_dim:
        raise CheckpointError(
            f"{options.predictor} maps {form.num_levels} levels of width {form.encoder_dim} to {form.output_dim} "
            f"channels, but the encoder has {max(1, len(encoder.levels))} of width {encoder.embed_dim}"
        )
    if form.rope is None:
        raise ValueError(
            f"future.predictor must have rotary positions, or it knows no time after a clip: {options.predictor}"
        )
    path = Path(options.predictor).expanduser()
    note = FutureNote(
        predictor=str(path.resolve()) if path.exists() else options.predictor,
        predictor_content=fingerprint(predictor),
        mask_index=options.mask_index,
        anticipation_s=anticipation_s,
    )
    num_skipped = int(anticipation_s * clips.fps / encoder.tubelet_size + _ROUNDING)
    return Future(predictor=predictor, num_skipped=num_skipped, note=note)


def reopen_future(
    note: FutureNote, encoder: VideoEncoderConfig, clips: ClipOptions, predictor: str | None = None
) -> Future:
    """Load the predictor that a head was trained with; `predictor` is where it is now, if it was moved.

    Raises:
        CheckpointError: if it is another one, or as of `open_future`.
    """
    options = FutureOptions(predictor=predictor or note.predictor, mask_index=note.mask_index)
    future = open_future(options, encoder, clips, note.anticipation_s)
    assert future is not None  # a predictor is named
    if future.note.predictor_content != note.predictor_content:
        raise CheckpointError(
            f"{options.predictor} is another predictor than the head was trained with; name that one with --predictor"
        )
    return future
