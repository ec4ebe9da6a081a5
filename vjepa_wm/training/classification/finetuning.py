"""Fine-tuning: a head and the encoder below it, or its last blocks, trained on pixels.

Letters: B items, P clips of one, T frames of a clip, S side of the square frames, D width, Q questions.

Source: BEiT (arXiv 2106.08254) and MAE (arXiv 2111.06377), appendices: the rate falls from layer to layer towards the
pixels; matrices decay, biases and one-dimensional parameters do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from vjepa_wm.checks import check_at_least, check_positive, check_within
from vjepa_wm.data.clips.bad_files import UNUSABLE, BadFiles
from vjepa_wm.data.clips.crops import AugmentationConfig, cut_clip, finish_clip
from vjepa_wm.data.clips.sample_order import Epochs
from vjepa_wm.data.labelled.clip_views import ClipOptions, item_views, read_item
from vjepa_wm.data.labelled.feature_store import read_ahead
from vjepa_wm.data.labelled.labelled_set import Item, LabelledSet
from vjepa_wm.data.randomness import generator_for
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.precision import autocast
from vjepa_wm.training.classification.encoded_items import encode_tokens, form_of
from vjepa_wm.training.classification.heads import HeadKind, answer, head_loss, probabilities
from vjepa_wm.training.run.distributed import World, average_gradients
from vjepa_wm.training.run.schedules import WarmupCosine

_SAMPLE = int.from_bytes(b"tune")  # purpose of a draw
READERS = 4
"""Items decoded at once."""


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """How an encoder is trained together with a head."""

    blocks: int | Literal["all"] = 0
    """Last blocks of the encoder that are trained; all trains everything; 0 keeps it frozen."""
    head: HeadKind = "linear"
    """Head above it."""
    learning_rate: float = 5e-4
    """Highest rate, of the head; it rises over the first tenth of the steps and falls to 0 along a cosine."""
    layer_decay: float = 0.75
    """Rate of each block over that of the one above it."""
    weight_decay: float = 0.05
    """Decay of the weight matrices."""
    clip_grad_norm: float | None = 1.0
    """Largest norm of the gradient; none: any."""
    augmentation: AugmentationConfig = field(
        default_factory=lambda: AugmentationConfig(crop_scale=(0.5, 1.0), flip_probability=0.0)
    )
    """What may happen to a training clip; flips are off, as left and right may be classes."""
    recompute_activations: bool = False
    """Whether the encoder trades about a third more time for a fraction of the memory."""

    def __post_init__(self) -> None:
        if self.blocks != "all":
            check_at_least(0, blocks=self.blocks)
        check_at_least(0, learning_rate=self.learning_rate, weight_decay=self.weight_decay)
        check_positive(clip_grad_norm=self.clip_grad_norm)
        check_within(0, 1, layer_decay=self.layer_decay)
        if self.head == "knn":
            raise ValueError("head must be linear, attentive-1 or attentive-4 to be trained, got knn")

    @property
    def name(self) -> str:
        """What tables call it."""
        what = "all of the encoder" if self.blocks == "all" else f"last {self.blocks} blocks"
        return f"{self.head}, {what}, rate {self.learning_rate:g}, layer decay {self.layer_decay:g}"


def unfreeze(encoder: VideoEncoder, blocks: int | Literal["all"]) -> None:
    """Let the last blocks, and the norms above them, have gradients, or all of an encoder; the rest has none.

    Raises:
        ValueError: if it has not so many blocks.
    """
    encoder.requires_grad_(blocks == "all")
    if blocks == "all":
        return
    check_within(0, encoder.config.depth, blocks=blocks)
    for block in encoder.blocks[encoder.config.depth - blocks :]:
        block.requires_grad_(True)
    (encoder.norms_block if encoder.config.levels else encoder.norm).requires_grad_(True)


def layer_of(name: str, depth: int) -> int:
    """Return how far a parameter of an encoder is from the pixels: 0 before the blocks, i for block i from 1 on."""
    if name.startswith("blocks."):
        return 1 + int(name.split(".")[1])
    return depth + 1 if name.startswith("norm") else 0


def parameter_groups(encoder: VideoEncoder, head: nn.Module, options: FinetuneOptions) -> list[dict]:
    """Group the trained parameters by layer, and by whether they decay; `scale` is their rate over the highest."""
    depth = encoder.config.depth
    layers = [(layer_of(name, depth), value) for name, value in encoder.named_parameters()]
    layers += [(depth + 1, value) for value in head.parameters()]
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for layer, value in layers:
        if value.requires_grad:
            groups.setdefault((layer, value.dim() > 1), []).append(value)
    return [
        {
            "params": values,
            "scale": options.layer_decay ** (depth + 1 - layer),
            "weight_decay": options.weight_decay if decays else 0.0,
        }
        for (layer, decays), values in groups.items()
    ]


class FineTuner:
    """An encoder and a head that are trained together.

    Attributes:
        modules: both, by name.
        optimizer: of what is trained of them.
    """

    def __init__(
        self,
        encoder: VideoEncoder,
        head: nn.Module,
        options: FinetuneOptions,
        clips: ClipOptions,
        *,
        levels: int,
        total_steps: int,
        dtype: torch.dtype,
        world: World,
    ) -> None:
        """Choose what is trained.

        Args:
            encoder: where it is to compute.
            head: likewise.
            options: how.
            clips: what is seen of an item.
            levels: outputs of the encoder that the head reads.
            total_steps: of the run.
            dtype: number format.
            world: the processes that train together.
        """
        unfreeze(encoder, options.blocks)
        encoder.recompute_activations = options.recompute_activations
        self.modules: dict[str, nn.Module] = {"encoder": encoder, "head": head}
        self.optimizer = torch.optim.AdamW(parameter_groups(encoder, head, options), fused=True)
        self._encoder, self._head, self._options, self._clips = encoder, head, options, clips
        self._levels, self._dtype, self._world = levels, dtype, world
        self._device = encoder.patch_embed.proj.weight.device
        self._schedule = WarmupCosine(
            start=0.0, peak=options.learning_rate, end=0.0, warmup_steps=total_steps // 10, total_steps=total_steps
        )

    def answers(self, views: Tensor, num_views: int) -> dict[str, Tensor]:
        """Return scores by question, (B, V, K), for views (B, P * V, 3, T, S, S)."""
        with autocast(self._device, self._dtype):
            tokens = encode_tokens(self._encoder, views.flatten(0, 1).to(self._device), self._levels)
            tokens = tokens.unflatten(0, views.shape[:2])
            form = form_of(replace(self._clips, views=num_views), self._encoder.config, pooled=False)
            return answer(self._head, tokens, form)

    def step(self, step: int, views: Tensor, labels: Tensor) -> dict[str, float]:
        """Train on a batch.

        Args:
            step: from 0.
            views: of this process's items, (B, P, 3, T, S, S).
            labels: their classes, int64 (B, Q).

        Returns:
            Loss before the step, size of the gradient and learning rate.

        Raises:
            FloatingPointError: if the loss is not finite; nothing has been changed.
        """
        for module in self.modules.values():
            module.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = head_loss(self.answers(views, 1), labels.to(self._device))
        shared = float(self._world.mean(loss.detach()))
        if not torch.isfinite(torch.tensor(shared)):
            raise FloatingPointError(f"the loss is {shared}; lower finetune.learning_rate")
        loss.backward()
        parameters = [value for group in self.optimizer.param_groups for value in group["params"]]
        average_gradients(parameters, self._world)
        norm = torch.nn.utils.get_total_norm([value.grad for value in parameters if value.grad is not None])
        if self._options.clip_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, self._options.clip_grad_norm, norm)
        rate = self._schedule(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.step()
        return {"finetuned_loss": shared, "grad_norm": float(norm), "learning_rate": rate}

    @torch.no_grad()
    def probabilities(
        self, data: LabelledSet, bad: BadFiles, which: int, batch_size: int
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return what is told of the items of a set that can be read, by question (M, K), and their labels (M, Q)."""
        for module in self.modules.values():
            module.eval()
        size = self._clips.size_for(self._encoder.config)
        read = partial(item_views, options=self._clips, image_size=size)
        parts, numbers = [], []
        for found, views in read_ahead(data.items, range(len(data.items)), read, batch_size, bad, which):
            scores = probabilities(self.answers(views, self._clips.views))
            parts.append({question: one.cpu() for question, one in scores.items()})
            numbers += found
        labels = torch.from_numpy(data.labels[numbers])
        return {question: torch.cat([part[question] for part in parts]) for question in parts[0]}, labels


