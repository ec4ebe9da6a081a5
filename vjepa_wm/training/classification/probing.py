"""Probes on features of a frozen encoder: a grid of heads trained on one pass, the best of each kind measured.

Letters: B items, M items of a set, K classes, Q questions.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from vjepa_wm.data.clips.sample_order import Epochs
from vjepa_wm.data.labelled.feature_store import StoredFeatures
from vjepa_wm.data.labelled.labelled_set import CLASS, choose_stratified
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.linear_classifier import LinearClassifier, Readout
from vjepa_wm.training.classification.config import ClassifyConfig
from vjepa_wm.training.classification.head_grid import HeadGrid, HeadSetting
from vjepa_wm.training.classification.heads import FeatureForm, HeadKind, answer, make_head, probabilities
from vjepa_wm.training.classification.measures import Accuracy, measure
from vjepa_wm.training.classification.neighbours import neighbour_scores
from vjepa_wm.training.classification.results import HeadResult
from vjepa_wm.training.run.distributed import World
from vjepa_wm.training.run.run_log import open_log
from vjepa_wm.training.run.training_state import TrainingState

logger = logging.getLogger(__name__)
MEASURE_BATCH = 16
"""Items measured at once."""


@dataclass(frozen=True, kw_only=True)
class LabelledFeatures:
    """Features of items with their labels."""

    features: StoredFeatures
    """Of the M items."""
    labels: Tensor
    """Int64 (M, Q)."""
    form: FeatureForm
    """What the features of an item are."""

    def batches(self, numbers: np.ndarray, device: torch.device, size: int = MEASURE_BATCH) -> Iterator[Tensor]:
        """Yield the features of some items, in order, (B, R, N, D)."""
        for first in range(0, len(numbers), size):
            yield self.features.read(numbers[first : first + size], device)

    def vectors(self, numbers: np.ndarray, readout: Readout, device: torch.device) -> Tensor:
        """Return one vector of some items, the mean over clips and views, (M, D)."""
        parts = [self.form.vectors(batch, readout).mean(dim=1) for batch in self.batches(numbers, device)]
        return torch.cat(parts)


@dataclass(frozen=True, kw_only=True)
class ProbingData:
    """What a grid is trained on, chosen by, and measured on."""

    train: LabelledFeatures
    """Training items, centre view only."""
    test: LabelledFeatures
    """Test items, all views."""
    trained: np.ndarray
    """Numbers of the training items that are trained on."""
    choosing: tuple[LabelledFeatures, np.ndarray]
    """Items that choose among settings: held-out training items, or the test items."""
    chosen_on: str
    """What these are, in words."""

    @property
    def looked_at(self) -> tuple[LabelledFeatures, np.ndarray]:
        """Some of the items that are trained on, at most as many as choose, to tell what heads make of those."""
        count = min(len(self.trained), len(self.choosing[1]))
        return self.train, self.trained[np.linspace(0, len(self.trained) - 1, count).round().astype(int)]


def divide(train: LabelledFeatures, test: LabelledFeatures, config: ClassifyConfig) -> ProbingData:
    """Hold out the training items that choose among settings, where there is something to choose."""
    everything = np.arange(len(train.labels))
    of_test = (test, np.arange(len(test.labels)))
    share = config.validation_share
    if len(config.settings) == 1 or not share:
        words = "the only one" if len(config.settings) == 1 else f"chosen on the {len(test.labels)} test items"
        return ProbingData(train=train, test=test, trained=everything, choosing=of_test, chosen_on=words)
    held_out = choose_stratified(train.labels[:, -1].numpy(), share, config.seed)
    return ProbingData(
        train=train,
        test=test,
        trained=everything[~held_out],
        choosing=(train, everything[held_out]),
        chosen_on=f"chosen on {held_out.sum()} held-out training items",
    )


def make_grid(
    kinds: Sequence[HeadKind],
    config: ClassifyConfig,
    encoder: VideoEncoderConfig,
    classes: Mapping[str, Sequence[str]],
    readout: Readout,
    device: torch.device,
    world: World,
) -> HeadGrid:
    """Draw the heads of all trained kinds and settings."""
    settings = [
        HeadSetting(kind=kind, learning_rate=rate, weight_decay=decay)
        for kind in kinds
        if kind != "knn"
        for rate, decay in config.settings
    ]
    make = partial(make_head, encoder=encoder, classes=classes, readout=readout, num_heads=config.num_heads)
    return HeadGrid(settings, make, seed=config.seed, device=device, world=world)


def fit_scales(grid: HeadGrid, data: ProbingData, readout: Readout, device: torch.device) -> None:
    """Bring what linear probes read to mean 0 and deviation 1 over the items that are trained on."""
    linear = [head for head in grid.heads if isinstance(head, LinearClassifier)]
    if linear:
        vectors = data.train.vectors(data.trained, readout, device)
        for head in linear:
            head.fit_scale(vectors)


def train_grid(
    grid: HeadGrid,
    data: ProbingData,
    config: ClassifyConfig,
    state: TrainingState,
    first_step: int,
    device: torch.device,
    world: World,
) -> None:
    """Train the heads, or go on with it, writing curves and state.

    Args:
        grid: the heads.
        data: their items.
        config: the run.
        state: of the grid, loaded.
        first_step: the step that the run goes on with.
        device: where the heads are.
        world: the processes that train together.
    """
    total = num_steps(config, len(data.trained))
    every = max(total // config.evaluations, 1)
    order, share = Epochs(config.seed, 0, len(data.trained)), config.batch_size // world.size
    with state, open_log(config, world, first_step, total, name="classify", samples="items") as log:
        for step in range(first_step, total):
            first = step * config.batch_size + world.rank * share
            numbers = data.trained[[order[place] for place in range(first, first + share)]]
            features = data.train.features.read(numbers, device)
            losses = grid.step(step, total, features, data.train.labels[numbers].to(device), data.train.form)
            is_last = step + 1 == total
            is_measured = is_last or (step + 1) % every == 0
            if log:
                log.step(step)
                if is_measured or (step + 1) % config.log_every == 0:
                    row = _best(grid, losses.tolist(), "loss", min)
                    if is_measured:
                        row |= _best(grid, head_scores(grid, *data.looked_at, device), "train", max)
                        row |= _best(grid, head_scores(grid, *data.choosing, device), "val", max)
                    log.write(step, row)
            if is_measured:
                state.save(step + 1)


def num_steps(config: ClassifyConfig, num_items: int) -> int:
    """Return the optimizer steps of a run."""
    return config.epochs * math.ceil(num_items / config.batch_size)


def _best(grid: HeadGrid, values: Sequence[float], name: str, best: Callable[[list[float]], float]) -> dict[str, float]:
    """Return the best value of each kind of head, as a row of metrics."""
    kinds = dict.fromkeys(setting.kind for setting in grid.settings)
    row = {}
    for kind in kinds:
        found = [value for value, one in zip(values, grid.settings, strict=True) if one.kind == kind]
        row[f"{kind.replace('-', '_')}_{name}"] = best([value for value in found if math.isfinite(value)] or found)
    return row


@torch.no_grad()
def grid_probabilities(
    heads: Sequence[nn.Module], data: LabelledFeatures, numbers: np.ndarray, device: torch.device
) -> list[dict[str, Tensor]]:
    """Return what each head says of some items, read once for all: by question (M, K), on the CPU."""
    parts: list[list[dict[str, Tensor]]] = [[] for _ in heads]
    for features in data.batches(numbers, device):
        for head, part in zip(heads, parts, strict=True):
            head.eval()
            found = probabilities(answer(head, features, data.form))
            part.append({question: one.cpu() for question, one in found.items()})
    return [{question: torch.cat([one[question] for one in part]) for question in part[0]} for part in parts]


def head_scores(grid: HeadGrid, of_items: LabelledFeatures, numbers: np.ndarray, device: torch.device) -> list[float]:
    """Return for each head how many of some items it tells rightly: top-1, of actions recall at 5."""
    found = grid_probabilities(list(grid.heads), of_items, numbers, device)
    labels = of_items.labels[numbers]
    scores = []
    for one in found:
        question = list(one)[-1]
        accuracy = measure(one[question], labels[:, -1])
        scores.append(accuracy.top1 if question == CLASS else accuracy.recall5)
    return scores


def choose_and_measure(
    grid: HeadGrid, data: ProbingData, device: torch.device
) -> tuple[dict[str, HeadResult], dict[str, nn.Module]]:
    """Choose the best setting of each kind and measure it on the test items; returns results and heads by kind."""
    scores = head_scores(grid, *data.choosing, device)
    best: dict[HeadKind, int] = {}
    for number, setting in enumerate(grid.settings):
        if setting.kind not in best or scores[number] > scores[best[setting.kind]]:
            best[setting.kind] = number
    heads = {kind: grid.heads[number] for kind, number in best.items()}
    found = grid_probabilities(list(heads.values()), data.test, np.arange(len(data.test.labels)), device)
    results = {}
    for (kind, number), one in zip(best.items(), found, strict=True):
        of_kind = [k for k, setting in enumerate(grid.settings) if setting.kind == kind]
        results[str(kind)] = HeadResult(
            setting=grid.settings[number].name.partition(", ")[2],
            test=_measured(one, data.test.labels),
            tried={grid.settings[k].name.partition(", ")[2]: scores[k] for k in of_kind},
            diverged=tuple(grid.settings[k].name for k in of_kind if k in grid.diverged),
        )
    return results, {str(kind): head for kind, head in heads.items()}


def _measured(found: Mapping[str, Tensor], labels: Tensor) -> dict[str, Accuracy]:
    """Measure what a head says, by question."""
    return {question: measure(one, labels[:, column]) for column, (question, one) in enumerate(found.items())}


def measure_neighbours(
    data: ProbingData, readout: Readout, num_neighbours: int, num_classes: int, device: torch.device
) -> HeadResult:
    """Measure k nearest neighbours among all training items."""
    train = data.train.vectors(np.arange(len(data.train.labels)), readout, device)
    test = data.test.vectors(np.arange(len(data.test.labels)), readout, device)
    labels = data.train.labels[:, 0].to(device)
    parts = [
        neighbour_scores(train, labels, one, num_neighbours=num_neighbours, num_classes=num_classes)
        for one in test.split(256)
    ]
    accuracy = measure(torch.cat(parts).cpu(), data.test.labels[:, 0])
    return HeadResult(setting=f"{min(num_neighbours, len(train))} neighbours", test={CLASS: accuracy})
