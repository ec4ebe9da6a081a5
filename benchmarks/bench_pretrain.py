"""Seconds per pretraining step against facebookresearch/vjepa2, side by side in one run, data loading left out.

    python benchmarks/bench_pretrain.py CHECKOUT [--rounds 5] [--case ViT-T] [--batch-size 4] [--compile] [--profile]

Same model, clips, masks (V-JEPA 2's two settings), batch, optimizer, target update and number format, gradients not
clipped. Both take turns; the best round of each counts, and beside it stands the median of the rounds' ratios, which a
machine shared with others disturbs less. The share of the peak is that of a large matrix product in the same run. On a
GPU the number format is bf16 and the case ViT-L, unless said otherwise.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from reference_checkout import open_checkout
from torch import nn
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from vjepa_wm.data.masks.mask import Mask
from vjepa_wm.data.masks.multi_block import vjepa2_masks
from vjepa_wm.models.encoder_config import VideoEncoderConfig, vit_large, vit_tiny
from vjepa_wm.models.precision import autocast
from vjepa_wm.models.tubelets import gather_tokens
from vjepa_wm.training.pretrain.batches import MicroBatch
from vjepa_wm.training.pretrain.config import ComputeConfig, PretrainConfig
from vjepa_wm.training.pretrain.objective import ObjectiveConfig
from vjepa_wm.training.pretrain.step import Pretrainer
from vjepa_wm.training.pretrain.streams import MasksConfig

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CASES = {"ViT-T": vit_tiny(128), "ViT-L": vit_large(256)}
FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16}
NUM_FRAMES = 16
PREDICTOR_DIM, PREDICTOR_DEPTH = 384, 12
PARTS = {  # of a step, by what the name of an operation holds; the first that fits counts
    "attention": ("scaled_dot_product", "_softmax", "bmm", "attention"),
    "matrix products": ("aten::mm", "addmm", "aten::linear", "convolution"),
}
Step = Callable[[], float]


def make_reference(encoder: VideoEncoderConfig, batch: MicroBatch, dtype: torch.dtype) -> Step:
    """Return a training step of the reference's networks, put together as its training script does."""
    from src.models.predictor import vit_predictor
    from src.models.vision_transformer import VisionTransformer

    norm = partial(nn.LayerNorm, eps=1e-6)
    size = {"img_size": encoder.image_size, "num_frames": NUM_FRAMES, "use_rope": True}
    form = {"embed_dim": encoder.embed_dim, "depth": encoder.depth, "num_heads": encoder.num_heads, "norm_layer": norm}
    width = {"embed_dim": encoder.embed_dim, "predictor_embed_dim": PREDICTOR_DIM, "depth": PREDICTOR_DEPTH}
    model = VisionTransformer(**size, **form).to(DEVICE)
    predictor = vit_predictor(**size, **width, use_mask_tokens=True, num_mask_tokens=2).to(DEVICE)
    target = copy.deepcopy(model).requires_grad_(False)
    parameters = [*model.parameters(), *predictor.parameters()]
    groups = [{"params": [p for p in parameters if (p.dim() > 1) == wide]} for wide in (True, False)]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, weight_decay=0.04)

    def step() -> float:
        with autocast(DEVICE, dtype):
            with torch.no_grad():
                h = target(batch.clips)
                h = F.layer_norm(h, (h.shape[-1],))
            losses = []
            for context, hidden in batch.masks:
                z = predictor(model(batch.clips, masks=[context]), [context], [hidden], mask_index=0)
                losses.append((z - gather_tokens(h, hidden)).abs().mean())
            loss = sum(losses) / len(losses)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            slow, fast = list(target.parameters()), list(model.parameters())
            torch._foreach_mul_(slow, 0.999)
            torch._foreach_add_(slow, fast, alpha=0.001)
        return float(loss.detach())

    return step


def make_ours(encoder: VideoEncoderConfig, batch: MicroBatch, precision: str, compiled: bool) -> Step:
    """Return a training step of ours; the only place here that knows the `Pretrainer`."""
    config = PretrainConfig(
        data=Path(),
        out=Path(),
        encoder=replace(encoder, rope="tiled"),
        predictor_dim=PREDICTOR_DIM,
        predictor_depth=PREDICTOR_DEPTH,
        predictor_heads=12,
        num_frames=NUM_FRAMES,
        masks=MasksConfig(settings=vjepa2_masks()),
        objective=ObjectiveConfig(context_loss_weight=0.0),
        clip_grad_norm=None,
        batch_size=len(batch.clips),
        precision=precision,
        device=DEVICE.type,
        compute=ComputeConfig(compile=compiled),
    )
    trainer = Pretrainer(config)
    return lambda: float(trainer.step(0, [batch])["loss"])


