"""Load a model from wherever its weights are: our folders, Meta's files, Hugging Face's folders, or by name.

Every function returns a model in evaluation mode on the CPU with float32 parameters, built from the configuration that
the source states or that its weights show. Weights are copied one by one from the disk, never held twice. What does not
fit is an error that names every tensor; nothing is ever loaded in part.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from torch import nn

from vjepa_wm.models.ac_predictor import ActionConditionedPredictor
from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.attentive_probe import AttentiveProbe
from vjepa_wm.models.checkpoint import (
    AC_PREDICTOR,
    ATTENTIVE_PROBE,
    LINEAR_CLASSIFIER,
    MASKED_PREDICTOR,
    PROPOSAL,
    VIDEO_ENCODER,
    WORLD_MODEL,
    CheckpointError,
    build_meta,
    check_weights,
    copy_weights,
)
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.linear_classifier import LinearClassifier
from vjepa_wm.models.official.architecture import Positions
from vjepa_wm.models.official.published_models import ENCODER_KEYS
from vjepa_wm.models.predictor import MaskedPredictor
from vjepa_wm.models.proposal import ProposalConfig
from vjepa_wm.models.read_checkpoint import read_checkpoint
from vjepa_wm.models.stored_model import KINDS, Checkpoint, LoadedModel, StoredModel
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig

logger = logging.getLogger(__name__)


def load_encoder(
    source: str | Path,
    *,
    key: str | None = None,
    num_heads: int | None = None,
    positions: Positions | None = None,
) -> VideoEncoder:
    """Load a video encoder.

    Args:
        source: folder or file, or the name of a published checkpoint that lies on this machine (see
            `vjepa_wm.models.official.releases.resolve`). Of a world model, its encoder is taken.
        key: which encoder of an official file; None takes `ema_encoder`, else `target_encoder`, else `encoder`.
        num_heads: attention heads; needed for official files of unpublished widths only.
        positions: for official files that store a table of positions and are not of V-JEPA's own: `rope` (the table
            is not used) or `sincos` (it is).

    Raises:
        CheckpointError: if the source is missing, broken, of another kind, or leaves its architecture open.
    """
    return cast(
        VideoEncoder,
        load_from(read_checkpoint(source), VIDEO_ENCODER, key=key, num_heads=num_heads, positions=positions),
    )


def load_predictor(
    source: str | Path, *, num_heads: int | None = None, positions: Positions | None = None
) -> MaskedPredictor:
    """Load a masked predictor; arguments and errors as of `load_encoder`."""
    return cast(
        MaskedPredictor, load_from(read_checkpoint(source), MASKED_PREDICTOR, num_heads=num_heads, positions=positions)
    )


def load_ac_predictor(source: str | Path, *, num_heads: int | None = None) -> ActionConditionedPredictor:
    """Load an action-conditioned predictor, also out of a world model; arguments and errors as of `load_encoder`."""
    return cast(ActionConditionedPredictor, load_from(read_checkpoint(source), AC_PREDICTOR, num_heads=num_heads))


def load_probe(source: str | Path, *, num_heads: int | None = None) -> AttentiveProbe:
    """Load an attentive probe; arguments and errors as of `load_encoder`.

    Official probes have 16 heads. From a Hugging Face folder it has the encoder's number of heads and its epsilon,
    because transformers computes it so; `num_heads=16` is how Meta trained the probes of ViT-g, whose encoder has 22.
    """
    return cast(AttentiveProbe, load_from(read_checkpoint(source), ATTENTIVE_PROBE, num_heads=num_heads))


def load_linear_classifier(source: str | Path) -> LinearClassifier:
    """Load a linear probe out of a folder of ours; errors as of `load_encoder`."""
    return cast(LinearClassifier, load_from(read_checkpoint(source), LINEAR_CLASSIFIER))


def load_world_model(source: str | Path, *, key: str | None = None) -> WorldModel:
    """Load a world model: our folder, or encoder and action-conditioned predictor of an official V-JEPA 2-AC file.

    Args:
        source: as of `load_encoder`.
        key: as of `load_encoder`.

    Raises:
        CheckpointError: if `load_encoder` would raise it.
    """
    return cast(WorldModel, load_from(read_checkpoint(source), WORLD_MODEL, key=key))


def load_from(
    checkpoint: Checkpoint,
    kind: str,
    *,
    key: str | None = None,
    num_heads: int | None = None,
    positions: Positions | None = None,
) -> LoadedModel:
    """Load the model of a kind from a checkpoint that was read.

    Args:
        checkpoint: as `vjepa_wm.models.read_checkpoint.read_checkpoint` returns it.
        kind: one of `vjepa_wm.models.stored_model.KINDS`.
        key: as of `load_encoder`.
        num_heads: as of `load_encoder`; not for world models.
        positions: as of `load_encoder`; not for world models.

    Raises:
        CheckpointError: if it holds none of this kind, an option is given that it settles itself, its architecture
            stays open, or its weights do not fit.
    """
    options = {name: value for name, value in (("num_heads", num_heads), ("positions", positions)) if value is not None}
    if options and kind == WORLD_MODEL:
        raise CheckpointError("num_heads and positions must be left out for a world model")
    given = [*(["key"] if key is not None else []), *options]
    settled = [name for name in given if name not in checkpoint.open_options]
    if settled:
        raise CheckpointError(
            f"{checkpoint.path} states its own configuration, so {', '.join(settled)} must be left out"
        )
    if kind == WORLD_MODEL:
        return _join_world_model(checkpoint, key)
    stored = choose(checkpoint, kind, key)
    model = _build(KINDS[kind].model, stored.read_config(**options), (("", stored),), checkpoint.path)
    return cast(LoadedModel, model)


def choose(checkpoint: Checkpoint, kind: str, key: str | None = None) -> StoredModel:
    """Pick the model of a kind, of several encoders the one under `key`.

    Raises:
        CheckpointError: if there is none of this kind, or none under this key.
    """
    path = checkpoint.path
    fitting = {model.name: model for model in checkpoint.models if model.kind == kind}
    if not fitting:
        raise _wrong_kind(checkpoint, kind)
    if key is not None and key not in fitting:
        others = {model.name: KINDS[model.kind].title for model in checkpoint.models}
        held = ", ".join(f"{name!r} ({title})" for name, title in others.items())
        raise CheckpointError(f"key must name {KINDS[kind].title} of {path}, which holds {held}; got {key!r}")
    name = key if key is not None else next((name for name in ENCODER_KEYS if name in fitting), next(iter(fitting)))
    if len(fitting) > 1 and key is None:
        logger.info("%s holds %s; taking %r", path, " and ".join(map(repr, fitting)), name)
    return fitting[name]


def _wrong_kind(checkpoint: Checkpoint, wanted: str) -> CheckpointError:
    """Return the error for a checkpoint that holds something else than what is wanted."""
    kinds = (KINDS[kind] for kind in checkpoint.kinds)
    held = " and ".join(f"{kind.title} (read it with {kind.reader})" for kind in kinds) or "no model"
    needed = KINDS[wanted]
    return CheckpointError(f"{checkpoint.path} holds {held}, but {needed.title} is needed ({needed.reader})")


def _join_world_model(checkpoint: Checkpoint, key: str | None) -> WorldModel:
    """Build a world model of encoder, action-conditioned predictor and, where there is one, proposal."""
    kinds = {model.kind for model in checkpoint.models}
    if AC_PREDICTOR not in kinds:
        raise _wrong_kind(checkpoint, WORLD_MODEL)
    if VIDEO_ENCODER not in kinds:
        raise CheckpointError(
            f"{checkpoint.path} holds an action-conditioned predictor without its encoder: load both, with "
            "load_encoder (jepa-wms trained on vjepa2_vit_giant) and load_ac_predictor, and put them into a WorldModel"
        )
    encoder, predictor = choose(checkpoint, VIDEO_ENCODER, key), choose(checkpoint, AC_PREDICTOR)
    encoder_config = cast(VideoEncoderConfig, encoder.read_config())
    predictor_config = cast(ActionConditionedPredictorConfig, predictor.read_config())
    proposal = choose(checkpoint, PROPOSAL) if PROPOSAL in kinds else None
    try:
        config = WorldModelConfig(
            encoder=encoder_config,
            predictor=predictor_config,
            antialias=checkpoint.antialias,
            proposal=None if proposal is None else cast(ProposalConfig, proposal.read_config()),
        )
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path}: its parts do not fit together: {error}") from error
    parts = (("encoder", encoder), ("predictor", predictor), ("proposal", proposal))
    stored = tuple((name, part) for name, part in parts if part is not None)
    return cast(WorldModel, _build(WorldModel, config, stored, checkpoint.path))


def _build(build: type[nn.Module], config: Any, parts: Sequence[tuple[str, StoredModel]], path: Path) -> nn.Module:
    """Build a model and fill its parts, each by the name of its submodule; nothing takes memory until all of it fits.

    Raises:
        CheckpointError: if the configuration builds no model, or weights do not fit it.
    """
    for name, stored in parts:
        part = getattr(config, name) if name else config
        for count in ("depth", "num_mask_tokens", "num_levels"):  # each of them has tensors of its own
            if getattr(part, count, 0) > len(stored.weights):
                raise CheckpointError(
                    f"{stored.label} {stored.misfit}: {count} is {getattr(part, count)}, and it holds "
                    f"{len(stored.weights)} tensors"
                )
    try:
        model = build_meta(build, config)
    except (ValueError, ArithmeticError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: no model can be built of its configuration: {error}") from error
    for name, stored in parts:
        check_weights(stored.targets(model.get_submodule(name)), stored.weights, stored.label, stored.misfit)
    model.to_empty(device="cpu")
    for name, stored in parts:
        targets = stored.targets(model.get_submodule(name))
        copy_weights(targets, stored.weights, stored.label, stored.misfit)
    return model.eval()
