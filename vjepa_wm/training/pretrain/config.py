"""The options of masked pretraining, and the predictor that belongs to them.

Source: V-JEPA 2 (arXiv 2506.09985), section 2 and appendix; V-JEPA 2.1 (arXiv 2603.14482), section 2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from vjepa_wm.checks import check_at_least, check_positive, check_within
from vjepa_wm.data.clips.crops import AugmentationConfig
from vjepa_wm.models.encoder_config import VideoEncoderConfig, vit_micro
from vjepa_wm.models.layers import check_width
from vjepa_wm.models.predictor import MaskedPredictorConfig, masked_predictor_for
from vjepa_wm.models.rope import check_rope
from vjepa_wm.training.pretrain.action_pairs import InverseConfig
from vjepa_wm.training.pretrain.curriculum import FullStage, Stage, StageArgument
from vjepa_wm.training.pretrain.objective import ObjectiveConfig
from vjepa_wm.training.pretrain.streams import MasksConfig, PicturesConfig, Stream
from vjepa_wm.training.run.run_config import RunConfig

RecipeName = Literal[
    "cpu",
    "gpu",
    "vjepa1-large",
    "vjepa1-huge",
    "vjepa2-large",
    "vjepa2-huge",
    "vjepa2-giant",
    "vjepa2-giant-384",
    "vjepa2.1-large",
    "vjepa2.1-giant",
    "vjepa2.1-gigantic",
]


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """How files are read."""

    workers: int = 0
    """Processes that decode, for each that trains; 0: a thread."""
    cache_gib: float = 4.0
    """Memory for decoded videos on one machine [GiB]; beyond it, frames are decoded as they are needed."""
    max_bad_share: float = 0.1
    """Largest share of unreadable or too short files; beyond it the run stops."""

    def __post_init__(self) -> None:
        check_at_least(0, **{"loader.workers": self.workers, "loader.cache_gib": self.cache_gib})
        check_within(0, 1, **{"loader.max_bad_share": self.max_bad_share})


@dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """How a step is computed."""

    micro_batch_size: int | None = None
    """Clips that one process computes at once; its others follow before the step is taken. The same step with less
    memory, but for the variance and covariance terms, which are taken over what is computed at once. None: all."""
    recompute_activations: bool = False
    """Keep only the blocks' inputs and compute the rest again for the gradients: less memory, more time."""
    compile: bool = False
    """Compile the blocks with torch.compile."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """With several processes (torchrun): each has all weights, or they are sharded (FSDP2)."""

    def __post_init__(self) -> None:
        check_at_least(1, **{"compute.micro_batch_size": self.micro_batch_size})


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(RunConfig):
    """Pretrain a video encoder with the masked objective of V-JEPA 2 or 2.1, on any pile of videos and pictures."""

    data: tuple[Path, ...]
    """Where clips come from: folders of videos and pictures, LeRobot datasets, lists of files (csv, txt), files."""
    data_weights: tuple[float, ...] = ()
    """Share of each source, in any unit; none: by the number of their files."""
    frame_folders_fps: float | None = None
    """Take each folder of pictures for a video with so many frames a second; none: pictures are pictures."""
    recipe: RecipeName = "cpu"
    """Named settings that all other options start from."""
    encoder: VideoEncoderConfig = field(default_factory=vit_micro)
    """The encoder to train."""
    predictor_dim: int = 128
    """Width of the masked predictor."""
    predictor_depth: int = 4
    """Blocks of the masked predictor."""
    predictor_heads: int = 4
    """Heads of the masked predictor."""
    num_frames: int = 4
    """Frames in a clip."""
    fps: float = 5.0
    """Frames taken per second of video."""
    stages: tuple[StageArgument, ...] = ()
    """Stretches of the run with clips of other sizes, one after the other; their steps add up to `steps`."""
    pictures: PicturesConfig = field(default_factory=PicturesConfig)
    """Pictures among the clips, or beside them."""
    masks: MasksConfig = field(default_factory=MasksConfig)
    """What is hidden of the clips."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """Crops and flips."""
    steps: int = 5_000
    batch_size: int = 48
    warmup_share: float = 0.08
    decay_share: float = 0.25
    clip_grad_norm: float | None = 10.0
    save_every: int = 250
    ema_start: float = 0.99
    """Momentum of the target encoder at the first step."""
    ema_end: float = 0.9995
    """Momentum at the last step."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """The losses and their weights."""
    inverse: InverseConfig = field(default_factory=InverseConfig)
    """Actions to be read off what the encoder makes of successive frames."""
    teacher: Path | None = None
    """A frozen encoder whose last features are the targets (distillation); none: the slow copy's."""
    start_from: Path | None = None
    """A run whose weights and optimizer this one begins with, or a published checkpoint whose weights; a cooldown goes
    on like that, with `--warmup-share 0 --decay-share 1`."""
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    """How files are read."""
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    """How a step is computed."""

    free_options = (*RunConfig.free_options, "recipe", "loader", "compute", "stages")

    def __post_init__(self) -> None:
        if isinstance(self.data, str | Path):
            object.__setattr__(self, "data", (Path(self.data),))
        super().__post_init__()
        for weight in self.data_weights:
            check_positive(data_weights=weight)
        check_at_least(1, num_frames=self.num_frames, predictor_depth=self.predictor_depth)
        check_width(self.predictor_dim, self.predictor_heads, "predictor_dim", "predictor_heads")
        check_rope(self.encoder.rope, None, self.predictor_dim // self.predictor_heads)
        check_positive(fps=self.fps, frame_folders_fps=self.frame_folders_fps)
        check_within(0, 1, ema_start=self.ema_start, ema_end=self.ema_end)
        total = sum(stage.steps for stage in self.stages)
        if self.stages and total != self.steps:
            raise ValueError(f"the steps of the stages must add up to steps {self.steps}, got {total}")
        if self.data_weights and len(self.data_weights) != len(self.data):
            raise ValueError(f"data_weights must be one for each of {len(self.data)} sources, got {self.data_weights}")
        for stage in self.all_stages:
            self._check_stage(stage)

    def _check_stage(self, stage: FullStage) -> None:
        encoder = self.encoder
        if encoder.in_channels not in (1, 3):
            raise ValueError(f"encoder.in_channels must be 3 (RGB) or 1 (grey), got {encoder.in_channels}")
        if stage.num_frames % encoder.tubelet_size:
            raise ValueError(
                f"num_frames must be a multiple of tubelet_size {encoder.tubelet_size}, got {stage.num_frames}"
            )
        for name in ("image_size", "picture_size"):
            for side, size in zip(("patch_size", "patch_width"), encoder.patch_shape, strict=True):
                if getattr(stage, name) % size:
                    raise ValueError(f"{name} must be a multiple of {side} {size}, got {getattr(stage, name)}")
        for stream in self.streams(stage):
            for mask in stream.masks:  # one that cannot be is refused now, not at its first batch
                mask.sample(stream.grid, 1, step=0, generator=torch.Generator().manual_seed(0))

    @property
    def all_stages(self) -> tuple[FullStage, ...]:
        """The stages with nothing left out; a run without stages is one."""
        return tuple(self._fill(stage) for stage in self.stages or (Stage(steps=self.steps),))

    def _fill(self, stage: Stage) -> FullStage:
        """Take what a stage leaves out from the run's own options."""
        image_size = stage.image_size or self.encoder.image_size
        return FullStage(
            steps=stage.steps,
            num_frames=stage.num_frames or self.num_frames,
            image_size=image_size,
            picture_size=stage.picture_size or image_size,
            micro_batch_size=stage.micro_batch_size or self.compute.micro_batch_size,
        )

    def streams(self, stage: FullStage) -> tuple[Stream, ...]:
        """Return what every step of one of `all_stages` takes a batch of: clips, pictures by themselves, or both."""
        encoder, apart = self.encoder, self.encoder.image_tokenizer
        clips = Stream(
            number=0,
            size_option="batch_size",
            batch_size=self.batch_size,
            num_frames=stage.num_frames,
            image_size=stage.image_size,
            grid=encoder.grid_of(stage.num_frames, stage.image_size),
            picture_share=0.0 if apart else self.pictures.share,
            masks=self.masks.chosen(),
            loss_share=1.0 - self.pictures.share if apart else 1.0,
            context_loss_weight=self.objective.context_loss_weight,
        )
        weight = self.pictures.context_loss_weight
        pictures = Stream(
            number=1,
            size_option="pictures.batch_size",
            batch_size=self.pictures.batch_size or self.batch_size,
            num_frames=1,
            image_size=stage.picture_size,
            grid=encoder.grid_of(encoder.tubelet_size, stage.picture_size),
            picture_share=1.0,
            masks=self.masks.chosen(self.pictures.masks),
            loss_share=self.pictures.share if apart else 0.0,
            context_loss_weight=self.objective.context_loss_weight if weight is None else weight,
        )
        return tuple(stream for stream in (clips, pictures) if stream.loss_share > 0)

    def context_weight(self, step: int, stream: Stream) -> float:
        """Return the weight of a stream's loss on visible tokens at a step."""
        return stream.context_loss_weight * self.objective.context_rise(step, self.steps)

    def _record(self, content: Mapping[str, object]) -> dict[str, Any]:
        stages = [dataclasses.asdict(stage) for stage in self.all_stages]
        for stage in stages:  # as free as the other options of `compute`
            del stage["micro_batch_size"]
        return super()._record(content) | {"all_stages": stages}

    def _told_apart(self, found: dict[str, Any], asked: dict[str, Any]) -> list[str]:
        """Compare the stages as far as the recorded ones go; what comes after them is more steps."""
        same_steps = _first_steps(asked["all_stages"], found.get("steps", 0))
        return super()._told_apart(found, {**asked, "all_stages": same_steps})

    @property
    def num_levels(self) -> int:
        """Levels of the encoder that are predicted: of a teacher, the last."""
        return 1 if self.teacher else max(1, len(self.encoder.levels))


def _first_steps(stages: list[dict[str, Any]], steps: int) -> list[dict[str, Any]]:
    """Return the stages of the first so many steps, the last of them cut to its part."""
    first = []
    for stage in stages:
        if steps > 0:
            first.append({**stage, "steps": min(stage["steps"], steps)})
        steps -= stage["steps"]
    return first


def predictor_config(
    config: PretrainConfig, *, target_dim: int | None = None, num_mask_tokens: int = 0
) -> MaskedPredictorConfig:
    """Return the masked predictor that belongs to a run.

    Args:
        config: the run.
        target_dim: width of what is predicted where it is not that of the encoder's levels: a teacher's.
        num_mask_tokens: as many as a predictor has that this one starts from; at least one for each mask setting.
    """
    settings = config.masks.chosen(), config.masks.chosen(config.pictures.masks)
    return masked_predictor_for(
        config.encoder,
        embed_dim=config.predictor_dim,
        depth=config.predictor_depth,
        num_heads=config.predictor_heads,
        num_mask_tokens=max(num_mask_tokens, *map(len, settings)),
        num_levels=config.num_levels,
        target_dim=target_dim,
        predict_context=config.objective.context_loss_weight > 0,
    )
