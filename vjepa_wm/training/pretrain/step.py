"""One step of a pretraining run: micro batches through the `VJEPA`, the optimizer, the slow copy, many processes.

Letters: B clips, T frames, S side of the pictures, N tokens, D width.

Source: V-JEPA 2 (arXiv 2506.09985), section 2 and appendix; V-JEPA 2.1 (arXiv 2603.14482), section 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from vjepa_wm.data.masks.mask import Mask
from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.inverse_dynamics import InverseDynamics, InverseDynamicsConfig
from vjepa_wm.models.layers import Block
from vjepa_wm.models.load import load_encoder
from vjepa_wm.models.precision import autocast, pick_device, pick_dtype
from vjepa_wm.models.world_model import encode_frames
from vjepa_wm.training.pretrain.action_pairs import Pairs
from vjepa_wm.training.pretrain.batches import MicroBatch
from vjepa_wm.training.pretrain.config import PretrainConfig, predictor_config
from vjepa_wm.training.pretrain.objective import Losses
from vjepa_wm.training.pretrain.starting import load_start
from vjepa_wm.training.pretrain.vjepa import VJEPA
from vjepa_wm.training.run.distributed import World, distribute, hold_gradients, shard
from vjepa_wm.training.run.optimizer import make_optimizer, take_step
from vjepa_wm.training.run.run_config import step_generator
from vjepa_wm.training.run.schedules import linear_ramp

HEALTH_TOKENS = 8192  # targets that are kept of a step, over all processes, to tell whether they are healthy


class Pretrainer:
    """The networks, optimizer and schedules of a run, in one process of its world.

    Attributes:
        encoder: what is trained.
        predictor: trained beside it.
        target_encoder: the slow copy of the encoder, which later stages use.
        teacher: what makes the targets: the slow copy, or a frozen encoder.
        inverse: what reads actions off latents, trained beside them; None without.
    """

    def __init__(
        self,
        config: PretrainConfig,
        world: World | None = None,
        action_units: Mapping[str, tuple[float, ...]] | None = None,
    ) -> None:
        """Build everything anew, or from the weights of a published checkpoint.

        Args:
            config: the run.
            world: the processes that train together; None: this one.
            action_units: `mean` and `scale` of each number of the actions that are to be read off pairs of frames;
                None: there are no pairs.

        Raises:
            CheckpointError: if the teacher or what the run starts from cannot be loaded or does not fit.
        """
        self.config = config
        self.world = world or World()
        self.device = pick_device(config.device)
        self.dtype = pick_dtype(config.precision, self.device)
        teacher, start = _load_teacher(config), load_start(config)
        mask_tokens = start.predictor.config.num_mask_tokens if start and start.predictor else 0
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            target_dim = teacher.config.embed_dim if teacher else None
            predictor = predictor_config(config, target_dim=target_dim, num_mask_tokens=mask_tokens)
            self.model = VJEPA(config.encoder, predictor, objective=config.objective, teacher=teacher).to(self.device)
            self.inverse = None
            if action_units is not None:  # drawn after the others, which begin the same with and without
                self.inverse = InverseDynamics(_inverse_config(config, action_units)).to(self.device)
        self.encoder, self.predictor = self.model.encoder, self.model.predictor
        self.target_encoder, self.teacher = self.model.target_encoder, self.model.teacher
        self.encoder.recompute_activations = self.predictor.recompute_activations = config.compute.recompute_activations
        if start:
            self.encoder.load_state_dict(start.encoder.state_dict())
            self.target_encoder.load_state_dict(start.target_encoder.state_dict())
            if start.predictor:
                self.predictor.load_state_dict(start.predictor.state_dict())
        if config.compute.compile:
            _compile_blocks(self.model)
        step = _EveryMask(self.model, self.inverse)
        if self.world.size > 1 and config.compute.parallel == "fsdp":
            shard([self.target_encoder, *([teacher] if teacher else []), step], self.world, self.device)
        # Not every step uses every parameter where clips and pictures are embedded apart, or levels are left out.
        partly_used = config.encoder.image_tokenizer or bool(teacher) or bool(self.inverse)
        self._forward = distribute(step, self.world, config.compute.parallel, partly_used=partly_used)
        trained = [self.encoder, self.predictor, *([self.inverse] if self.inverse else [])]
        self.optimizer = make_optimizer(trained, config.weight_decay)
        self.learning_rate = config.rate_schedule()

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """All networks that change, by name."""
        networks = {"encoder": self.encoder, "predictor": self.predictor, "target_encoder": self.target_encoder}
        return networks | ({"inverse": self.inverse} if self.inverse else {})

    def step(self, step: int, micro_batches: Iterable[MicroBatch]) -> dict[str, Tensor]:
        """Train on what this process computes at one step.

        Returns:
            Of this process, by name: each of `Losses` and grad_norm (scalars), and targets, a choice of tokens
            (tokens, levels * D).

        Raises:
            FloatingPointError: if the loss is not finite.
        """
        config = self.config
        if config.encoder.drop_path:  # which draws from torch's own generator
            torch.manual_seed(step_generator(config.seed, step, self.world.rank).initial_seed())
        done: list[tuple[Losses, Tensor]] = []
        grad_norm = take_step(
            self.optimizer,
            self._minimised(micro_batches, done),
            learning_rate=self.learning_rate(step),
            weight_decay=config.decay_at(step),
            clip_grad_norm=config.clip_grad_norm,
        )
        self.model.update_target(self.momentum(step))
        losses = Losses(*map(sum, zip(*(part for part, _ in done), strict=True)))
        tokens = torch.cat([targets for _, targets in done])
        stride = -(-len(tokens) * self.world.size // HEALTH_TOKENS)
        return losses._asdict() | {"grad_norm": grad_norm, "targets": tokens[::stride]}

    def momentum(self, step: int) -> float:
        """Return the target encoder's momentum."""
        return linear_ramp(step, self.config.ema_start, self.config.ema_end, self.config.schedule_steps)

    def _minimised(self, micro_batches: Iterable[MicroBatch], done: list[tuple[Losses, Tensor]]) -> Iterator[Tensor]:
        """Yield what to minimise, one micro batch after the other; add its losses and its targets to `done`."""
        for part in micro_batches:
            weights = self.config.objective.weights(part.context_weight)
            weights = weights._replace(inverse_loss=self.config.inverse.weight)
            with hold_gradients(self._forward, hold=not part.is_last):
                with autocast(self.device, self.dtype):
                    losses, targets = self._forward(part.clips, part.masks, part.pairs)
                    share = part.pairs.share if part.pairs else 0.0
                    losses = losses.scaled(part.share)._replace(inverse_loss=losses.inverse_loss * share)
                done.append((losses.detached(), targets.flatten(0, 1)))
                yield losses.weighted_sum(weights)


