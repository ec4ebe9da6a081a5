"""An encoder with a head and the names of its classes: what a video or picture shows.

Why this file exists: a head alone cannot be used. The folder of a head says which encoder it reads, how clips are cut
and what the classes are called, so that `predict` needs nothing else; published heads are brought to the same form.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vjepa_wm.data.labelled.class_names import read_class_names
from vjepa_wm.data.labelled.clip_views import ClipOptions, item_views
from vjepa_wm.data.labelled.labelled_set import CLASS, Item
from vjepa_wm.data.latents.latent_store import fingerprint
from vjepa_wm.models.attentive_probe import AttentiveProbe, AttentiveProbeConfig
from vjepa_wm.models.checkpoint import (
    ATTENTIVE_PROBE,
    CONFIG_FILE,
    LINEAR_CLASSIFIER,
    VIDEO_ENCODER,
    CheckpointError,
    build_config,
    read_json,
    save_model,
)
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.linear_classifier import LinearClassifier
from vjepa_wm.models.load import load_encoder, load_from
from vjepa_wm.models.official.releases import release_of
from vjepa_wm.models.precision import autocast
from vjepa_wm.models.read_checkpoint import read_checkpoint
from vjepa_wm.safe_files import write_json
from vjepa_wm.training.classification.encoded_items import encode_tokens, form_of
from vjepa_wm.training.classification.heads import answer, probabilities

CARD_FILE = "classifier.json"
ENCODER_FOLDER = "encoder"
"""Below the folder of a head, where its encoder was trained with it."""


@dataclass(frozen=True, kw_only=True)
class ClassifierCard:
    """What `classifier.json` says of a head."""

    classes: dict[str, tuple[str, ...]]
    """Names of the classes, by question."""
    clips: ClipOptions
    """What is seen of a video or picture."""
    levels: int
    """Outputs of the encoder that the head reads."""
    encoder: str
    """Where the encoder is; `encoder` is below the folder of the head."""
    encoder_content: str
    """What tells the encoder from others."""


def read_card(folder: Path) -> ClassifierCard:
    """Read what the folder of a head says of it.

    Raises:
        CheckpointError: if it is damaged.
    """
    path = folder / CARD_FILE
    content = read_json(path)
    try:
        return ClassifierCard(
            classes={str(name): tuple(map(str, names)) for name, names in content["classes"].items()},
            clips=build_config(ClipOptions, content["clips"], path),
            levels=int(content["levels"]),
            encoder=str(content["encoder"]),
            encoder_content=str(content["encoder_content"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """An encoder, a head, and what its answers mean."""

    encoder: VideoEncoder
    """In evaluation mode."""
    head: nn.Module
    """A `LinearClassifier` or an `AttentiveProbe`, in evaluation mode."""
    classes: Mapping[str, Sequence[str]]
    """Names of the classes, by question."""
    clips: ClipOptions
    """What is seen of a video or picture."""
    levels: int = 1
    """Outputs of the encoder that the head reads."""

    @torch.no_grad()
    def scores(self, item: Item, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Return the probability of each class.

        Args:
            item: a video or picture.
            dtype: number format that the encoder computes in.

        Returns:
            By question, (K,).

        Raises:
            VideoError, PictureError, OSError: if the item cannot be read.
        """
        device = self.encoder.patch_embed.proj.weight.device
        views = item_views(item, self.clips, self.clips.size_for(self.encoder.config)).to(device)
        with autocast(device, dtype):
            tokens = torch.cat([encode_tokens(self.encoder, view[None], self.levels) for view in views])
        form = form_of(self.clips, self.encoder.config, pooled=False)
        found = probabilities(answer(self.head, tokens.float()[None], form))
        return {question: values[0].cpu() for question, values in found.items()}

    def to(self, device: torch.device) -> Classifier:
        """Move both networks."""
        self.encoder.to(device), self.head.to(device)
        return self


