"""What a frozen encoder is worth on labelled data, from a path to a table."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from vjepa_wm.data.clips.bad_files import BadFiles
from vjepa_wm.data.latents.latent_store import fingerprint
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.linear_classifier import LinearClassifier, Readout
from vjepa_wm.models.load import load_encoder
from vjepa_wm.models.precision import pick_device, pick_dtype
from vjepa_wm.safe_files import FolderLock
from vjepa_wm.training.classification.classifier import save_classifier
from vjepa_wm.training.classification.config import ClassifyConfig
from vjepa_wm.training.classification.encoded_items import default_store, encode_sets, form_of
from vjepa_wm.training.classification.finetuning import FineTuner, load_batches
from vjepa_wm.training.classification.future import Future, open_future
from vjepa_wm.training.classification.heads import HeadKind, make_head
from vjepa_wm.training.classification.labelled_run import Sets, check_run, report
from vjepa_wm.training.classification.measures import measure
from vjepa_wm.training.classification.probing import (
    LabelledFeatures,
    choose_and_measure,
    divide,
    fit_scales,
    grid_probabilities,
    make_grid,
    measure_neighbours,
    num_steps,
    train_grid,
)
from vjepa_wm.training.classification.results import HeadResult
from vjepa_wm.training.classification.trained_heads import check_future, check_width, load_head, match_classes
from vjepa_wm.training.run.distributed import World, joined_world
from vjepa_wm.training.run.run_log import open_log
from vjepa_wm.training.run.state_folder import has_training_state
from vjepa_wm.training.run.training_state import TrainingState

logger = logging.getLogger(__name__)


def classify(config: ClassifyConfig) -> str:
    """Train and measure heads, in this process or with the others that `torchrun` started; goes on where it was.

    Returns:
        The table of results; `config.out` has them as json, with curves, pictures and the heads.

    Raises:
        FileNotFoundError: if there are no such data.
        LabelError: if labels are broken.
        VideoError: if too many items cannot be read.
        CheckpointError: if there is no such encoder, or `config.out` holds another run.
        ValueError: if clips or heads do not suit the encoder or the labels.
        FolderInUseError: if another run is writing into `config.out`.
    """
    device = pick_device(config.device)
    with joined_world(device) as world:
        if config.batch_size % world.size:
            raise ValueError(f"batch_size must be a multiple of the {world.size} processes, got {config.batch_size}")
        sets = Sets.open(config)
        encoder = load_encoder(config.encoder).requires_grad_(False).to(device)
        if config.probe is not None:
            return _measure_probe(config, sets, encoder, device, world)
        run = _probe if config.finetune.blocks == 0 else _fine_tune
        return run(config, sets, encoder, device, world)


def _measure_probe(
    config: ClassifyConfig, sets: Sets, encoder: VideoEncoder, device: torch.device, world: World
) -> str:
    """Measure a trained head on the test items; one process does it."""
    if not world.is_main:
        return ""
    first_step = int(has_training_state(config.out))
    trained = load_head(str(config.probe))
    head = trained.head
    future = _open_future(config, encoder, device)
    check_run(config, first_step, world, encoder=_content(encoder, future), data=sets.content())
    option, source = "--future.predictor", str(config.probe)
    check_future(source, reads_future=trained.reads_future, has_future=future is not None, option=option)
    numbers = match_classes(trained.classes, sets.test.classes, source)
    sets = replace(sets, bad=BadFiles("labelled items", [sets.test.items], config.read.max_bad_share))
    (features,) = encode_sets(
        encoder,
        (sets.test,),
        (config.clips,),
        sets.bad,
        pooled=isinstance(head, LinearClassifier),
        num_levels=trained.levels,
        clips_at_once=config.encode_batch_size,
        dtype=pick_dtype(config.precision, device),
        store=config.features or default_store(config.data),
        future=future,
    )
    form = form_of(config.clips, encoder.config, pooled=isinstance(head, LinearClassifier))
    data = LabelledFeatures(features=features, labels=torch.from_numpy(sets.test.labels[features.numbers]), form=form)
    check_width(head, encoder, str(config.probe))
    (found,) = grid_probabilities([head.to(device)], data, np.arange(len(data.labels)), device)
    test = {q: measure(one[:, numbers[q]], data.labels[:, k]) for k, (q, one) in enumerate(found.items())}
    with FolderLock(config.out):
        return report(
            config.out, sets, {"probe": HeadResult(setting=str(config.probe), test=test)}, "as it was trained"
        )


def _open_future(config: ClassifyConfig, encoder: VideoEncoder, device: torch.device) -> Future | None:
    """Load the predictor of the run, if it has one, to where it computes."""
    future = open_future(config.future, encoder.config, config.clips, config.read.anticipation_s)
    if future is not None:
        future.predictor.to(device)
    return future


def _content(encoder: VideoEncoder, future: Future | None) -> str:
    """Return what tells the frozen networks of a run from others."""
    return fingerprint(encoder) + ("" if future is None else future.note.predictor_content)


def _readout(config: ClassifyConfig, encoder: VideoEncoder) -> Readout:
    """Return what linear probes and neighbours read.

    Raises:
        ValueError: if it is a class token that the encoder has not.
    """
    if config.readout == "class_token" and not encoder.config.class_token:
        raise ValueError("readout must be mean for an encoder without a class token, got class_token")
    return config.readout or ("class_token" if encoder.config.class_token else "mean")


def _fine_tune(config: ClassifyConfig, sets: Sets, encoder: VideoEncoder, device: torch.device, world: World) -> str:
    """Train the encoder, or its last blocks, with a head on pixels."""
    train, size = sets.train, config.clips.size_for(encoder.config)
    content = fingerprint(encoder)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        head = make_head(
            config.finetune.head,
            encoder.config,
            train.classes,
            readout=_readout(config, encoder),
            num_heads=config.num_heads,
        ).to(device)
    total = num_steps(config, len(train.items))
    tuner = FineTuner(
        encoder,
        head,
        config.finetune,
        config.clips,
        levels=config.levels,
        total_steps=total,
        dtype=pick_dtype(config.precision, device),
        world=world,
    )
    state = TrainingState(config.out, modules=tuner.modules, optimizer=tuner.optimizer, world=world)
    first_step, every = state.load(), max(total // config.evaluations, 1)
    check_run(config, first_step, world, encoder=content, data=sets.content())
    batches = load_batches(
        train,
        sets.bad,
        replace(config.clips, views=1),
        size,
        config.finetune.augmentation,
        steps=range(first_step, total),
        batch_size=config.batch_size,
        seed=config.seed,
        world=world,
    )
    with state, open_log(config, world, first_step, total, name="classify", samples="items") as log:
        for step, views, labels in batches:
            row = tuner.step(step, views, labels)
            if log:
                log.step(step)
                if (step + 1) % config.log_every == 0 or step + 1 == total:
                    log.write(step, row)
            if (step + 1) % every == 0 or step + 1 == total:
                state.save(step + 1)
    if not world.is_main:
        return ""
    scores, labels = tuner.probabilities(sets.test, sets.bad, 1, config.encode_batch_size)
    test = {question: measure(one, labels[:, k]) for k, (question, one) in enumerate(scores.items())}
    with FolderLock(config.out):
        save_classifier(
            config.out / "finetuned",
            head,
            classes=train.classes,
            clips=config.clips,
            levels=config.levels,
            encoder=encoder,
            source=None,
        )
        return report(
            config.out, sets, {"finetuned": HeadResult(setting=config.finetune.name, test=test)}, "the only one"
        )


def _probe(config: ClassifyConfig, sets: Sets, encoder: VideoEncoder, device: torch.device, world: World) -> str:
    kinds = config.chosen_heads(sets.train.classes)
    readout = _readout(config, encoder)
    future = _open_future(config, encoder, device)
    train, test = _encoded(config, sets, encoder, future, kinds, device, world)
    data = divide(train, test, config)
    results: dict[str, HeadResult] = {}
    heads: Mapping[str, Any] = {}
    content = {"encoder": _content(encoder, future), "data": sets.content()}
    if set(kinds) != {"knn"}:
        grid = make_grid(kinds, config, encoder.config, sets.train.classes, readout, device, world)
        fit_scales(grid, data, readout, device)
        state = TrainingState(config.out, modules={"heads": grid.heads}, optimizer=grid.optimizer, world=world)
        first_step = state.load()
        check_run(config, first_step, world, **content)
        train_grid(grid, data, config, state, first_step, device, world)
        results, heads = choose_and_measure(grid, data, device)
    else:
        check_run(config, int(has_training_state(config.out)), world, **content)
    if "knn" in kinds:
        num_classes = len(next(iter(sets.train.classes.values())))
        results["knn"] = measure_neighbours(data, readout, config.neighbours, num_classes, device)
    if not world.is_main:
        return ""
    with FolderLock(config.out):
        for kind, head in heads.items():
            save_classifier(
                config.out / kind,
                head,
                classes=sets.train.classes,
                clips=config.clips,
                levels=config.levels,
                encoder=encoder,
                source=config.encoder,
                future=future,
            )
        return report(config.out, sets, {str(kind): results[kind] for kind in kinds}, data.chosen_on)


def _encoded(
    config: ClassifyConfig,
    sets: Sets,
    encoder: VideoEncoder,
    future: Future | None,
    kinds: Sequence[HeadKind],
    device: torch.device,
    world: World,
) -> list[LabelledFeatures]:
    """Return the features of training and test items, which one process computes if they are not there."""
    pooled = not any(kind.startswith("attentive") for kind in kinds)
    clips = replace(config.clips, views=1), config.clips
    with world.main_first():
        found = encode_sets(
            encoder,
            (sets.train, sets.test),
            clips,
            sets.bad,
            pooled=pooled,
            num_levels=config.levels,
            clips_at_once=config.encode_batch_size,
            dtype=pick_dtype(config.precision, device),
            store=config.features or default_store(config.data),
            future=future,
            add=world.is_main,
        )
    return [
        LabelledFeatures(
            features=features,
            labels=torch.from_numpy(one.labels[features.numbers]),
            form=form_of(options, encoder.config, pooled=pooled),
        )
        for features, one, options in zip(found, (sets.train, sets.test), clips, strict=True)
    ]
