"""What lies in a checkpoint, in one form whoever wrote it.

Why this file exists: loading, inspecting, converting and starting a training run ask the same of a checkpoint. It is
looked at once, and what was found goes on as these records; whose names and rules they follow only their makers know.

    locate(path or name) -> Location -> read_checkpoint -> Checkpoint of StoredModels -> load_from -> module
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from vjepa_wm.models.ac_predictor import ActionConditionedPredictor
from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.attentive_probe import AttentiveProbe, AttentiveProbeConfig
from vjepa_wm.models.checkpoint import (
    AC_PREDICTOR,
    ATTENTIVE_PROBE,
    LINEAR_CLASSIFIER,
    MASKED_PREDICTOR,
    PROPOSAL,
    VIDEO_ENCODER,
    WORLD_MODEL,
)
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.linear_classifier import LinearClassifier, LinearClassifierConfig
from vjepa_wm.models.predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa_wm.models.proposal import Proposal, ProposalConfig
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig

Form = Literal["vjepa_wm", "huggingface", "official"]
PartConfig = (
    VideoEncoderConfig
    | MaskedPredictorConfig
    | ActionConditionedPredictorConfig
    | AttentiveProbeConfig
    | LinearClassifierConfig
    | ProposalConfig
)
"""Configurations of what a `StoredModel` may be; a world model is stored as two or three of them."""
LoadedModel = (
    VideoEncoder
    | MaskedPredictor
    | ActionConditionedPredictor
    | AttentiveProbe
    | LinearClassifier
    | Proposal
    | WorldModel
)
"""What a checkpoint becomes."""


@dataclass(frozen=True)
class Kind:
    """A kind of model that can be loaded."""

    title: str
    """What people call it, with its article."""
    reader: str
    """The function that loads it."""
    config: type[PartConfig] | type[WorldModelConfig]
    """Its configuration class."""
    model: type[nn.Module]
    """Its class."""


KINDS = {
    VIDEO_ENCODER: Kind("a video encoder", "load_encoder", VideoEncoderConfig, VideoEncoder),
    MASKED_PREDICTOR: Kind("a masked predictor", "load_predictor", MaskedPredictorConfig, MaskedPredictor),
    AC_PREDICTOR: Kind(
        "an action-conditioned predictor",
        "load_ac_predictor",
        ActionConditionedPredictorConfig,
        ActionConditionedPredictor,
    ),
    ATTENTIVE_PROBE: Kind("an attentive probe", "load_probe", AttentiveProbeConfig, AttentiveProbe),
    LINEAR_CLASSIFIER: Kind("a linear probe", "load_linear_classifier", LinearClassifierConfig, LinearClassifier),
    PROPOSAL: Kind("a proposal of actions", "load_world_model", ProposalConfig, Proposal),
    WORLD_MODEL: Kind("a world model", "load_world_model", WorldModelConfig, WorldModel),
}


@dataclass(frozen=True, kw_only=True)
class StoredModel:
    """One model in a checkpoint: its tensors and what it takes to build it. World models are several."""

    name: str
    """Where in the checkpoint; empty if it is all of it."""
    kind: str
    """What it is, by the names of `vjepa_wm.models.checkpoint`."""
    weights: Mapping[str, Tensor]
    """Its tensors under the names of whoever wrote it, on the disk until they are used."""
    label: str
    """What messages call it."""
    misfit: str
    """What is wrong with weights that do not fit, and the likeliest cause, after the label."""
    read_config: Callable[..., PartConfig]
    """Returns its configuration; takes those of `num_heads` and `positions` that its form leaves open.
    Raises CheckpointError if they stay open, or if it is of no model we have."""
    targets: Callable[[nn.Module], Mapping[str, Tensor]] = nn.Module.state_dict
    """Returns a module's tensors, or views of their parts, under the names that `weights` has."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A file or folder of weights, looked at once."""

    path: Path
    """Where it is."""
    form: Form
    """Whose form it has: ours, Hugging Face's, or that of Meta's files."""
    models: tuple[StoredModel, ...]
    """Its models, the parts of a world model each by itself."""
    open_options: tuple[str, ...] = ()
    """What this form leaves to the caller, of `key`, `num_heads` and `positions`."""
    antialias: bool = False
    """World models only: whether their pictures are resized with antialiasing."""
    other_entries: tuple[str, ...] = ()
    """What else stands in it."""

    @property
    def kinds(self) -> list[str]:
        """Kinds of its models, each once; encoder, action-conditioned predictor and proposal are one world model."""
        kinds = list(dict.fromkeys(model.kind for model in self.models))
        if VIDEO_ENCODER in kinds and AC_PREDICTOR in kinds:
            return [WORLD_MODEL, *(kind for kind in kinds if kind not in (VIDEO_ENCODER, AC_PREDICTOR, PROPOSAL))]
        return kinds