def save_classifier(
    folder: Path,
    head: LinearClassifier | AttentiveProbe,
    *,
    classes: Mapping[str, Sequence[str]],
    clips: ClipOptions,
    levels: int,
    encoder: VideoEncoder,
    source: str | None,
) -> None:
    """Write a head and what it takes to use it.

    Args:
        folder: where to.
        head: the head.
        classes: names of the classes, by question.
        clips: what is seen of an item.
        levels: outputs of the encoder that it reads.
        encoder: what it was trained on.
        source: where the encoder was read, if it is as it was; None writes it below the folder.
    """
    kind = LINEAR_CLASSIFIER if isinstance(head, LinearClassifier) else ATTENTIVE_PROBE
    save_model(head, kind, head.config, folder)
    if source is None:
        save_model(encoder, VIDEO_ENCODER, encoder.config, folder / ENCODER_FOLDER)
    here = source is not None and Path(source).expanduser().exists()
    card = ClassifierCard(
        classes={question: tuple(names) for question, names in classes.items()},
        clips=clips,
        levels=levels,
        encoder=ENCODER_FOLDER if source is None else str(Path(source).expanduser().resolve()) if here else source,
        encoder_content=fingerprint(encoder),
    )
    write_json(folder / CARD_FILE, dataclasses.asdict(card))


def load_classifier(
    source: str,
    *,
    encoder: str | None = None,
    class_names: Path | None = None,
    clips: ClipOptions | None = None,
) -> Classifier:
    """Load a classifier: a folder that `classify` wrote, or a published probe.

    Args:
        source: folder of a head; Hugging Face folder of a classification model; or file or name of an official probe.
        encoder: the encoder that the head reads; needed for official probes, and where that of our own was moved.
        class_names: as of `read_class_names`, for heads that do not name their classes.
        clips: what is seen of an item; None: what the head was trained with, else 16 frames spread over it.

    Raises:
        CheckpointError: if there is no such head, it does not fit the encoder, or that is another one than it was
            trained on.
    """
    if (Path(source) / CARD_FILE).is_file():
        return _load_own(Path(source), encoder, clips)
    checkpoint = read_checkpoint(source)
    head = load_from(checkpoint, ATTENTIVE_PROBE)
    assert isinstance(head, AttentiveProbe)
    if any(model.kind == VIDEO_ENCODER for model in checkpoint.models) and encoder is None:
        network = load_from(checkpoint, VIDEO_ENCODER)
        assert isinstance(network, VideoEncoder)
    elif encoder is None:
        raise CheckpointError(
            f"{checkpoint.path} holds a probe alone; name the encoder it was trained on with --encoder"
        )
    else:
        network = load_encoder(encoder)
    check_width(head, network, source)
    names = None if class_names is None else read_class_names(class_names)
    if names is None and checkpoint.form == "huggingface":
        names = _stated_names(checkpoint.path)
    release = release_of(checkpoint.path)
    seen = clips or ClipOptions(num_frames=release.num_frames if release else 16)
    return Classifier(encoder=network, head=head, classes=_named(head, names, source), clips=seen)


def load_head(source: str) -> tuple[LinearClassifier | AttentiveProbe, int, dict[str, tuple[str, ...]]]:
    """Load a head without its encoder; returns it, the levels it reads, and its classes as far as it names them.

    Raises:
        CheckpointError: if there is no such head.
    """
    checkpoint = read_checkpoint(source)
    kind = LINEAR_CLASSIFIER if LINEAR_CLASSIFIER in checkpoint.kinds else ATTENTIVE_PROBE
    head = load_from(checkpoint, kind)
    assert isinstance(head, LinearClassifier | AttentiveProbe)
    levels, names = 1, _stated_names(checkpoint.path) if checkpoint.form == "huggingface" else None
    if (Path(source) / CARD_FILE).is_file():
        card = read_card(Path(source))
        return head, card.levels, card.classes
    return head, levels, {q: names or tuple(map(str, range(count))) for q, count in _counts(head).items()}


