"""Heads on features: which there are, what each reads of the features of an item, and its loss.

Letters: B items, P clips of one, V views of each clip, R all P * V of them, N tokens, D width, K classes.

Source: V-JEPA 2 (arXiv 2506.09985), appendix on probes: a probe sees the tokens of all clips at once, and its scores
are averaged over the views.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vjepa_wm.data.labelled.labelled_set import CLASS
from vjepa_wm.models.attentive_probe import AttentiveProbe, AttentiveProbeConfig
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.linear_classifier import LinearClassifier, LinearClassifierConfig, Readout, read_vectors

HeadKind = Literal["linear", "attentive-1", "attentive-4", "knn"]
TRAINED: tuple[HeadKind, ...] = ("linear", "attentive-1", "attentive-4")
_WIDE = 1024
"""Width from which the published encoders' probes have 16 heads."""
_FOCUS, _POSITIVE_SHARE = 2.0, 0.25


@dataclass(frozen=True, kw_only=True)
class FeatureForm:
    """What the features of an item are."""

    num_clips: int
    """P."""
    num_views: int
    """V."""
    class_token: bool
    """Whether the first of the tokens is a class token."""
    pooled: bool = False
    """Whether instead of tokens there are two vectors of each clip and view: class token (zeros if there is none) and
    mean."""

    def vectors(self, features: Tensor, readout: Readout) -> Tensor:
        """Return one vector for each view of features (B, R, N, D), the mean over clips, (B, V, D)."""
        if self.pooled:
            vectors = features[:, :, 0 if readout == "class_token" else 1]
        else:
            vectors = read_vectors(features, readout, has_class_token=self.class_token)
        return rearrange(vectors, "b (p v) d -> b p v d", v=self.num_views).mean(dim=1)

    def pool(self, tokens: Tensor) -> Tensor:
        """Turn tokens (..., N, D) into class token and mean, (..., 2, D)."""
        mean = read_vectors(tokens, "mean", has_class_token=self.class_token)
        first = tokens[..., 0, :] if self.class_token else torch.zeros_like(mean)
        return torch.stack((first, mean), dim=-2)


def make_head(
    kind: HeadKind,
    encoder: VideoEncoderConfig,
    classes: Mapping[str, Sequence[str]],
    *,
    readout: Readout = "mean",
    num_heads: int | None = None,
) -> LinearClassifier | AttentiveProbe:
    """Draw the weights of a new head.

    Args:
        kind: which.
        encoder: whose features it reads.
        classes: names of the classes, by question.
        readout: what a linear probe reads.
        num_heads: attention heads of an attentive probe; None: 16 for widths from 1024 on, else those of the encoder.

    Raises:
        ValueError: if the kind cannot answer the questions.
    """
    if kind not in TRAINED:
        raise ValueError(f"kind must be {' or '.join(TRAINED)}, got {kind!r}")
    counts = {question: len(names) for question, names in classes.items()}
    if kind == "linear":
        if set(counts) != {CLASS}:
            raise ValueError(f"heads must be attentive to answer {', '.join(counts)}, got linear")
        return LinearClassifier(
            LinearClassifierConfig(embed_dim=encoder.embed_dim, num_classes=counts[CLASS], readout=readout)
        )
    default_heads = 16 if encoder.embed_dim >= _WIDE else encoder.num_heads
    return AttentiveProbe(
        AttentiveProbeConfig(
            embed_dim=encoder.embed_dim,
            num_heads=num_heads or default_heads,
            depth=int(kind.removeprefix("attentive-")),
            num_classes=counts.get(CLASS, 0),
            num_verbs=counts.get("verb", 0),
            num_nouns=counts.get("noun", 0),
            num_actions=counts.get("action", 0),
        )
    )


def answer(head: nn.Module, features: Tensor, form: FeatureForm) -> dict[str, Tensor]:
    """Return a head's scores before the softmax or sigmoid.

    Args:
        head: a linear or an attentive probe.
        features: of the items, (B, R, N, D).
        form: what they are.

    Returns:
        By question, (B, V, K).
    """
    if isinstance(head, LinearClassifier):
        return {CLASS: head(form.vectors(features, head.config.readout))}
    tokens = rearrange(features, "b (p v) n d -> (b v) (p n) d", v=form.num_views)
    scores = head(tokens)
    by_question = scores if isinstance(scores, dict) else {CLASS: scores}
    return {name: rearrange(one, "(b v) k -> b v k", v=form.num_views) for name, one in by_question.items()}


def probabilities(answers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn scores (B, V, K) into probabilities (B, K), averaged over views: softmax for classes, sigmoid else."""
    return {
        name: (one.float().softmax(dim=-1) if name == CLASS else one.float().sigmoid()).mean(dim=1)
        for name, one in answers.items()
    }


def head_loss(answers: Mapping[str, Tensor], labels: Tensor) -> Tensor:
    """Return the loss of a batch: cross-entropy of classes, else the focal losses of all questions together.

    Args:
        answers: scores by question, (B, V, K).
        labels: classes by question, in the order of `answers`, int64 (B, Q).
    """
    total = torch.zeros((), device=labels.device)
    for column, (name, scores) in enumerate(answers.items()):
        flat = rearrange(scores.float(), "b v k -> (b v) k")
        wanted = labels[:, column].repeat_interleave(scores.shape[1])
        total = total + (F.cross_entropy(flat, wanted) if name == CLASS else focal_loss(flat, wanted))
    return total


def focal_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the sigmoid focal loss (alpha 0.25, gamma 2) of scores (B, K), summed over items and classes.

    Source: Lin et al. (arXiv 1708.02002), as V-JEPA 2 (arXiv 2506.09985) uses it for anticipation.
    """
    wanted = F.one_hot(labels, scores.shape[1]).to(scores.dtype)
    missed = torch.where(wanted > 0, 1 - scores.sigmoid(), scores.sigmoid())
    weight = torch.where(wanted > 0, _POSITIVE_SHARE, 1 - _POSITIVE_SHARE)
    return (weight * missed**_FOCUS * F.binary_cross_entropy_with_logits(scores, wanted, reduction="none")).sum()
