"""What videos and pictures show, by a probe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from vjepa_wm.checks import check_at_least
from vjepa_wm.data.clips.bad_files import UNUSABLE
from vjepa_wm.data.clips.file_lists import ListedVideo
from vjepa_wm.data.labelled.clip_views import ClipOptions, read_item
from vjepa_wm.data.labelled.labelled_set import Item
from vjepa_wm.data.media.pictures import PICTURE_SUFFIXES
from vjepa_wm.evaluation.drawing import Tile, draw_row
from vjepa_wm.evaluation.features.input_clips import find_inputs
from vjepa_wm.models.precision import Precision, pick_device, pick_dtype
from vjepa_wm.safe_files import write_json, write_whole
from vjepa_wm.training.classification.classifier import Classifier, load_classifier

STRIP_FILE = "predictions.png"
NUM_TILES = 4
"""Frames shown of a video."""
TILE = 160
"""Side of a frame [px]."""
CHARACTERS = 20
"""Of the caption above each frame's width."""
MAX_STRIPS = 24
"""Inputs drawn at most."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Tell what videos and pictures show: the names of classes with the highest scores."""

    model: tyro.conf.Positional[str]
    """Folder of a head as `classify` writes it, Hugging Face folder of a classifier, or file or name of a probe."""
    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """Videos, pictures, folders of them, or lists of their paths (csv, tsv, txt)."""
    encoder: str | None = None
    """Encoder that the probe reads; needed for official probes, and for own ones whose encoder was moved."""
    predictor: str | None = None
    """Predictor of the time after a clip; needed for official anticipation probes, and for own ones that read one which
    was moved."""
    anticipation_s: float = 1.0
    """Official anticipation probes: how long after the clip to look [s]."""
    class_names: Path | None = None
    """File of the names of the classes: text of one per line, or json; none: those that the model states."""
    clips: ClipOptions | None = None
    """What is seen of a video or picture; none: what the model was trained with."""
    top: int = 5
    """Classes told of each."""
    out: Path = Path("predictions")
    """Folder for `predictions.json` and the captioned frames, `predictions.png`."""
    precision: Precision = "auto"
    """auto takes bf16 where the processor has it."""
    device: str = "auto"
    """auto takes a GPU if there is one."""

    def __post_init__(self) -> None:
        check_at_least(1, top=self.top)
        check_at_least(0, anticipation_s=self.anticipation_s)
        pick_device(self.device)
        if not self.inputs:
            raise ValueError("inputs must name at least one video, picture or folder, got none")


def run_predict(config: PredictConfig) -> None:
    """Print the best classes of each input, and write them with captioned frames.

    Raises:
        CheckpointError: if there is no such model, or it does not fit its encoder.
        FileNotFoundError: if an input does not exist.
        ValueError: if no input could be read.
    """
    device = pick_device(config.device)
    paths = find_inputs(config.inputs)
    model = load_classifier(
        config.model,
        encoder=config.encoder,
        class_names=config.class_names,
        clips=config.clips,
        predictor=config.predictor,
        anticipation_s=config.anticipation_s,
    ).to(device)
    found: dict[str, dict[str, list[tuple[str, float]]]] = {}
    strips: list[np.ndarray] = []
    broken: list[str] = []
    for path in paths:
        item = path if path.suffix.lower() in PICTURE_SUFFIXES else ListedVideo(path=path)
        try:
            scores = model.scores(item, pick_dtype(config.precision, device))
            best = {
                question: _best(values.numpy(), model.classes[question], config.top)
                for question, values in scores.items()
            }
            if len(strips) < MAX_STRIPS:
                strips.append(draw_strip(item, model, path.name, best))
        except UNUSABLE as error:
            broken.append(str(error))
            continue
        found[str(path)] = best
        print(tell(path, best))
    for reason in broken:
        print(f"left out: {reason}")
    if not found:
        raise ValueError(f"none of the {len(paths)} inputs could be read")
    write_json(config.out / "predictions.json", found)
    picture = Image.fromarray(_stack(strips))
    write_whole(config.out / STRIP_FILE, lambda unfinished: picture.save(unfinished, "PNG"))
    print(f"{config.out / STRIP_FILE} shows them")


def _best(scores: np.ndarray, names: Sequence[str], count: int) -> list[tuple[str, float]]:
    """Return the classes of the highest scores, highest first."""
    return [(names[number], float(scores[number])) for number in np.argsort(-scores, kind="stable")[:count]]


def tell(path: Path, best: dict[str, list[tuple[str, float]]]) -> str:
    """Return the best classes of an input as a table."""
    lines = [str(path)]
    for question, pairs in best.items():
        lines += [f"  {question}"] if len(best) > 1 else []
        lines += [f"  {score:6.1%}  {name}" for name, score in pairs]
    return "\n".join(lines)


def draw_strip(item: Item, model: Classifier, title: str, best: dict[str, list[tuple[str, float]]]) -> np.ndarray:
    """Draw some frames of what the model saw, with the best classes as captions, (height, width, 3) uint8."""
    clip = read_item(item, model.clips)[0]
    moments = np.unique(np.linspace(0, len(clip) - 1, NUM_TILES).round().astype(int))
    moments = moments if isinstance(item, ListedVideo) else moments[:1]
    tiles = [Tile(f"frame {k + 1} of {len(clip)}" if len(moments) > 1 else "", _square(clip[k])) for k in moments]
    told = ", ".join(f"{score:.0%} {name}" for pairs in best.values() for name, score in pairs)
    return draw_row(tiles, TILE, _short(f"{title}: {told}", CHARACTERS * len(tiles)))


def _square(frame: np.ndarray) -> np.ndarray:
    """Cut the centre square out of a frame."""
    side = min(frame.shape[:2])
    top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
    return frame[top : top + side, left : left + side]


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _stack(strips: list[np.ndarray]) -> np.ndarray:
    """Put strips below each other, on white."""
    width = max(strip.shape[1] for strip in strips)
    return np.concatenate(
        [np.pad(one, ((0, 0), (0, width - one.shape[1]), (0, 0)), constant_values=250) for one in strips]
    )