def draw_batch(encoder: VideoEncoderConfig, batch_size: int) -> MicroBatch:
    """Draw noise clips and V-JEPA 2's masks."""
    generator = torch.Generator().manual_seed(0)
    side = encoder.image_size // encoder.patch_size
    clips = torch.randn(batch_size, 3, NUM_FRAMES, encoder.image_size, encoder.image_size, generator=generator)
    grid = (NUM_FRAMES // encoder.tubelet_size, side, side)
    masks = [mask.sample(grid, batch_size, step=0, generator=generator) for mask in vjepa2_masks()]
    return MicroBatch(clips.to(DEVICE), [Mask(*(ids.to(DEVICE) for ids in mask)) for mask in masks])


def count_flops(encoder: VideoEncoderConfig, batch: MicroBatch) -> float:
    """Return what the blocks' products of matrices take in a step; a backward pass counts as two forward passes."""

    def forward(tokens: int, width: int, depth: int) -> float:
        return depth * (24.0 * tokens * width**2 + 4.0 * tokens**2 * width)

    total = forward(encoder.trained_grid[0] * encoder.patch_grid[0] ** 2, encoder.embed_dim, encoder.depth)
    for context, hidden in batch.masks:
        total += 3.0 * forward(context.shape[1], encoder.embed_dim, encoder.depth)
        total += 3.0 * forward(context.shape[1] + hidden.shape[1], PREDICTOR_DIM, PREDICTOR_DEPTH)
    return len(batch.clips) * total


def seconds(run: Callable[[], object]) -> float:
    """Time one call."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    run()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def part_of(event: FunctionEvent) -> str:
    """Return what part of a step an operation belongs to."""
    above = event
    while above is not None:
        if above.name.startswith("Optimizer.step"):
            return "optimizer"
        above = above.cpu_parent
    found = (part for part, names in PARTS.items() if any(name in event.name for name in names))
    return next(found, "elementwise, copies and the rest")


def print_profile(name: str, step: Step) -> None:
    """Print which share of a step's time each part takes."""
    cuda = DEVICE.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as profiler:
        step()
    spent = Counter()
    for event in profiler.events():
        spent[part_of(event)] += event.self_device_time_total if cuda else event.self_cpu_time_total
    shares = ", ".join(f"{part} {time / spent.total():.0%}" for part, time in spent.most_common())
    print(f"    {name}: {shares}")


def compare(precision: str, encoder: VideoEncoderConfig, batch: MicroBatch, options: argparse.Namespace) -> None:
    """Let both take turns in one number format and print how they did."""
    dtype = FORMATS[precision]
    ours = make_ours(encoder, batch, precision, options.compile)
    steps = {"reference": make_reference(encoder, batch, dtype), "ours": ours}
    side = 8192 if DEVICE.type == "cuda" else 2048
    matrix = torch.randn(side, side, device=DEVICE, dtype=dtype)
    runs = steps | {"product": lambda: matrix @ matrix}
    for run in runs.values():
        run()
    times = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            times[name].append(seconds(run))
    best = {name: min(values) for name, values in times.items()}
    median = statistics.median(a / b for a, b in zip(times["reference"], times["ours"], strict=True))
    share = count_flops(encoder, batch) / best["ours"] / (2.0 * side**3 / best["product"])
    print(
        f"  {precision}: reference {best['reference']:.3f} s, ours {best['ours']:.3f} s: "
        f"{best['reference'] / best['ours']:.2f} times its rate (median of rounds {median:.2f}), "
        f"{share:.0%} of the peak of {2e-9 * side**3 / best['product']:.0f} GFLOP/s"
    )
    if options.profile:
        for name, step in steps.items():
            print_profile(name, step)


def main() -> None:
    """Print a table for a case in each number format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", help="folder of a checkout of facebookresearch/vjepa2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--case", choices=CASES, default="ViT-L" if DEVICE.type == "cuda" else "ViT-T")
    parser.add_argument("--batch-size", type=int, default=24 if DEVICE.type == "cuda" else 4)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=["bf16"] if DEVICE.type == "cuda" else FORMATS)
    parser.add_argument("--compile", action="store_true", help="compile the blocks of ours")
    parser.add_argument("--profile", action="store_true", help="print what the time of a step goes into")
    options = parser.parse_args()
    open_checkout(options.checkout)
    encoder = CASES[options.case]
    batch = draw_batch(encoder, options.batch_size)
    shape = f"{encoder.image_size} px, {NUM_FRAMES} frames, batch {options.batch_size}"
    where = torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{options.case}, {shape}, {where}, best of {options.rounds}")
    for precision in options.formats:
        compare(precision, encoder, batch, options)


if __name__ == "__main__":
    main()
