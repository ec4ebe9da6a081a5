"""Write models in Hugging Face's form, so that transformers loads them.

Source: huggingface/transformers 5.23, model `vjepa2`.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path

import torch
from torch import Tensor

from vjepa_wm.models.attentive_probe import AttentiveProbe, AttentiveProbeConfig
from vjepa_wm.models.checkpoint import (
    ATTENTIVE_PROBE,
    MASKED_PREDICTOR,
    VIDEO_ENCODER,
    CheckpointError,
    write_folder,
)
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.mlp import hidden_width
from vjepa_wm.models.official.huggingface import (
    CLASSIFIER_PREFIX,
    DEFAULTS,
    MASK_TOKENS,
    MODEL_TYPE,
    POOLER_MLP_RATIO,
    foreign_names,
)
from vjepa_wm.models.pixels import IMAGE_MEAN, IMAGE_STD, SHORT_SIDE
from vjepa_wm.models.predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa_wm.safe_files import write_json

logger = logging.getLogger(__name__)

PROCESSOR_FILE = "video_preprocessor_config.json"
_BILINEAR = 2  # Pillow's number for it


def save_huggingface(
    folder: str | Path,
    encoder: VideoEncoder,
    predictor: MaskedPredictor | None = None,
    probe: AttentiveProbe | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a folder that transformers loads, the preprocessing (`AutoVideoProcessor`) included.

    Args:
        folder: where to, made if missing.
        encoder: as of `to_huggingface`.
        predictor: as of `to_huggingface`.
        probe: as of `to_huggingface`.
        dtype: floating type of the stored weights; None keeps theirs.

    Raises:
        CheckpointError: if `to_huggingface` raises it.
    """
    weights, values = to_huggingface(encoder, predictor, probe)
    write_folder(weights, values, folder, dtype)
    write_json(Path(folder) / PROCESSOR_FILE, processor_values(encoder.config.image_size))


