"""Seconds per pretraining step against facebookresearch/vjepa2, side by side in one run, data loading left out.

    python scripts/bench_pretrain.py CHECKOUT [--rounds 5] [--case ViT-T] [--batch-size 4]

Same model, clips, masks (V-JEPA 2's two settings), batch, optimizer, target update and number format; both take turns
and the best round of each counts.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from reference_checkout import open_checkout
from torch import nn

from vjepa_wm.data.multi_block import vjepa2_masks
from vjepa_wm.models.encoder_config import VideoEncoderConfig, vit_large, vit_tiny
from vjepa_wm.models.precision import autocast
from vjepa_wm.models.tubelets import gather_tokens
from vjepa_wm.training.pretrain_config import PretrainConfig
from vjepa_wm.training.pretrainer import Batch, Pretrainer

CASES = {"ViT-T": vit_tiny(128), "ViT-L": vit_large(256)}
NUM_FRAMES = 16


def make_reference(encoder: VideoEncoderConfig, batch: Batch, dtype: torch.dtype) -> Callable[[], float]:
    """Return a training step of the reference's networks, put together as its training script does."""
    from src.models.predictor import vit_predictor
    from src.models.vision_transformer import VisionTransformer

    norm = partial(nn.LayerNorm, eps=1e-6)
    size = {"img_size": encoder.image_size, "num_frames": NUM_FRAMES, "use_rope": True}
    form = {"embed_dim": encoder.embed_dim, "depth": encoder.depth, "num_heads": encoder.num_heads, "norm_layer": norm}
    model = VisionTransformer(**size, **form)
    predictor = vit_predictor(
        **size, embed_dim=encoder.embed_dim, predictor_embed_dim=384, depth=12, use_mask_tokens=True, num_mask_tokens=2
    )
    target = copy.deepcopy(model).requires_grad_(False)
    parameters = [*model.parameters(), *predictor.parameters()]
    groups = [{"params": [p for p in parameters if (p.dim() > 1) == wide]} for wide in (True, False)]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, weight_decay=0.04)

    def step() -> float:
        with autocast(torch.device("cpu"), dtype):
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


def make_ours(encoder: VideoEncoderConfig, batch: Batch, precision: str) -> Callable[[], float]:
    """Return a training step of ours."""
    config = PretrainConfig(
        data=Path(),
        out=Path(),
        encoder=replace(encoder, rope="tiled"),
        predictor_dim=384,
        predictor_depth=12,
        predictor_heads=12,
        num_frames=NUM_FRAMES,
        context_loss_weight=0.0,
        batch_size=len(batch.clips),
        precision=precision,
    )
    trainer = Pretrainer(config)
    return lambda: float(trainer.step(0, batch)["loss"])


def draw_batch(encoder: VideoEncoderConfig, batch_size: int) -> Batch:
    """Draw noise clips and V-JEPA 2's masks."""
    generator = torch.Generator().manual_seed(0)
    side = encoder.image_size // encoder.patch_size
    clips = torch.randn(batch_size, 3, NUM_FRAMES, encoder.image_size, encoder.image_size, generator=generator)
    grid = (NUM_FRAMES // encoder.tubelet_size, side, side)
    return Batch(clips, [mask.sample(grid, batch_size, step=0, generator=generator) for mask in vjepa2_masks()])


def main() -> None:
    """Print a table for each case and number format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", help="folder of a checkout of facebookresearch/vjepa2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--case", choices=CASES, default="ViT-T")
    parser.add_argument("--batch-size", type=int, default=4)
    options = parser.parse_args()
    open_checkout(options.checkout)
    encoder = CASES[options.case]
    batch = draw_batch(encoder, options.batch_size)
    shape = f"{encoder.image_size} px, {NUM_FRAMES} frames, batch {options.batch_size}"
    print(f"{options.case}, {shape}, {torch.get_num_threads()} threads, best of {options.rounds}")
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        steps = {"reference": make_reference(encoder, batch, dtype), "ours": make_ours(encoder, batch, precision)}
        best = dict.fromkeys(steps, float("inf"))
        for _ in range(options.rounds + 1):
            for name, step in steps.items():
                begin = time.perf_counter()
                step()
                best[name] = min(best[name], time.perf_counter() - begin)
        ratio = best["reference"] / best["ours"]
        print(
            f"  {precision}: reference {best['reference']:.3f} s, ours {best['ours']:.3f} s, {ratio:.2f} times its rate"
        )


if __name__ == "__main__":
    main()
