"""Labelled items as features of a frozen encoder, kept on disk.

Letters: B items, R clips and views of one, N tokens, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from vjepa_wm.checks import check_within
from vjepa_wm.data.clips.bad_files import BadFiles
from vjepa_wm.data.labelled.clip_views import ClipOptions, item_views
from vjepa_wm.data.labelled.feature_store import Encode, FeatureStore, StoredFeatures
from vjepa_wm.data.labelled.labelled_set import LabelledSet
from vjepa_wm.data.latents.latent_store import fingerprint
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.pixels import fit_clip_channels
from vjepa_wm.models.precision import autocast
from vjepa_wm.training.classification.future import Future
from vjepa_wm.training.classification.heads import FeatureForm


def level_blocks(encoder: VideoEncoderConfig, num_levels: int) -> tuple[int, ...]:
    """Return the blocks whose outputs are read: the encoder's own levels, else spread evenly, ending with the last.

    Raises:
        ValueError: if it has not so many.
    """
    check_within(1, len(encoder.levels) or encoder.depth, levels=num_levels)
    if encoder.levels:
        return encoder.levels[-num_levels:]
    return tuple(encoder.depth * (k + 1) // num_levels - 1 for k in range(num_levels))


def encode_tokens(encoder: VideoEncoder, clips: Tensor, num_levels: int, future: Future | None = None) -> Tensor:
    """Return the tokens of some levels end to end, the class token of the last one first, predictions last.

    Args:
        encoder: what encodes.
        clips: (B, 3, T, S, S); an encoder of grey input sees them grey.
        num_levels: how many levels, as of `level_blocks`.
        future: what predicts the time after the clips, if that is read too.

    Returns:
        (B, N, D).
    """
    clips = fit_clip_channels(clips, encoder.config.in_channels)
    if num_levels == 1 and future is None:
        return encoder(clips)
    read = level_blocks(encoder.config, num_levels)
    predicted_from = () if future is None else level_blocks(encoder.config, future.num_levels)
    layers = sorted({*read, *predicted_from})
    outputs = dict(zip(layers, encoder.intermediate_layers(clips, layers=layers), strict=True))
    special = int(encoder.config.class_token)
    parts = [outputs[read[-1]][:, :special], *(outputs[layer][:, special:] for layer in read)]
    if future is not None:
        context = torch.cat([outputs[layer][:, special:] for layer in predicted_from], dim=-1)
        parts.append(future.predict(context, encoder.grid(clips)))
    return torch.cat(parts, dim=1)


def make_encode(
    encoder: VideoEncoder,
    form: FeatureForm,
    num_levels: int,
    clips_at_once: int,
    dtype: torch.dtype,
    future: Future | None = None,
) -> Encode:
    """Return the frozen encoder as what a `FeatureStore` takes.

    Args:
        encoder: in evaluation mode, where it is to compute.
        form: what is kept.
        num_levels: as of `encode_tokens`.
        clips_at_once: clips and views in one pass.
        dtype: number format it computes in.
        future: as of `encode_tokens`.
    """
    device = encoder.patch_embed.proj.weight.device

    def encode(views: Tensor) -> Tensor:
        """Map (B, R, 3, T, S, S) to (B, R, N, D)."""
        parts = []
        with torch.no_grad(), autocast(device, dtype):
            for clips in views.flatten(0, 1).split(clips_at_once):
                tokens = encode_tokens(encoder, clips.to(device), num_levels, future).float()
                parts.append(form.pool(tokens) if form.pooled else tokens)
        return torch.cat(parts).unflatten(0, views.shape[:2])

    return encode


def default_store(data: Path) -> Path:
    """Return the folder in which features lie if nobody says otherwise: beside the labels, hidden."""
    return (data if data.is_dir() else data.parent) / ".vjepa_wm" / "features"


def encode_sets(
    encoder: VideoEncoder,
    sets: Sequence[LabelledSet],
    clips: Sequence[ClipOptions],
    bad: BadFiles,
    *,
    pooled: bool,
    num_levels: int,
    clips_at_once: int,
    dtype: torch.dtype,
    store: Path,
    future: Future | None = None,
    add: bool = True,
) -> list[StoredFeatures]:
    """Return the features of several sets; what the store has is not computed again.

    Args:
        encoder: in evaluation mode, where it is to compute.
        sets: whose items.
        clips: what is seen of the items of each set.
        bad: where unreadable items are noted, of the lists of items in the same order.
        pooled: whether two vectors of each clip are kept in place of its tokens.
        num_levels: as of `encode_tokens`.
        clips_at_once: clips and views in one pass.
        dtype: number format it computes in.
        store: folder of stores.
        future: as of `encode_tokens`.
        add: as of `FeatureStore.features`.

    Raises:
        ValueError: if the clips do not suit the encoder.
        VideoError: if too many items cannot be read.
    """
    found = []
    for number, (one, options) in enumerate(zip(sets, clips, strict=True)):
        size = options.size_for(encoder.config)
        form = form_of(options, encoder.config, pooled=pooled)
        belongs_to = {
            "encoder": fingerprint(encoder),
            "clips": {**dataclasses.asdict(options), "image_size": size},
            "levels": level_blocks(encoder.config, num_levels),
            "pooled": pooled,
        }
        if future is not None:
            belongs_to["future"] = [future.note.predictor_content, future.note.mask_index, future.num_skipped]
        found.append(
            FeatureStore(store, belongs_to).features(
                one.items,
                read=partial(item_views, options=options, image_size=size),
                encode=make_encode(encoder, form, num_levels, clips_at_once, dtype, future),
                batch_size=max(1, clips_at_once // (options.clips * options.views)),
                bad=bad,
                which=number,
                add=add,
            )
        )
    return found


def form_of(options: ClipOptions, encoder: VideoEncoderConfig, *, pooled: bool) -> FeatureForm:
    """Return what the features of an item are that is seen so."""
    return FeatureForm(num_clips=options.clips, num_views=options.views, class_token=encoder.class_token, pooled=pooled)
