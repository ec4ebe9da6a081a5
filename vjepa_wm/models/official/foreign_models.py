"""The models in other people's checkpoints: Meta's files and Hugging Face's folders, as `StoredModel` records."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from torch import Tensor

from vjepa_wm.models.checkpoint import (
    AC_PREDICTOR,
    CONFIG_FILE,
    MASKED_PREDICTOR,
    VIDEO_ENCODER,
    CheckpointError,
)
from vjepa_wm.models.official import architecture, huggingface
from vjepa_wm.models.official.architecture import Positions
from vjepa_wm.models.official.published_models import PublishedModel, find_models, likely_cause
from vjepa_wm.models.official.reading import read_huggingface_weights, read_pt
from vjepa_wm.models.stored_model import Checkpoint, PartConfig, StoredModel


def read_official_file(path: Path) -> Checkpoint:
    """Read a `torch.save` file as Meta publishes them.

    Raises:
        CheckpointError: if it is broken, would need code to be run, or holds no model that is known here.
    """
    content = read_pt(path)
    parts = find_models(content, path)
    if not parts:
        entries = ", ".join(f"{name} ({type(value).__name__})" for name, value in list(content.items())[:8])
        raise CheckpointError(
            f"{path} holds no model that is known here; its {len(content)} entries: {entries}"
            f"{', ...' * (len(content) > 8)}. It may be of another project, or hold an optimizer only"
        )
    names = {part.name for part in parts}
    others = (f"{name} ({type(value).__name__})" for name, value in content.items() if name not in names)
    return Checkpoint(
        path=path,
        form="official",
        models=tuple(_official_model(part, path) for part in parts),
        open_options=("key", "num_heads", "positions"),
        other_entries=() if "" in names else tuple(others),
    )


def _official_model(part: PublishedModel, path: Path) -> StoredModel:
    label = f"{path} ({part.name})" if part.name else str(path)
    return StoredModel(
        name=part.name,
        kind=part.kind,
        weights=part.weights,
        label=label,
        misfit=likely_cause(part),
        read_config=partial(_official_config, part, path, label),
    )


def _official_config(
    part: PublishedModel, path: Path, label: str, *, num_heads: int | None = None, positions: Positions | None = None
) -> PartConfig:
    """Return the configuration that the weights of a part show."""
    try:
        if part.kind == VIDEO_ENCODER:
            return architecture.infer_encoder_config(part, path, num_heads=num_heads, positions=positions)
        if part.kind == MASKED_PREDICTOR:
            return architecture.infer_masked_predictor_config(part, path, num_heads=num_heads, positions=positions)
        if part.kind == AC_PREDICTOR:
            return architecture.infer_ac_predictor_config(part, path, num_heads=num_heads)
        return architecture.infer_probe_config(part, path, num_heads=num_heads)
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{label}: {error}") from error


def read_huggingface_folder(path: Path, values: dict) -> Checkpoint:
    """Read a model folder of Hugging Face transformers.

    Args:
        path: the folder.
        values: content of its `config.json`.

    Raises:
        CheckpointError: if it is broken, of another model than V-JEPA 2, or contradicts itself.
    """
    parts = huggingface.split_parts(read_huggingface_weights(path))
    huggingface.check_folder(parts, values, path)
    models = tuple(_huggingface_model(kind, weights, values, path) for kind, weights in parts.items())
    return Checkpoint(path=path, form="huggingface", models=models, open_options=("num_heads",))


def _huggingface_model(kind: str, weights: Mapping[str, Tensor], values: dict, path: Path) -> StoredModel:
    return StoredModel(
        name="",
        kind=kind,
        weights=weights,
        label=str(path),
        misfit=huggingface.HUGGINGFACE_MISFIT,
        read_config=partial(_huggingface_config, kind, weights, values, path),
        targets=lambda module: huggingface.foreign_names(module.state_dict(), kind),
    )


def _huggingface_config(
    kind: str, weights: Mapping[str, Tensor], values: dict, path: Path, *, num_heads: int | None = None
) -> PartConfig:
    """Return our configuration of a model in a folder."""
    try:
        if kind == VIDEO_ENCODER:
            return huggingface.translate_encoder_config(values, path, num_heads=num_heads)
        if kind == MASKED_PREDICTOR:
            return huggingface.translate_masked_predictor_config(values, path, num_heads=num_heads)
        return huggingface.translate_probe_config(weights, values, path, num_heads=num_heads)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(f"{path / CONFIG_FILE}: {error}") from error
