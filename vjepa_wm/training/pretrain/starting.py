"""The weights a pretraining run starts from, when it does not start from chance: a published checkpoint, or ours."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import cast

from vjepa_wm.models.checkpoint import MASKED_PREDICTOR, VIDEO_ENCODER, CheckpointError
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.load import load_from
from vjepa_wm.models.predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa_wm.models.read_checkpoint import read_checkpoint
from vjepa_wm.training.pretrain.config import PretrainConfig, predictor_config
from vjepa_wm.training.run.state_folder import has_training_state

NetworkConfig = VideoEncoderConfig | MaskedPredictorConfig
_FREE = ("image_size", "num_frames", "grid", "drop_path", "num_mask_tokens")  # may change from run to run


@dataclass(frozen=True, kw_only=True)
class StartingWeights:
    """Networks out of a checkpoint."""

    encoder: VideoEncoder
    """The one that was trained."""
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
    checkpoint = read_checkpoint(source)
    target = encoder = cast(VideoEncoder, load_from(checkpoint, VIDEO_ENCODER))
    encoders = {model.name for model in checkpoint.models if model.kind == VIDEO_ENCODER}
    if "key" in checkpoint.open_options and "encoder" in encoders:  # the one that was trained beside its slow copy
        encoder = cast(VideoEncoder, load_from(checkpoint, VIDEO_ENCODER, key="encoder"))
    _check_same(config.encoder, encoder.config, source)
    predictor = None
    if MASKED_PREDICTOR in checkpoint.kinds:
        predictor = cast(MaskedPredictor, load_from(checkpoint, MASKED_PREDICTOR))
        _check_same(predictor_config(config), predictor.config, source)
    return StartingWeights(encoder=encoder, target_encoder=target, predictor=predictor)


def _check_same(wanted: NetworkConfig, found: NetworkConfig, source: object) -> None:
    """Raise CheckpointError if two configurations of one class differ, naming in what."""
    names = [field.name for field in dataclasses.fields(wanted) if field.name not in _FREE]
    pairs = ((name, getattr(wanted, name), getattr(found, name)) for name in names)
    differing = [f"{name} {theirs} instead of {ours}" for name, ours, theirs in pairs if ours != theirs]
    if differing:
        raise CheckpointError(
            f"start_from {source} is not what the options of the run describe: {', '.join(differing)}; choose the "
            "options, or the recipe, that it was trained with"
        )
