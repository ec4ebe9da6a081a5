"""The weights a pretraining run starts from, when it does not start from chance: a published checkpoint, or ours."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from vjepa_wm.models.checkpoint import CONFIG_FILE, MASKED_PREDICTOR, VIDEO_ENCODER, CheckpointError, read_json
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.load import load_encoder, load_predictor
from vjepa_wm.models.official.huggingface import split_parts
from vjepa_wm.models.official.reading import read_huggingface
from vjepa_wm.models.official.weight_source import find_source, official_parts
from vjepa_wm.models.predictor import MaskedPredictor
from vjepa_wm.training.pretrain.config import PretrainConfig, predictor_config
from vjepa_wm.training.run.training_state import has_training_state

_FREE = ("image_size", "num_frames", "grid", "drop_path", "num_mask_tokens")  # may change from run to run


@dataclass(frozen=True, kw_only=True)
class StartingWeights:
    """Networks out of a checkpoint."""

    encoder: VideoEncoder
    target_encoder: VideoEncoder
    """The slow copy; the encoder itself where the checkpoint holds one only."""
    predictor: MaskedPredictor | None
    """None where the checkpoint holds none."""


def load_start(config: PretrainConfig) -> StartingWeights | None:
    """Load the weights that a run starts from; None if it starts from chance or from another run's training state.

    Raises:
        CheckpointError: if they cannot be loaded, or are not what the options of the run describe.
    """
    source = config.start_from
    if source is None or has_training_state(source):
        return None
    path, form = find_source(source)
    kinds, key = _content(path, form)
    target = load_encoder(source)
    encoder = load_encoder(source, key=key) if key else target
    _check_same(config.encoder, encoder.config, source)
    predictor = None
    if MASKED_PREDICTOR in kinds:
        predictor = load_predictor(source)
        _check_same(predictor_config(config), predictor.config, source)
    return StartingWeights(encoder=encoder, target_encoder=target, predictor=predictor)


def _content(path: Path, form: str) -> tuple[set[str], str | None]:
    """Tell what kinds of models a checkpoint holds, and the key of the encoder that was trained beside its copy."""
    if form == "huggingface":
        return set(split_parts(read_huggingface(path)[0])), None
    if form == "vjepa_wm":
        return {read_json(path / CONFIG_FILE)["kind"]}, None
    parts = official_parts(path)
    encoders = {part.name for part in parts if part.kind == VIDEO_ENCODER}
    return {part.kind for part in parts}, "encoder" if "encoder" in encoders else None


def _check_same(wanted: object, found: object, source: object) -> None:
    """Raise CheckpointError if two configurations of one class differ, naming in what."""
    names = [field.name for field in dataclasses.fields(wanted) if field.name not in _FREE]
    pairs = ((name, getattr(wanted, name), getattr(found, name)) for name in names)
    differing = [f"{name} {theirs} instead of {ours}" for name, ours, theirs in pairs if ours != theirs]
    if differing:
        raise CheckpointError(
            f"start_from {source} is not what the options of the run describe: {', '.join(differing)}; choose the "
            "options, or the recipe, that it was trained with"
        )
