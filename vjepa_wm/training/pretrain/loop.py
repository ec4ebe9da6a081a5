"""Masked pretraining: from videos to a video encoder.

The encoder sees the visible tokens of a clip, the predictor estimates the features of the hidden ones, and the targets
come from a slow copy of the encoder that sees the whole clip. The slow copy is what later stages use.

Letters: D width.

Source: V-JEPA 2 (arXiv 2506.09985), section 2 and appendix; loss on visible tokens: V-JEPA 2.1 (arXiv 2603.14482).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from multiprocessing import get_all_start_methods
from pathlib import Path

import torch
from torch import Tensor

from vjepa_wm.data.clips.bad_files import write_bad_files
from vjepa_wm.data.clips.clip_mixture import ClipMixture
from vjepa_wm.data.clips.clip_sources import ClipSource
from vjepa_wm.data.clips.open_mixture import open_mixture
from vjepa_wm.models.checkpoint import MASKED_PREDICTOR, VIDEO_ENCODER, CheckpointError, read_json, write_folder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.precision import pick_device
from vjepa_wm.training.losses import LossName, prediction_loss
from vjepa_wm.training.pretrain.action_pairs import ActionPairs
from vjepa_wm.training.pretrain.batches import StepBatches, load_steps
from vjepa_wm.training.pretrain.config import PretrainConfig
from vjepa_wm.training.pretrain.curriculum import FullStage
from vjepa_wm.training.pretrain.objective import Losses
from vjepa_wm.training.pretrain.run_data import check_run_data, find_sources, run_data
from vjepa_wm.training.pretrain.step import Pretrainer
from vjepa_wm.training.run.distributed import World, joined_world, whole_state
from vjepa_wm.training.run.metrics import effective_rank, feature_std
from vjepa_wm.training.run.run_log import RunLog, open_log
from vjepa_wm.training.run.state_folder import has_training_state
from vjepa_wm.training.run.training_state import TrainingState

logger = logging.getLogger(__name__)

BAD_FILES = "bad_files.csv"
RECORD = "pretrain.json"


def open_stage_mixture(
    config: PretrainConfig, stage: FullStage, world: World, sources: Sequence[ClipSource]
) -> ClipMixture:
    """Open the files of the sources of clips if there are not too many.

    Raises:
        VideoError: if too many of the files are bad.
    """
    mixture = open_mixture(
        sources,
        config.data_weights or None,
        num_frames=stage.num_frames,
        fps=config.fps,
        seed=config.seed,
        cache_bytes=int(config.loader.cache_gib * 2**30 / world.local_size),
        max_bad_share=config.loader.max_bad_share,
        share_memory=config.loader.workers > 0 and get_all_start_methods()[0] != "fork",  # the first is the default
        progress=world.is_main,
    )
    if world.is_main:
        logger.info("%s", mixture.report())
    return mixture


def health(world: World, result: dict[str, Tensor], loss: LossName = "l1") -> dict[str, float]:
    """Return the losses over all processes, and what shows collapse.

    target_std is 1 for spread and 0 for collapsed targets; target_rank is their effective rank;
    loss_over_mean compares the loss with that of always predicting the mean target: 1 is nothing learned.
    """
    targets = world.gather(result["targets"])
    losses = Losses(*world.mean(torch.stack([result[name] for name in Losses._fields])).tolist())
    mean_loss = prediction_loss(targets.mean(dim=0, keepdim=True), targets, loss)
    return losses._asdict() | {
        "grad_norm": float(result["grad_norm"]),
        "target_std": feature_std(targets),
        "target_rank": effective_rank(targets),
        "loss_over_mean": losses.loss / max(float(mean_loss), 1e-12),
    }


def save_networks(trainer: Pretrainer, stage: FullStage) -> None:
    """Write the encoder (the slow copy) and the predictor, as later stages load them."""
    encoder = trained_config(trainer.config.encoder, stage)
    for name, network, kind, config in (
        ("encoder", trainer.target_encoder, VIDEO_ENCODER, encoder),
        ("predictor", trainer.predictor, MASKED_PREDICTOR, trainer.predictor.config),
    ):
        weights = whole_state(network)
        if trainer.world.is_main:
            write_folder(weights, {"kind": kind, **dataclasses.asdict(config)}, trainer.config.out / name)


def trained_config(config: VideoEncoderConfig, stage: FullStage) -> VideoEncoderConfig:
    """Return the configuration of an encoder after a stage; fixed positions stay those it began with."""
    return config if config.rope is None else dataclasses.replace(config, image_size=stage.image_size)


def pretrain(config: PretrainConfig) -> Path:
    """Run or resume pretraining, in this process or with the others that `torchrun` started.

    Returns:
        The folder of the encoder checkpoint.

    Raises:
        FileNotFoundError: if a source does not exist or holds nothing.
        ValueError: if `config.out` lies among the pictures of a source.
        VideoError: if too many of the files are bad.
        TrajectoryError: if a dataset of `config.inverse` lacks what is needed or has too many bad episodes.
        CheckpointError: if `config.out` holds another run or one of other files, or `start_from` or `teacher` does
            not fit.
    """
    with joined_world(pick_device(config.device)) as world:
        _train(config, world)
    return config.out / "encoder"


def _train(config: PretrainConfig, world: World) -> None:
    pairs = ActionPairs(config.inverse, config.loader.max_bad_share) if config.inverse.weight else None
    trainer = Pretrainer(config, world, None if pairs is None else pairs.action_units)
    state, first_step = _resume(trainer)
    if first_step >= config.steps:
        logger.warning("%s has already been trained for %d steps; nothing to do", config.out, first_step)
        return
    sources = find_sources(config)
    data = run_data(sources, pairs)
    if first_step:
        check_run_data(config, config.out / RECORD, data)
    bad: dict[Path, str] = {}
    with state, open_log(config, world, first_step, config.steps, name="pretrain", samples="clips") as log:
        if world.is_main:
            config.record(RECORD, **data)
        for stage, mixture, begin, end in _open_stages(config, world, first_step, sources):
            batches = StepBatches(config, stage, mixture, world, pairs)
            for step, batch in load_steps(batches, begin, end, pin=trainer.device.type == "cuda"):
                result = trainer.step(step, (cuts.prepare(trainer.device) for cuts in batch.micro_batches))
                bad |= batch.bad
                if log:
                    log.step(step)
                if config.is_due(step, config.log_every):
                    _write_log(log, trainer, step, result, bad)
                if config.is_due(step, config.save_every) or step + 1 == end:
                    save_networks(trainer, stage)
                    state.save(step + 1)


def _resume(trainer: Pretrainer) -> tuple[TrainingState, int]:
    """Read the newest state of this run, or of the run that it starts from; return the next step too."""
    config = trainer.config
    config.check_same_run(RECORD)
    state_in = partial(TrainingState, modules=trainer.modules, optimizer=trainer.optimizer, world=trainer.world)
    state = state_in(config.out)
    first_step = state.load()
    if not first_step and config.start_from and has_training_state(config.start_from):
        _check_start(config, config.start_from)
        done = state_in(config.start_from).load()
        logger.info("starting from step %d of %s", done, config.start_from)
    return state, first_step


def _check_start(config: PretrainConfig, start: Path) -> None:
    """Refuse another run's state if one of both learned inverse dynamics, whose network stands in it, and one not."""
    record = read_json(start / RECORD) if (start / RECORD).exists() else {}
    theirs = bool(record.get("inverse", {}).get("weight"))
    if theirs != bool(config.inverse.weight):
        raise CheckpointError(
            f"start_from {start} was trained {'with' if theirs else 'without'} inverse dynamics, which this run is "
            f"{'not' if theirs else 'to be'}; {start / 'encoder'} gives its encoder alone"
        )


def _open_stages(
    config: PretrainConfig, world: World, first_step: int, sources: Sequence[ClipSource]
) -> Iterator[tuple[FullStage, ClipMixture, int, int]]:
    """Yield the stages that are left, with their clips, first step and the step to stop before."""
    end, mixture, num_frames = 0, None, 0
    for stage in config.all_stages:
        begin, end = max(end, first_step), end + stage.steps
        if begin < end:
            if mixture is None or stage.num_frames != num_frames:
                mixture, num_frames = open_stage_mixture(config, stage, world, sources), stage.num_frames
            yield stage, mixture, begin, end


def _write_log(
    log: RunLog | None, trainer: Pretrainer, step: int, result: dict[str, Tensor], bad: dict[Path, str]
) -> None:
    """Write a row of metrics and the list of bad files; every process must call it."""
    config, world = trainer.config, trainer.world
    values = health(world, result, config.objective.loss)
    if trainer.inverse is None:
        del values["inverse_loss"]
    values |= {"learning_rate": trainer.learning_rate(step), "ema": trainer.momentum(step)}
    known = {path: reason for found in world.gather_objects(bad) for path, reason in found.items()}
    if log:
        log.write(step, values)
        write_bad_files(known, config.out / BAD_FILES)