def match_classes(
    told: Mapping[str, Sequence[str]], asked: Mapping[str, Sequence[str]], source: str
) -> dict[str, list[int]]:
    """Find the classes of labelled data among those of a head: by name, or by number where no name agrees.

    Args:
        told: classes of the head, by question.
        asked: classes of the data, by question.
        source: what messages call the head.

    Returns:
        By question, the number that each class of the data has in the head.

    Raises:
        CheckpointError: if the head answers other questions, has fewer classes, or lacks one by name.
    """
    if set(told) != set(asked):
        raise CheckpointError(f"{source} answers {', '.join(told)}, but the data ask for {', '.join(asked)}")
    found = {}
    for question, names in asked.items():
        known = {name: number for number, name in enumerate(told[question])}
        if len(names) > len(known):
            raise CheckpointError(f"{source} has {len(known)} classes, but the data have {len(names)}")
        if not set(names) & set(known):
            found[question] = list(range(len(names)))
            continue
        lacking = [name for name in names if name not in known]
        if lacking:
            raise CheckpointError(f"{source} has no class {lacking[0]!r}, which the data have")
        found[question] = [known[name] for name in names]
    return found


def _load_own(folder: Path, encoder: str | None, clips: ClipOptions | None) -> Classifier:
    card = read_card(folder)
    network = load_encoder(encoder or (folder / ENCODER_FOLDER if card.encoder == ENCODER_FOLDER else card.encoder))
    if fingerprint(network) != card.encoder_content:
        raise CheckpointError(
            f"{encoder or card.encoder} is another encoder than {folder} was trained on; name that one with --encoder"
        )
    checkpoint = read_checkpoint(folder)
    head = load_from(checkpoint, checkpoint.kinds[0])
    assert isinstance(head, LinearClassifier | AttentiveProbe)
    check_width(head, network, str(folder))
    counts = {question: len(names) for question, names in card.classes.items()}
    if counts != _counts(head):
        raise CheckpointError(f"{folder / CARD_FILE} names {counts} classes, but the head has {_counts(head)}")
    return Classifier(encoder=network, head=head, classes=card.classes, clips=clips or card.clips, levels=card.levels)


def check_width(head: Any, encoder: VideoEncoder, source: str) -> None:
    """Raise a CheckpointError unless a head reads features as wide as an encoder's."""
    if head.config.embed_dim != encoder.config.embed_dim:
        raise CheckpointError(
            f"{source} reads features of width {head.config.embed_dim}, the encoder's are {encoder.config.embed_dim} "
            "wide: it was trained on another one"
        )


def _counts(head: LinearClassifier | AttentiveProbe) -> dict[str, int]:
    """Return the numbers of classes by question."""
    config = head.config
    if config.num_classes or not isinstance(config, AttentiveProbeConfig):
        return {CLASS: config.num_classes}
    counts = {"verb": config.num_verbs, "noun": config.num_nouns, "action": config.num_actions}
    return {question: count for question, count in counts.items() if count}


def _named(head: AttentiveProbe, names: Sequence[str] | None, source: str) -> dict[str, tuple[str, ...]]:
    """Return the names of a published head's classes, by question; numbers where there are none."""
    counts = _counts(head)
    if names is not None and counts != {CLASS: len(names)}:
        raise CheckpointError(f"{source} tells {counts} classes, but {len(names)} are named")
    return {question: tuple(names or map(str, range(count))) for question, count in counts.items()}


def _stated_names(folder: Path) -> tuple[str, ...] | None:
    """Return the names of the classes in the configuration of a Hugging Face folder."""
    named = read_json(folder / CONFIG_FILE).get("id2label")
    if not isinstance(named, dict) or set(named) != {str(number) for number in range(len(named))}:
        return None
    return tuple(str(named[str(number)]) for number in range(len(named)))
