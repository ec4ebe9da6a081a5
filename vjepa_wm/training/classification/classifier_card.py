"""What lies beside a trained head: which encoder it reads, how clips are cut, and what its classes are called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vjepa_wm.data.labelled.clip_views import ClipOptions
from vjepa_wm.models.checkpoint import CheckpointError, build_config, read_json
from vjepa_wm.training.classification.future import FutureNote

CARD_FILE = "classifier.json"


@dataclass(frozen=True, kw_only=True)
class ClassifierCard:
    """What `classifier.json` says of a head."""

    classes: dict[str, tuple[str, ...]]
    """Names of the classes, by question."""
    clips: ClipOptions
    """What is seen of a video or picture."""
    levels: int
    """Outputs of the encoder that the head reads."""
    encoder: str
    """Where the encoder is; `encoder` is below the folder of the head."""
    encoder_content: str
    """What tells the encoder from others."""
    future: FutureNote | None = None
    """What is predicted of the time after the clip and read too; None: nothing."""


def read_card(folder: Path) -> ClassifierCard:
    """Read what the folder of a head says of it.

    Raises:
        CheckpointError: if it is damaged.
    """
    path = folder / CARD_FILE
    content = read_json(path)
    try:
        future = content.get("future")
        return ClassifierCard(
            classes={str(name): tuple(map(str, names)) for name, names in content["classes"].items()},
            clips=build_config(ClipOptions, content["clips"], path),
            levels=int(content["levels"]),
            encoder=str(content["encoder"]),
            encoder_content=str(content["encoder_content"]),
            future=None if future is None else build_config(FutureNote, future, path),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
