"""Stages of a run: the pictures and clips may grow while the schedules go on.

Source: V-JEPA 2 (arXiv 2506.09985), section 2: 240,000 steps on short clips, then 12,000 on longer and larger ones.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

from vjepa_wm.checks import check_at_least
from vjepa_wm.one_word import one_word


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of a run with clips of one size; what is left out is as the run's own options say."""

    steps: int
    """Optimizer steps."""
    num_frames: int | None = None
    """Frames in a clip."""
    image_size: int | None = None
    """Side of the frames [px]."""
    picture_size: int | None = None
    """Side of single pictures of an encoder with an image tokenizer [px]; none: as the frames."""
    micro_batch_size: int | None = None
    """Clips computed at once by one process."""

    def __post_init__(self) -> None:
        check_at_least(1, **{f"{name} of a stage": value for name, value in dataclasses.asdict(self).items()})


@dataclass(frozen=True, kw_only=True)
class FullStage(Stage):
    """A stage with nothing left out but how much is computed at once, which may be all."""

    num_frames: int
    """Frames in a clip."""
    image_size: int
    """Side of the frames [px]."""
    picture_size: int
    """Side of single pictures of an encoder with an image tokenizer [px]."""


def parse_stage(text: str) -> Stage:
    """Read a stage as it stands on the command line, for example steps=1000,num_frames=8,image_size=128.

    Raises:
        ValueError: if a name is unknown or missing, or a value is no whole number.
    """
    names = [field.name for field in dataclasses.fields(Stage)]
    values: dict[str, int] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name not in names or not value.isdigit():
            raise ValueError(f"a stage must be {_FORM}, numbers for any of {', '.join(names)}, got {text!r}")
        values[name] = int(value)
    if "steps" not in values:
        raise ValueError(f"a stage must say its steps, as in {_FORM}, got {text!r}")
    return Stage(**values)


def stage_text(stage: Stage) -> str:
    """Return what `parse_stage` reads."""
    values = dataclasses.asdict(stage)
    return ",".join(f"{name}={value}" for name, value in values.items() if value is not None)


_FORM = "steps=1000,num_frames=8,image_size=128"
StageArgument = Annotated[Stage, one_word(Stage, _FORM, parse_stage, stage_text)]
"""A stage as one word of the command line."""
