"""The options of masked pretraining, and the predictor that belongs to them.

Source: V-JEPA 2 (arXiv 2506.09985), section 2 and appendix; V-JEPA 2.1 (arXiv 2603.14482), section 2.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
import tyro

from vjepa_wm.data.clips.crops import AugmentationConfig
from vjepa_wm.data.masks.multi_block import small_grid_masks
from vjepa_wm.data.masks.samplers import MaskPreset, MaskSetting, preset_masks
from vjepa_wm.models.encoder_config import VideoEncoderConfig, vit_micro
from vjepa_wm.models.predictor import MaskedPredictorConfig
from vjepa_wm.training.losses import LossName
from vjepa_wm.training.pretrain.curriculum import Stage, StageArgument
from vjepa_wm.training.pretrain.streams import Stream
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
    image_share: float = 0.25
    """Share of pictures: from the sources' pictures, or single frames of their videos where there are none. Such clips
    repeat their one frame, as V-JEPA 2 trains on pictures; an encoder with an image tokenizer gets a batch of pictures
    of their own at every step, whose loss has this share (V-JEPA 2.1)."""
    picture_batch_size: int | None = None
    """Pictures per step for an encoder with an image tokenizer; none: as `batch_size`."""
    masks: tyro.conf.AvoidSubcommands[tuple[MaskSetting, ...]] = field(default_factory=small_grid_masks)
    """Mask settings; every clip is masked by each of them."""
    mask_preset: MaskPreset | None = None
    """Settings by name, in place of `masks`."""
    picture_masks: MaskPreset | None = None
    """Mask settings for batches of pictures; none: those of the clips."""
    mask_lengths: Literal["batch", "micro_batch"] = "batch"
    """Where masks are cut to one length: in the whole batch, whatever it is divided into; or in what one process
    computes at once, which drops fewer tokens (V-JEPA 2)."""
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
    loss: LossName = "l1"
    """Distance of predicted and target features: l1 (V-JEPA 2), l2, smooth_l1 or cosine."""
    variance_weight: float = 0.0
    """Weight of a penalty on channels of the encoder's features that hardly vary (VICReg); 0 is V-JEPA 2."""
    covariance_weight: float = 0.0
    """Weight of a penalty on channels that vary together (VICReg); 0 is V-JEPA 2."""
    context_loss_weight: float = 0.5
    """Weight of the loss on visible tokens; 0 is V-JEPA 2."""
    picture_context_loss_weight: float | None = None
    """The same for batches of pictures; none: as for clips."""
    context_start_share: float = 0.0
    """Share of the steps before that weight rises from 0."""
    context_warmup_share: float = 0.1
    """Share of the steps in which it rises."""
    teacher: Path | None = None
    """A frozen encoder whose last features are the targets (distillation); none: the slow copy's."""
    start_from: Path | None = None
    """A run whose weights and optimizer this one begins with, or a published checkpoint whose weights; a cooldown goes
    on like that, with `--warmup-share 0 --decay-share 1`."""
    max_bad_share: float = 0.1
    """Largest share of unreadable or too short files; beyond it the run stops."""
    cache_gib: float = 4.0
    """Memory for decoded videos on one machine [GiB]; beyond it, frames are decoded as they are needed."""
    workers: int = 0
    """Processes that decode, for each that trains; 0: a thread."""
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
        if isinstance(self.data, str | Path):
            object.__setattr__(self, "data", (Path(self.data),))
        super().__post_init__()
        total = sum(stage.steps for stage in self.stages)
        if self.stages and total != self.steps:
            raise ValueError(f"the steps of the stages must add up to steps {self.steps}, got {total}")
        if not 0.0 <= self.image_share <= 1.0:
            raise ValueError(f"image_share must be within 0..1, got {self.image_share}")
        if self.data_weights and len(self.data_weights) != len(self.data):
            raise ValueError(f"data_weights must be one for each of {len(self.data)} sources, got {self.data_weights}")
        if self.workers < 0:
            raise ValueError(f"workers must be at least 0, got {self.workers}")
        if not self.masks:
            raise ValueError("masks must hold at least one setting, got none")
        for stage in self.all_stages:
            self._check_stage(stage)

    def _check_stage(self, stage: Stage) -> None:
        encoder = self.encoder
        if stage.num_frames % encoder.tubelet_size:
            raise ValueError(
                f"num_frames must be a multiple of tubelet_size {encoder.tubelet_size}, got {stage.num_frames}"
            )
        for name in ("image_size", "picture_size"):
            if getattr(stage, name) % encoder.patch_size:
                raise ValueError(
                    f"{name} must be a multiple of patch_size {encoder.patch_size}, got {getattr(stage, name)}"
                )
        for stream in self.streams(stage):
            for mask in stream.masks:  # one that cannot be is refused now, not at its first batch
                mask.sample(stream.grid, 1, step=0, generator=torch.Generator().manual_seed(0))

    @property
    def all_stages(self) -> tuple[Stage, ...]:
        """The stages with nothing left out; a run without stages is one."""
        own = {"num_frames": self.num_frames, "image_size": self.encoder.image_size}
        own |= {"micro_batch_size": self.micro_batch_size}
        stages = []
        for stage in self.stages or (Stage(steps=self.steps),):
            filled = {name: value for name, value in own.items() if getattr(stage, name) is None}
            stage = dataclasses.replace(stage, **filled)
            stages.append(dataclasses.replace(stage, picture_size=stage.picture_size or stage.image_size))
        return tuple(stages)

    def streams(self, stage: Stage) -> tuple[Stream, ...]:
        """Return what every step of one of `all_stages` takes a batch of: clips, pictures by themselves, or both."""
        encoder, apart = self.encoder, self.encoder.image_tokenizer
        rows, picture_rows = (size // encoder.patch_size for size in (stage.image_size, stage.picture_size))
        clips = Stream(
            number=0,
            size_option="batch_size",
            batch_size=self.batch_size,
            num_frames=stage.num_frames,
            image_size=stage.image_size,
            grid=(stage.num_frames // encoder.tubelet_size, rows, rows),
            picture_share=0.0 if apart else self.image_share,
            masks=self.clip_masks,
            loss_share=1.0 - self.image_share if apart else 1.0,
            context_loss_weight=self.context_loss_weight,
        )
        weight = self.picture_context_loss_weight
        pictures = Stream(
            number=1,
            size_option="picture_batch_size",
            batch_size=self.picture_batch_size or self.batch_size,
            num_frames=1,
            image_size=stage.picture_size,
            grid=(1, picture_rows, picture_rows),
            picture_share=1.0,
            masks=self.own_picture_masks,
            loss_share=self.image_share if apart else 0.0,
            context_loss_weight=self.context_loss_weight if weight is None else weight,
        )
        return tuple(stream for stream in (clips, pictures) if stream.loss_share > 0)

    @property
    def clip_masks(self) -> tuple[MaskSetting, ...]:
        """The mask settings of clips."""
        return preset_masks(self.mask_preset) if self.mask_preset else self.masks

    @property
    def own_picture_masks(self) -> tuple[MaskSetting, ...]:
        """The mask settings of pictures by themselves."""
        return preset_masks(self.picture_masks) if self.picture_masks else self.clip_masks

    def context_weight(self, step: int, stream: Stream) -> float:
        """Return the weight of a stream's loss on visible tokens at a step."""
        begun = step + 1 - self.context_start_share * self.steps
        risen = min(max(begun, 0.0) / max(self.context_warmup_share * self.steps, 1.0), 1.0)
        return stream.context_loss_weight * risen

    @property
    def num_levels(self) -> int:
        """Levels of the encoder that are predicted: of a teacher, the last."""
        return 1 if self.teacher else max(1, len(self.encoder.levels))


def predictor_config(
    config: PretrainConfig, *, target_dim: int | None = None, num_mask_tokens: int = 0
) -> MaskedPredictorConfig:
    """Return the masked predictor that belongs to a run.

    Args:
        config: the run.
        target_dim: width of what is predicted where it is not that of the encoder's levels: a teacher's.
        num_mask_tokens: as many as a predictor has that this one starts from; at least one for each mask setting.
    """
    encoder = config.encoder
    return MaskedPredictorConfig(
        encoder_dim=encoder.embed_dim,
        embed_dim=config.predictor_dim,
        depth=config.predictor_depth,
        num_heads=config.predictor_heads,
        num_mask_tokens=max(len(config.clip_masks), len(config.own_picture_masks), num_mask_tokens),
        rope=encoder.rope,
        rope_grid=encoder.rope_grid,
        grid=encoder.trained_grid,
        uniform_power=encoder.uniform_power,
        num_levels=config.num_levels,
        target_dim=target_dim,
        modality_embedding=encoder.modality_embedding,
        predict_context=config.context_loss_weight > 0,
    )
