"""One step of masked pretraining: the networks, the losses and the slow copy.

Letters: B clips, T frames, S side of the pictures, N tokens, D width.

Source: V-JEPA 2 (arXiv 2506.09985), section 2 and appendix; V-JEPA 2.1 (arXiv 2603.14482), section 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from einops import rearrange
from torch import Tensor, nn

from vjepa_wm.data.masks.mask import Mask
from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.layers import Block, normalize_features
from vjepa_wm.models.load import load_encoder
from vjepa_wm.models.precision import autocast, pick_device, pick_dtype
from vjepa_wm.models.predictor import MaskedPredictor
from vjepa_wm.models.tubelets import gather_tokens
from vjepa_wm.training.losses import (
    context_loss,
    context_weights,
    covariance_loss,
    prediction_loss,
    variance_loss,
)
from vjepa_wm.training.pretrain.batches import MicroBatch
from vjepa_wm.training.pretrain.config import PretrainConfig, predictor_config
from vjepa_wm.training.pretrain.ema import make_target, update_target
from vjepa_wm.training.pretrain.starting import load_start
from vjepa_wm.training.run.distributed import World, distribute, hold_gradients, shard
from vjepa_wm.training.run.optimizer import make_optimizer, take_step
from vjepa_wm.training.run.run_config import step_generator
from vjepa_wm.training.run.schedules import linear_ramp

HEALTH_TOKENS = 8192  # targets that are kept of a step, over all processes, to tell whether they are healthy


class MaskedObjective(nn.Module):
    """The encoder and the predictor, and how far their predictions are from the targets."""

    def __init__(self, config: PretrainConfig, *, target_dim: int | None, num_mask_tokens: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = VideoEncoder(config.encoder)
        self.predictor = MaskedPredictor(
            predictor_config(config, target_dim=target_dim, num_mask_tokens=num_mask_tokens)
        )
        self.encoder.recompute_activations = self.predictor.recompute_activations = config.recompute_activations

    def forward(self, clips: Tensor, targets: Tensor, masks: list[Mask]) -> Tensor:
        """Return four losses, averaged over the masks.

        Args:
            clips: ``(B, 3, T, S, S)``.
            targets: what is to be predicted, ``(B, N, levels * D)``.
            masks: one for each setting.

        Returns:
            Loss on hidden tokens, loss on visible tokens, variance loss and covariance loss.
        """
        return torch.stack([self._mask_losses(clips, targets, mask, index) for index, mask in enumerate(masks)]).mean(0)

    def _mask_losses(self, clips: Tensor, targets: Tensor, mask: Mask, index: int) -> Tensor:
        config = self.config
        context_ids, target_ids = mask
        features = visible_features(self.encoder, clips, context_ids, config.num_levels)
        with torch.set_grad_enabled(bool(config.variance_weight or config.covariance_weight)):  # else only for the log
            spread = variance_loss(features), covariance_loss(features)
        picture = clips.shape[2] == 1
        frames = 1 if picture else clips.shape[2] // config.encoder.tubelet_size
        rows, columns = (side // config.encoder.patch_size for side in clips.shape[3:])
        where = (features, context_ids, target_ids, (frames, rows, columns), index)
        hidden_targets = gather_tokens(targets, target_ids)
        if not self.predictor.config.predict_context:
            hidden = self.predictor(*where, image=picture)
            loss = prediction_loss(hidden, hidden_targets, config.loss)
            return torch.stack((loss, torch.zeros_like(loss), *spread))
        hidden, seen = self.predictor.predict_all(*where, image=picture)
        weights = context_weights(context_ids, target_ids, (rows, columns))
        visible = context_loss(seen, gather_tokens(targets, context_ids), weights, config.loss)
        return torch.stack((prediction_loss(hidden, hidden_targets, config.loss), visible, *spread))


def visible_features(encoder: VideoEncoder, clips: Tensor, ids: Tensor | None, num_levels: int) -> Tensor:
    """Return the features of the last levels end to end, ``(B, N, levels * D)``, without a class token."""
    tokens = encoder.level_features(clips, ids, num_levels=num_levels)
    return tokens[:, 1:] if encoder.config.class_token else tokens


class Pretrainer:
    """The networks, optimizer and schedules of a run, in one process of its world.

    Attributes:
        encoder: what is trained.
        predictor: trained beside it.
        target_encoder: the slow copy of the encoder, which later stages use.
        teacher: what makes the targets: the slow copy, or a frozen encoder.
    """

    def __init__(self, config: PretrainConfig, world: World | None = None) -> None:
        """Build everything anew, or from the weights of a published checkpoint.

        Args:
            config: the run.
            world: the processes that train together; None: this one.

        Raises:
            CheckpointError: the teacher or what the run starts from cannot be loaded or does not fit.
        """
        self.config = config
        self.world = world or World()
        self.device = pick_device(config.device)
        self.dtype = pick_dtype(config.precision, self.device)
        teacher, start = _load_teacher(config), load_start(config)
        mask_tokens = start.predictor.config.num_mask_tokens if start and start.predictor else 0
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.objective = MaskedObjective(
                config, target_dim=teacher.config.embed_dim if teacher else None, num_mask_tokens=mask_tokens
            ).to(self.device)
        self.encoder, self.predictor = self.objective.encoder, self.objective.predictor
        self.target_encoder = make_target(self.encoder)
        if start:
            self.encoder.load_state_dict(start.encoder.state_dict())
            self.target_encoder.load_state_dict(start.target_encoder.state_dict())
            if start.predictor:
                self.predictor.load_state_dict(start.predictor.state_dict())
        self.teacher = teacher.to(self.device) if teacher else self.target_encoder
        networks = [self.encoder, self.predictor, self.target_encoder, *([teacher] if teacher else [])]
        if config.compile:
            _compile_blocks(networks)
        if self.world.size > 1 and config.parallel == "fsdp":
            shard([self.objective, *networks[2:]], self.world, self.device)
        # Not every step uses every parameter where clips and pictures are embedded apart, or levels are left out.
        partly_used = config.encoder.image_tokenizer or bool(teacher)
        self._forward = distribute(self.objective, self.world, config.parallel, partly_used=partly_used)
        self.optimizer = make_optimizer([self.encoder, self.predictor], config.weight_decay)
        self.learning_rate = config.rate_schedule()

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """All networks that change, by name."""
        return {"encoder": self.encoder, "predictor": self.predictor, "target_encoder": self.target_encoder}

    def step(self, step: int, micro_batches: Iterable[MicroBatch]) -> dict[str, Tensor]:
        """Train on what this process computes at one step.

        Returns:
            Of this process: ``loss``, ``context_loss``, ``variance_loss``, ``covariance_loss``, ``grad_norm`` (scalars)
            and ``targets``, a choice of tokens ``(tokens, levels * D)``.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        config = self.config
        if config.encoder.drop_path:  # which draws from torch's own generator
            torch.manual_seed(step_generator(config.seed, step, self.world.rank).initial_seed())
        values, targets = torch.zeros(4, device=self.device), []
        grad_norm = take_step(
            self.optimizer,
            self._losses(micro_batches, values, targets),
            learning_rate=self.learning_rate(step),
            weight_decay=config.decay_at(step),
            clip_grad_norm=config.clip_grad_norm,
        )
        update_target(self.target_encoder, self.encoder, self.momentum(step))
        names = ("loss", "context_loss", "variance_loss", "covariance_loss")
        tokens = torch.cat(targets)
        stride = -(-len(tokens) * self.world.size // HEALTH_TOKENS)
        return dict(zip(names, values, strict=True)) | {"grad_norm": grad_norm, "targets": tokens[::stride]}

    def momentum(self, step: int) -> float:
        """Return the target encoder's momentum."""
        return linear_ramp(step, self.config.ema_start, self.config.ema_end, self.config.schedule_steps)

    def _losses(self, micro_batches: Iterable[MicroBatch], values: Tensor, targets: list[Tensor]) -> Iterator[Tensor]:
        """Yield what to minimise, one micro batch after the other; add what is reported to `values` and `targets`."""
        config = self.config
        for part in micro_batches:
            weights = (
                1.0,
                part.context_weight,
                config.variance_weight,
                config.covariance_weight,
            )
            with hold_gradients(self._forward, hold=not part.is_last):
                with autocast(self.device, self.dtype):
                    aim = self._targets(part.clips)
                    losses = self._forward(part.clips, aim, part.masks) * part.share
                values += losses.detach()
                targets.append(aim.flatten(0, 1))
                yield (losses * losses.new_tensor(weights)).sum()

    @torch.no_grad()
    def _targets(self, clips: Tensor) -> Tensor:
        """Return what is to be predicted: the teacher's features, each level normalised by itself."""
        features = visible_features(self.teacher, clips, None, self.config.num_levels)
        levels = rearrange(features.float(), "b n (l d) -> b n l d", l=self.config.num_levels)
        return rearrange(normalize_features(levels), "b n l d -> b n (l d)")


def _compile_blocks(networks: Iterable[nn.Module]) -> None:
    """Compile every block in place, for masks whose length changes from step to step."""
    # Blocks of several widths, with and without gradients, are versions of one function; beyond 8 torch gives up.
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    for block in (part for network in networks for part in network.modules() if isinstance(part, Block)):
        block.compile(dynamic=True)


def _load_teacher(config: PretrainConfig) -> VideoEncoder | None:
    """Load the frozen encoder that makes the targets, if there is one."""
    if config.teacher is None:
        return None
    teacher = load_encoder(config.teacher).requires_grad_(False)
    for name in ("patch_size", "tubelet_size", "in_channels"):
        theirs, ours = getattr(teacher.config, name), getattr(config.encoder, name)
        if theirs != ours:
            raise CheckpointError(f"teacher must cut clips as the encoder does, {name} {ours}, got {theirs}")
    if config.encoder.image_tokenizer and config.image_share and not teacher.config.image_tokenizer:
        raise CheckpointError(f"teacher {config.teacher} has no image tokenizer; set image_share to 0")
    return teacher
