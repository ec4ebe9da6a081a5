"""What a source of weights is and what it holds, before any model is built; for loading, inspecting, converting."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import nn

from vjepa_wm.models.ac_predictor import ActionConditionedPredictor, ActionConditionedPredictorConfig
from vjepa_wm.models.attentive_probe import AttentiveProbe, AttentiveProbeConfig
from vjepa_wm.models.checkpoint import (
    AC_PREDICTOR,
    ATTENTIVE_PROBE,
    CONFIG_FILE,
    MASKED_PREDICTOR,
    VIDEO_ENCODER,
    WORLD_MODEL,
    CheckpointError,
    read_json,
)
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.official import architecture, huggingface
from vjepa_wm.models.official.architecture import Positions
from vjepa_wm.models.official.parts import ENCODER_KEYS, Part, read_parts
from vjepa_wm.models.official.reading import read_pt
from vjepa_wm.models.official.releases import resolve
from vjepa_wm.models.predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig

logger = logging.getLogger(__name__)

Form = Literal["vjepa_wm", "huggingface", "official"]


@dataclass(frozen=True)
class Kind:
    """A kind of model that can be loaded."""

    title: str
    """What people call it, with its article."""
    reader: str
    """The function that loads it."""
    config: type
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
    WORLD_MODEL: Kind("a world model", "load_world_model", WorldModelConfig, WorldModel),
}


def find_source(source: str | Path) -> tuple[Path, Form]:
    """Return the path that `source` means, and which form its checkpoint has.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    path = resolve(source)
    if path.is_file() and path.suffix == ".safetensors" and (path.parent / CONFIG_FILE).is_file():
        path = path.parent
    if path.is_file():
        return path, "official"
    if not (path / CONFIG_FILE).is_file():
        inside = [found.parent.name for found in sorted(path.glob(f"*/{CONFIG_FILE}"))]
        inside += [found.name for found in sorted(path.glob("*.pt*"))]
        hint = f"; but it contains {', '.join(inside)}: name one of them" if inside else ""
        raise CheckpointError(f"no checkpoint at {path}: {CONFIG_FILE} is missing{hint}")
    values = read_json(path / CONFIG_FILE)
    if "kind" in values:
        return path, "vjepa_wm"
    if "model_type" in values:
        return path, "huggingface"
    raise CheckpointError(f"{path / CONFIG_FILE} names neither a 'kind' (vjepa_wm) nor a 'model_type' (Hugging Face)")


def wrong_kind(path: Path, wanted: str, found: Iterable[str]) -> CheckpointError:
    """Return the error for a source that holds something else than what is wanted."""
    kinds = [KINDS[kind] for kind in dict.fromkeys(found) if kind in KINDS]
    held = " and ".join(f"{kind.title} (read it with {kind.reader})" for kind in kinds) or "no model that is known here"
    return CheckpointError(f"{path} holds {held}, but {KINDS[wanted].title} is needed ({KINDS[wanted].reader})")


def official_parts(path: Path) -> list[Part]:
    """Read an official file.

    Raises:
        CheckpointError: it is broken, or holds no model.
    """
    content = read_pt(path)
    parts = read_parts(content, path)
    if not parts:
        entries = ", ".join(f"{name} ({type(value).__name__})" for name, value in list(content.items())[:8])
        raise CheckpointError(
            f"{path} holds no model that is known here; its {len(content)} entries: {entries}"
            f"{', ...' * (len(content) > 8)}. It may be of another project, or hold an optimizer only"
        )
    return parts


def choose(parts: list[Part], kind: str, path: Path, key: str | None = None) -> Part:
    """Pick the part of a kind, of several encoders the one under `key`.

    Raises:
        CheckpointError: there is none of this kind, or none under this key.
    """
    fitting = {part.name: part for part in parts if part.kind == kind}
    if not fitting:
        raise wrong_kind(path, kind, (part.kind for part in parts))
    if key is not None and key not in fitting:
        others = {part.name: KINDS[part.kind].title for part in parts}
        held = ", ".join(f"{name!r} ({title})" for name, title in others.items())
        raise CheckpointError(f"key must name {KINDS[kind].title} of {path}, which holds {held}; got {key!r}")
    name = key if key is not None else next((name for name in ENCODER_KEYS if name in fitting), next(iter(fitting)))
    if len(fitting) > 1 and key is None:
        logger.info("%s holds %s; taking %r", path, " and ".join(map(repr, fitting)), name)
    return fitting[name]


def official_config(part: Part, path: Path, num_heads: int | None = None, positions: Positions | None = None) -> object:
    """Return the configuration that the weights of a part show.

    Raises:
        CheckpointError: they leave something open, or are of no model we have.
    """
    try:
        if part.kind == VIDEO_ENCODER:
            return architecture.encoder_config(part, path, num_heads=num_heads, positions=positions)
        if part.kind == MASKED_PREDICTOR:
            return architecture.masked_predictor_config(part, path, num_heads=num_heads, positions=positions)
        if part.kind == AC_PREDICTOR:
            return architecture.ac_predictor_config(part, path, num_heads=num_heads)
        return architecture.probe_config(part, path, num_heads=num_heads)
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{label(part, path)}: {error}") from error


def label(part: Part, path: Path) -> str:
    """Return what messages call a part."""
    return f"{path} ({part.name})" if part.name else str(path)


def huggingface_config(kind: str, parts: dict, values: dict, path: Path, num_heads: int | None = None) -> object:
    """Return our configuration of a part of a Hugging Face folder.

    Raises:
        CheckpointError: the stated configuration is impossible.
    """
    try:
        if kind == VIDEO_ENCODER:
            return huggingface.encoder_config(values, path, num_heads=num_heads)
        if kind == MASKED_PREDICTOR:
            return huggingface.masked_predictor_config(values, path, num_heads=num_heads)
        return huggingface.probe_config(parts[kind], values, path, num_heads=num_heads)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path / CONFIG_FILE}: {error}") from error
