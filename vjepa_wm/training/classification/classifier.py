"""An encoder with a head and the names of its classes: what a video or picture shows.

Why this file exists: a head alone cannot be used. The folder of a head says which encoder it reads, how clips are cut
and what the classes are called, so that `predict` needs nothing else; published heads are brought to the same form.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vjepa_wm.data.labelled.class_names import read_class_names
from vjepa_wm.data.labelled.clip_views import ClipOptions, item_views
from vjepa_wm.data.labelled.labelled_set import Item
from vjepa_wm.data.latents.latent_store import fingerprint
from vjepa_wm.models.attentive_probe import AttentiveProbe
from vjepa_wm.models.checkpoint import (
    ATTENTIVE_PROBE,
    LINEAR_CLASSIFIER,
    VIDEO_ENCODER,
    CheckpointError,
    save_model,
)
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.linear_classifier import LinearClassifier
from vjepa_wm.models.load import load_encoder, load_from
from vjepa_wm.models.official.releases import release_of
from vjepa_wm.models.precision import autocast
from vjepa_wm.models.read_checkpoint import read_checkpoint
from vjepa_wm.safe_files import write_json
from vjepa_wm.training.classification.classifier_card import CARD_FILE, ClassifierCard, read_card
from vjepa_wm.training.classification.encoded_items import encode_tokens, form_of
from vjepa_wm.training.classification.future import Future, FutureOptions, open_future, reopen_future
from vjepa_wm.training.classification.heads import answer, probabilities
from vjepa_wm.training.classification.trained_heads import check_future, check_width, class_counts, named, stated_names

ENCODER_FOLDER = "encoder"
"""Below the folder of a head, where its encoder was trained with it."""
ANTICIPATION_CLIPS = ClipOptions(num_frames=32, fps=8.0)
"""What the published anticipation probes see."""


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
    future: Future | None = None
    """What is predicted of the time after a clip and read too."""

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
            tokens = torch.cat([encode_tokens(self.encoder, view[None], self.levels, self.future) for view in views])
        form = form_of(self.clips, self.encoder.config, pooled=False)
        found = probabilities(answer(self.head, tokens.float()[None], form))
        return {question: values[0].cpu() for question, values in found.items()}

    def to(self, device: torch.device) -> Classifier:
        """Move the networks."""
        self.encoder.to(device), self.head.to(device)
        if self.future is not None:
            self.future.predictor.to(device)
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
    future: Future | None = None,
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
        future: what predicts the time after a clip, if the head reads that too.
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
        future=None if future is None else future.note,
    )
    write_json(folder / CARD_FILE, dataclasses.asdict(card))


def load_classifier(
    source: str,
    *,
    encoder: str | None = None,
    class_names: Path | None = None,
    clips: ClipOptions | None = None,
    predictor: str | None = None,
    anticipation_s: float = 1.0,
) -> Classifier:
    """Load a classifier: a folder that `classify` wrote, or a published probe.

    Args:
        source: folder of a head; Hugging Face folder of a classification model; or file or name of an official probe.
        encoder: the encoder that the head reads; needed for official probes, and where that of our own was moved.
        class_names: as of `read_class_names`, for heads that do not name their classes.
        clips: what is seen of an item; None: what the head was trained with, else 16 frames spread over it, and the
            published clips for anticipation.
        predictor: what predicts the time after a clip; needed for official anticipation probes, and where that of our
            own was moved.
        anticipation_s: how long after a clip it looks for an official probe [s].

    Raises:
        CheckpointError: if there is no such head, it does not fit the encoder, or that is another one than it was
            trained on.
    """
    if (Path(source) / CARD_FILE).is_file():
        return _load_own(Path(source), encoder, clips, predictor)
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
        names = stated_names(checkpoint.path)
    anticipates, release = "action" in class_counts(head), release_of(checkpoint.path)
    check_future(source, reads_future=anticipates, has_future=predictor is not None, option="--predictor")
    seen = clips or (
        ANTICIPATION_CLIPS if anticipates else ClipOptions(num_frames=release.num_frames if release else 16)
    )
    future = open_future(FutureOptions(predictor=predictor), network.config, seen, anticipation_s)
    return Classifier(encoder=network, head=head, classes=named(head, names, source), clips=seen, future=future)


def _load_own(folder: Path, encoder: str | None, clips: ClipOptions | None, predictor: str | None) -> Classifier:
    card = read_card(folder)
    check_future(
        str(folder),
        reads_future=card.future is not None,
        has_future=card.future is not None or predictor is not None,
        option="--predictor",
    )
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
    if counts != class_counts(head):
        raise CheckpointError(f"{folder / CARD_FILE} names {counts} classes, but the head has {class_counts(head)}")
    seen = clips or card.clips
    return Classifier(
        encoder=network,
        head=head,
        classes=card.classes,
        clips=seen,
        levels=card.levels,
        future=None if card.future is None else reopen_future(card.future, network.config, seen, predictor),
    )
