"""Trained heads and the names of their classes: our own folders, Meta's files, Hugging Face's folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vjepa_wm.data.labelled.labelled_set import CLASS
from vjepa_wm.models.attentive_probe import AttentiveProbe, AttentiveProbeConfig
from vjepa_wm.models.checkpoint import ATTENTIVE_PROBE, CONFIG_FILE, LINEAR_CLASSIFIER, CheckpointError, read_json
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.linear_classifier import LinearClassifier
from vjepa_wm.models.load import load_from
from vjepa_wm.models.read_checkpoint import read_checkpoint
from vjepa_wm.training.classification.classifier_card import CARD_FILE, read_card


class TrainedHead(NamedTuple):
    """A head without its encoder, and what is known of it."""

    head: LinearClassifier | AttentiveProbe
    """The head, in evaluation mode."""
    levels: int
    """Outputs of the encoder that it reads."""
    classes: dict[str, tuple[str, ...]]
    """Names of its classes by question, numbers where it names none."""
    reads_future: bool
    """Whether it was trained on the predictions of a predictor too."""


def load_head(source: str) -> TrainedHead:
    """Load a head without its encoder.

    Raises:
        CheckpointError: if there is no such head.
    """
    checkpoint = read_checkpoint(source)
    kind = LINEAR_CLASSIFIER if LINEAR_CLASSIFIER in checkpoint.kinds else ATTENTIVE_PROBE
    head = load_from(checkpoint, kind)
    assert isinstance(head, LinearClassifier | AttentiveProbe)
    if (Path(source) / CARD_FILE).is_file():
        card = read_card(Path(source))
        return TrainedHead(head, card.levels, card.classes, card.future is not None)
    names = stated_names(checkpoint.path) if checkpoint.form == "huggingface" else None
    counts = class_counts(head)
    classes = {question: names or tuple(map(str, range(count))) for question, count in counts.items()}
    return TrainedHead(head, 1, classes, "action" in counts)


def check_future(source: str, *, reads_future: bool, has_future: bool, option: str) -> None:
    """Make sure that a head is given the tokens it was trained on.

    Args:
        source: what messages call the head.
        reads_future: whether it was trained on the predictions of a predictor too; published anticipation probes were.
        has_future: whether there is a predictor.
        option: what names one on the command line.

    Raises:
        CheckpointError: if it lacks the predictor, or has one too many.
    """
    if reads_future and not has_future:
        raise CheckpointError(f"{source} reads the predictions of a predictor too; name that one with {option}")
    if has_future and not reads_future:
        raise CheckpointError(f"{source} was trained without a predictor; leave {option} out")


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


def check_width(head: Any, encoder: VideoEncoder, source: str) -> None:
    """Raise a CheckpointError unless a head reads features as wide as an encoder's."""
    if head.config.embed_dim != encoder.config.embed_dim:
        raise CheckpointError(
            f"{source} reads features of width {head.config.embed_dim}, the encoder's are {encoder.config.embed_dim} "
            "wide: it was trained on another one"
        )


def class_counts(head: LinearClassifier | AttentiveProbe) -> dict[str, int]:
    """Return the numbers of classes by question."""
    config = head.config
    if config.num_classes or not isinstance(config, AttentiveProbeConfig):
        return {CLASS: config.num_classes}
    counts = {"verb": config.num_verbs, "noun": config.num_nouns, "action": config.num_actions}
    return {question: count for question, count in counts.items() if count}


def named(head: AttentiveProbe, names: Sequence[str] | None, source: str) -> dict[str, tuple[str, ...]]:
    """Return the names of a published head's classes, by question; numbers where there are none."""
    counts = class_counts(head)
    if names is not None and counts != {CLASS: len(names)}:
        raise CheckpointError(f"{source} tells {counts} classes, but {len(names)} are named")
    return {question: tuple(names or map(str, range(count))) for question, count in counts.items()}


def stated_names(folder: Path) -> tuple[str, ...] | None:
    """Return the names of the classes in the configuration of a Hugging Face folder."""
    named = read_json(folder / CONFIG_FILE).get("id2label")
    if not isinstance(named, dict) or set(named) != {str(number) for number in range(len(named))}:
        return None
    return tuple(str(named[str(number)]) for number in range(len(named)))