class _EveryMask(nn.Module):
    """The step with each of several masks of the same clips; what gradients are exchanged for."""

    def __init__(self, model: VJEPA, inverse: InverseDynamics | None) -> None:
        super().__init__()
        self.model, self.inverse = model, inverse

    def forward(self, clips: Tensor, masks: list[Mask], pairs: Pairs | None) -> tuple[Losses, Tensor]:
        """Return the losses, averaged over the masks, and the targets, (B, N, levels * D).

        Args:
            clips: (B, C, T, S, S).
            masks: one for each setting, as its sampler checked it.
            pairs: frames off which actions are to be read, if there are any.
        """
        targets = self.model.targets(clips)
        losses = [self._losses(clips, mask, targets, index) for index, mask in enumerate(masks)]
        inverse_loss = clips.new_zeros(())
        if self.inverse is not None and pairs is not None:
            z = encode_frames(self.model.encoder, pairs.frames)
            inverse_loss = self.inverse.loss(z[:, 0], z[:, 1], pairs.actions)
        means = (torch.stack(values).mean() for values in zip(*losses, strict=True))
        return Losses(*means)._replace(inverse_loss=inverse_loss), targets

    def _losses(self, clips: Tensor, mask: Mask, targets: Tensor, index: int) -> Losses:
        out = self.model.compute(clips, mask, targets, index)
        nothing = torch.zeros_like(out.energy)
        return Losses(loss=out.energy, context_loss=out.context_energy, **out.regularisation, inverse_loss=nothing)


def _compile_blocks(model: nn.Module) -> None:
    """Compile every block in place, for masks whose length changes from step to step."""
    # Blocks of several widths, with and without gradients, are versions of one function; beyond 8 torch gives up.
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    for block in (part for part in model.modules() if isinstance(part, Block)):
        block.compile(dynamic=True)


def _inverse_config(config: PretrainConfig, units: Mapping[str, tuple[float, ...]]) -> InverseDynamicsConfig:
    """Return the network that reads actions off two frames, encoded one by one."""
    encoder = config.encoder
    num_tokens = math.prod(encoder.grid_of(encoder.tubelet_size, encoder.image_size))
    return InverseDynamicsConfig(
        encoder_dim=encoder.embed_dim, num_tokens=num_tokens, action_mean=units["mean"], action_scale=units["scale"]
    )


def _load_teacher(config: PretrainConfig) -> VideoEncoder | None:
    """Load the frozen encoder that makes the targets, if there is one."""
    if config.teacher is None:
        return None
    teacher = load_encoder(config.teacher)
    for name in ("patch_size", "patch_width", "tubelet_size", "in_channels"):
        theirs, ours = getattr(teacher.config, name), getattr(config.encoder, name)
        if theirs != ours:
            raise CheckpointError(f"teacher must cut clips as the encoder does, {name} {ours}, got {theirs}")
    if config.encoder.image_tokenizer and config.pictures.share and not teacher.config.image_tokenizer:
        raise CheckpointError(f"teacher {config.teacher} has no image tokenizer; set pictures.share to 0")
    return teacher
