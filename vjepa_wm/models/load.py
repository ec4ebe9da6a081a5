"""Load a model from wherever its weights are: our folders, Meta's files, Hugging Face's folders, or by name.

Every function returns a model in evaluation mode on the CPU with float32 parameters, built from the configuration that
the source states or that its weights show. Weights are copied one by one from the disk, never held twice. What does not
fit is an error that names every tensor; nothing is ever loaded in part.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from vjepa_wm.models.ac_predictor import ActionConditionedPredictor
from vjepa_wm.models.attentive_probe import AttentiveProbe
from vjepa_wm.models.checkpoint import (
    AC_PREDICTOR,
    ATTENTIVE_PROBE,
    CONFIG_FILE,
    MASKED_PREDICTOR,
    MISFIT,
    VIDEO_ENCODER,
    WEIGHTS_FILE,
    WORLD_MODEL,
    CheckpointError,
    build_empty,
    copy_weights,
    load_model,
    read_config,
    read_json,
    read_tensors,
)
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.official import huggingface
from vjepa_wm.models.official.architecture import Positions
from vjepa_wm.models.official.parts import likely_cause
from vjepa_wm.models.official.reading import read_huggingface
from vjepa_wm.models.official.weight_source import (
    KINDS,
    choose,
    find_source,
    huggingface_config,
    label,
    official_config,
    official_parts,
    wrong_kind,
)
from vjepa_wm.models.predictor import MaskedPredictor
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig

_HALVES = {VIDEO_ENCODER: "encoder", AC_PREDICTOR: "predictor"}


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
        key: which encoder of an official file; None takes ``ema_encoder``, else ``target_encoder``, else ``encoder``.
        num_heads: attention heads; needed for official files of unpublished widths only.
        positions: for official files that store a table of positions and are not of V-JEPA's own: ``rope`` (the table
            is not used) or ``sincos`` (it is).

    Raises:
        CheckpointError: the source is missing, broken, of another kind, or leaves its architecture open.
    """
    return _load(source, VIDEO_ENCODER, key=key, num_heads=num_heads, positions=positions)


def load_predictor(
    source: str | Path, *, num_heads: int | None = None, positions: Positions | None = None
) -> MaskedPredictor:
    """Load a masked predictor; arguments and errors as of `load_encoder`."""
    return _load(source, MASKED_PREDICTOR, num_heads=num_heads, positions=positions)


def load_ac_predictor(source: str | Path, *, num_heads: int | None = None) -> ActionConditionedPredictor:
    """Load an action-conditioned predictor, also out of a world model; arguments and errors as of `load_encoder`."""
    return _load(source, AC_PREDICTOR, num_heads=num_heads)


def load_probe(source: str | Path, *, num_heads: int | None = None) -> AttentiveProbe:
    """Load an attentive probe; arguments and errors as of `load_encoder`.

    Official probes have 16 heads. From a Hugging Face folder it has the encoder's number of heads and its epsilon,
    because transformers computes it so; ``num_heads=16`` is how Meta trained the probes of ViT-g, whose encoder has 22.
    """
    return _load(source, ATTENTIVE_PROBE, num_heads=num_heads)


def load_world_model(source: str | Path, *, key: str | None = None) -> WorldModel:
    """Load a world model: our folder, or encoder and action-conditioned predictor of an official V-JEPA 2-AC file.

    Args:
        source: as of `load_encoder`.
        key: as of `load_encoder`.

    Raises:
        CheckpointError: as of `load_encoder`.
    """
    path, form = find_source(source)
    if form == "vjepa_wm":
        _refuse_options(path, {"key": key})
        return _load_own(path, WORLD_MODEL)
    if form == "huggingface":
        raise wrong_kind(path, WORLD_MODEL, huggingface.split_parts(read_huggingface(path)[0]))
    parts = official_parts(path)
    kinds = [part.kind for part in parts]
    if AC_PREDICTOR not in kinds:
        raise wrong_kind(path, WORLD_MODEL, kinds)
    if VIDEO_ENCODER not in kinds:
        raise CheckpointError(
            f"{path} holds an action-conditioned predictor without its encoder: load both, with load_encoder (jepa-wms "
            "trained on vjepa2_vit_giant) and load_ac_predictor, and put them into a WorldModel"
        )
    encoder, predictor = choose(parts, VIDEO_ENCODER, path, key), choose(parts, AC_PREDICTOR, path)
    halves = official_config(encoder, path), official_config(predictor, path)
    try:
        config = WorldModelConfig(encoder=halves[0], predictor=halves[1], antialias=False)
    except ValueError as error:
        raise CheckpointError(f"{path}: encoder and predictor do not fit together: {error}") from error
    model = build_empty(WorldModel, config)
    copy_weights(model.encoder.state_dict(), encoder.weights, label(encoder, path), likely_cause(encoder))
    copy_weights(model.predictor.state_dict(), predictor.weights, label(predictor, path), likely_cause(predictor))
    return model.eval()


def _load(
    source: str | Path,
    kind: str,
    *,
    key: str | None = None,
    num_heads: int | None = None,
    positions: Positions | None = None,
) -> nn.Module:
    path, form = find_source(source)
    if form == "official":
        part = choose(official_parts(path), kind, path, key)
        config = official_config(part, path, num_heads, positions)
        model = build_empty(KINDS[kind].model, config)
        copy_weights(model.state_dict(), part.weights, label(part, path), likely_cause(part))
        return model.eval()
    if form == "huggingface":
        _refuse_options(path, {"key": key, "positions": positions})
        return _load_huggingface(path, kind, num_heads)
    _refuse_options(path, {"key": key, "num_heads": num_heads, "positions": positions})
    return _load_own(path, kind)


def _refuse_options(path: Path, options: dict[str, object]) -> None:
    """Raise CheckpointError if one of `options`, which a source of this form does not have, is given (not None)."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise CheckpointError(f"{path} states its own configuration, so {', '.join(given)} must be left out")


def _load_own(path: Path, kind: str) -> nn.Module:
    """Load from our folder, or half of a world model."""
    found = read_json(path / CONFIG_FILE)["kind"]
    if found == kind:
        return load_model(path, kind, KINDS[kind].config, KINDS[kind].model).eval()
    half = _HALVES.get(kind)
    if found != WORLD_MODEL or half is None:
        raise wrong_kind(path, kind, [found])
    config = read_config(path, WORLD_MODEL, WorldModelConfig)
    prefix = f"{half}."
    stored = read_tensors(path / WEIGHTS_FILE)
    weights = {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}
    model = build_empty(KINDS[kind].model, config.encoder if kind == VIDEO_ENCODER else config.predictor)
    copy_weights(model.state_dict(), weights, f"{path / WEIGHTS_FILE} ({half})", MISFIT)
    return model.eval()


def _load_huggingface(path: Path, kind: str, num_heads: int | None) -> nn.Module:
    weights, values = read_huggingface(path)
    parts = huggingface.split_parts(weights)
    huggingface.check_folder(parts, values, path)
    if kind not in parts:
        raise wrong_kind(path, kind, parts)
    config = huggingface_config(kind, parts, values, path, num_heads)
    model = build_empty(KINDS[kind].model, config)
    copy_weights(huggingface.foreign_names(model.state_dict(), kind), parts[kind], path, huggingface.MISFIT)
    return model.eval()