def processor_values(image_size: int) -> dict:
    """Return what transformers' video processor needs to know; `vjepa_wm.models.pixels` compares it with ours."""
    return {
        "video_processor_type": "VJEPA2VideoProcessor",
        "do_resize": True,
        "size": {"shortest_edge": int(SHORT_SIDE * image_size)},
        "resample": _BILINEAR,
        "do_center_crop": True,
        "crop_size": {"height": image_size, "width": image_size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(IMAGE_MEAN),
        "image_std": list(IMAGE_STD),
    }


def to_huggingface(
    encoder: VideoEncoder, predictor: MaskedPredictor | None = None, probe: AttentiveProbe | None = None
) -> tuple[dict[str, Tensor], dict]:
    """Translate models into the weights and configuration that transformers reads.

    Args:
        encoder: the video encoder.
        predictor: the masked predictor; without it, transformers draws one at random and says so when loading.
        probe: a classification probe; makes it a `VJEPA2ForVideoClassification`.

    Returns:
        Tensors by Hugging Face's names, views of the models' own except for mask tokens, and the content of
        `config.json`.

    Raises:
        CheckpointError: if transformers could not compute these models; every reason is named.
    """
    predictor_config = None if predictor is None else predictor.config
    probe_config = None if probe is None else probe.config
    reasons = _refusals(encoder.config, predictor_config, probe_config)
    if reasons:
        raise CheckpointError("transformers cannot hold this model: " + "; ".join(reasons))
    if probe is not None and probe.config.norm_eps != encoder.config.norm_eps:
        logger.warning(
            "the probe's norms have epsilon %g, transformers will use the encoder's %g: scores differ slightly",
            probe.config.norm_eps,
            encoder.config.norm_eps,
        )
    weights = foreign_names(encoder.state_dict(), VIDEO_ENCODER)
    if predictor is not None:
        weights |= foreign_names(predictor.state_dict(), MASKED_PREDICTOR)
        names = [f"{MASK_TOKENS}.{index}" for index in range(predictor.config.num_mask_tokens)]
        weights[MASK_TOKENS] = torch.stack([weights.pop(name) for name in names])
    if probe is not None:
        weights = {CLASSIFIER_PREFIX + name: value for name, value in weights.items()}
        weights |= foreign_names(probe.state_dict(), ATTENTIVE_PROBE)
    return weights, _to_values(encoder.config, predictor_config, probe_config)


def _refusals(
    encoder: VideoEncoderConfig, predictor: MaskedPredictorConfig | None, probe: AttentiveProbeConfig | None
) -> list[str]:
    """Return why transformers cannot compute these models; empty if it can."""
    rules = [
        (encoder.rope == "tiled", f"rope must be 'tiled', not {encoder.rope!r}"),
        (encoder.rope_grid is None, "rope_grid must be None"),
        (encoder.activation == "gelu", "activation must be 'gelu', not SwiGLU"),
        (not encoder.levels, "it has no norms for several levels (V-JEPA 2.1)"),
        (not encoder.image_tokenizer and not encoder.modality_embedding, "it treats pictures as clips"),
        (not encoder.class_token, "it has no class token"),
        (not encoder.temporal_depth, "it has no factorised attention"),
        (len(set(encoder.patch_shape)) == 1, f"patches must be squares, not {encoder.patch_shape}"),
    ]
    if predictor is not None:
        rules += [
            (predictor.encoder_dim == encoder.embed_dim, f"the predictor is for encoder_dim {predictor.encoder_dim}"),
            (predictor.rope == "tiled", f"the predictor's rope must be 'tiled', not {predictor.rope!r}"),
            (predictor.rope_grid is None, "the predictor's rope_grid must be None"),
            (predictor.activation == "gelu", "the predictor's activation must be 'gelu', not SwiGLU"),
            (not predictor.predict_context, "its predictor has no output for visible tokens (predict_context)"),
            (predictor.output_dim == predictor.encoder_dim, "its predictor has one level in and out"),
            (not predictor.modality_embedding, "its predictor has no modality embedding"),
            (predictor.norm_eps == encoder.norm_eps, "norm_eps of encoder and predictor must be equal"),
        ]
    if probe is not None:
        rules += [
            (probe.embed_dim == encoder.embed_dim, f"the probe is for embed_dim {probe.embed_dim}"),
            (probe.num_classes > 0, "it has no probe for anticipation"),
            (
                probe.num_heads == encoder.num_heads,
                f"its probe has the encoder's {encoder.num_heads} heads, not {probe.num_heads}",
            ),
            (probe.mlp_ratio == POOLER_MLP_RATIO, f"its probe's mlp_ratio is 4, not {probe.mlp_ratio}"),
        ]
    return [reason for holds, reason in rules if not holds]


def _to_values(
    encoder: VideoEncoderConfig, predictor: MaskedPredictorConfig | None, probe: AttentiveProbeConfig | None
) -> dict:
    """Return the content of `config.json`."""
    values = {
        "architectures": ["VJEPA2Model" if probe is None else "VJEPA2ForVideoClassification"],
        "model_type": MODEL_TYPE,
        **DEFAULTS,
        "patch_size": encoder.patch_size,
        "crop_size": encoder.image_size,
        "frames_per_clip": encoder.num_frames,
        "tubelet_size": encoder.tubelet_size,
        "hidden_size": encoder.embed_dim,
        "in_chans": encoder.in_channels,
        "num_attention_heads": encoder.num_heads,
        "num_hidden_layers": encoder.depth,
        "drop_path_rate": encoder.drop_path,
        "mlp_ratio": _cut_ratio(encoder.embed_dim, encoder.mlp_ratio),
        "layer_norm_eps": encoder.norm_eps,
    }
    if predictor is not None:
        values |= {
            "pred_hidden_size": predictor.embed_dim,
            "pred_num_attention_heads": predictor.num_heads,
            "pred_num_hidden_layers": predictor.depth,
            "pred_num_mask_tokens": predictor.num_mask_tokens,
            "pred_mlp_ratio": _cut_ratio(predictor.embed_dim, predictor.mlp_ratio),
        }
    if probe is not None:
        names = [f"LABEL_{index}" for index in range(probe.num_classes)]
        values |= {
            "num_pooler_layers": probe.depth - 1,
            "id2label": {str(index): name for index, name in enumerate(names)},
            "label2id": {name: index for index, name in enumerate(names)},
        }
    return values


def _cut_ratio(width: int, ratio: float) -> float:
    """Return the ratio whose product with the width, cut off as transformers does, is our hidden width."""
    hidden = hidden_width(width, ratio, "gelu")
    while int(width * ratio) < hidden:
        ratio = math.nextafter(ratio, math.inf)
    return ratio