def augmented_clips(
    item: Item, options: ClipOptions, image_size: int, augmentation: AugmentationConfig, generator: torch.Generator
) -> Tensor:
    """Return the clips of an item, shifted in time and cut at random, alike for all of them, (P, 3, T, S, S)."""
    clips = torch.from_numpy(read_item(item, options, float(torch.rand((), generator=generator))).copy())
    cut, flip = cut_clip(clips.flatten(0, 1), augmentation, generator)
    seen = finish_clip(cut, image_size, flip)
    parts = rearrange(seen, "c (p t) h w -> p c t h w", p=len(clips))
    return parts if len(clips) == options.clips else parts.repeat(options.clips, 1, 1, 1, 1)


def load_batches(
    data: LabelledSet,
    bad: BadFiles,
    options: ClipOptions,
    image_size: int,
    augmentation: AugmentationConfig,
    *,
    steps: Sequence[int],
    batch_size: int,
    seed: int,
    world: World,
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield step, clips (B, P, 3, T, S, S) and labels (B, Q) of this process, reading one step ahead.

    What a sample is follows from the seed and its number. One that cannot be read is noted and left out; where all of a
    batch are, it becomes one that can.

    Raises:
        VideoError: if too many items cannot be read.
    """
    order, share = Epochs(seed, 0, len(data.items)), batch_size // world.size

    def read(number: int) -> tuple[Tensor, int] | tuple[Exception, int]:
        """Return a sample and the number of its item, or what is wrong with it."""
        k = order[number]
        try:
            generator = generator_for(_SAMPLE, seed, number)
            return augmented_clips(data.items[k], options, image_size, augmentation, generator), k
        except UNUSABLE as error:
            return error, k

    def submit(step: int) -> list[Future]:
        first = step * batch_size + world.rank * share
        return [pool.submit(read, number) for number in range(first, first + share)]

    if not steps:
        return
    with ThreadPoolExecutor(READERS) as pool:
        waiting = submit(steps[0])
        for place, step in enumerate(steps):
            ahead = submit(steps[place + 1]) if place + 1 < len(steps) else []
            good: list[tuple[Tensor, int]] = []
            for future in waiting:
                sample, k = future.result()
                if isinstance(sample, Exception):
                    bad.note_bad((0, k), sample, warn=True)
                    bad.check()
                else:
                    bad.note_opened((0, k))
                    good.append((sample, k))
            other = (step + 1) * batch_size
            while not good:  # all of a small batch are bad
                sample, k = read(other)
                good += [] if isinstance(sample, Exception) else [(sample, k)]
                other += 1
            yield step, torch.stack([sample for sample, _ in good]), torch.from_numpy(data.labels[[k for _, k in good]])
            waiting = ahead
