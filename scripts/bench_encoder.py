"""Time and memory of the encoder against facebookresearch/vjepa2, side by side in one run.

    python scripts/bench_encoder.py CHECKOUT [--rounds 3] [--profile]

Both have the same random weights and see the same clip; they take turns and the best round of each counts. Peak memory
is that of a process of its own which builds the model and encodes once. On a GPU the giant model is measured too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path

import torch
from torch import nn

from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig, vit_giant, vit_large, vit_tiny

CASES = {"ViT-L 256 px, 16 frames": (vit_large(256), 16), "ViT-T 128 px, 16 frames": (vit_tiny(128), 16)}
GPU_CASES = {"ViT-g 384 px, 64 frames": (vit_giant(384), 64)}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def build_reference(checkout: str, config: VideoEncoderConfig, num_frames: int) -> nn.Module:
    """Build the reference's model of the same size, with tiled positions."""
    sys.path.insert(0, checkout)
    timm = types.ModuleType("timm.models.layers")
    timm.drop_path = None
    sys.modules |= {"timm": timm, "timm.models": timm, "timm.models.layers": timm}
    from src.models.vision_transformer import VisionTransformer

    size = {"embed_dim": config.embed_dim, "depth": config.depth, "num_heads": config.num_heads}
    norm = lambda width: nn.LayerNorm(width, eps=1e-6)  # noqa: E731
    return VisionTransformer(
        img_size=config.image_size,
        num_frames=num_frames,
        mlp_ratio=config.mlp_ratio,
        use_rope=True,
        norm_layer=norm,
        **size,
    ).eval()


def build_ours(config: VideoEncoderConfig, weights: dict[str, torch.Tensor] | None = None) -> VideoEncoder:
    """Build our model with tiled positions."""
    import dataclasses

    model = VideoEncoder(dataclasses.replace(config, rope="tiled")).eval()
    if weights is not None:
        model.load_state_dict(weights)
    return model


def seconds(run: object) -> float:
    """Time one call."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    run()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def peak_memory(which: str, checkout: str, case: str) -> float:
    """Return the peak resident memory [GiB] of a process that encodes once."""
    command = [sys.executable, __file__, checkout, "--memory-of", which, "--case", case]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def peak_of_this_process() -> float:
    """Return the peak resident memory [GiB]; getrusage would count what the parent held before exec."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20


def measure(checkout: str, title: str, config: VideoEncoderConfig, num_frames: int, rounds: int) -> None:
    """Print one table."""
    theirs = build_reference(checkout, config, num_frames).to(DEVICE)
    ours = build_ours(config, theirs.state_dict()).to(DEVICE)
    rough = build_ours(config, theirs.state_dict()).to(DEVICE, torch.bfloat16)
    clip = torch.randn(1, 3, num_frames, config.image_size, config.image_size, device=DEVICE)
    runs = {
        "reference fp32": lambda: theirs(clip),
        "ours fp32": lambda: ours(clip),
        "ours bf16": lambda: rough(clip.bfloat16()),
    }
    results = {name: run() for name, run in runs.items()}
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            best[name] = min(best[name], seconds(run))
    print(f"{title}, {torch.get_num_threads()} threads, best of {rounds}")
    for name, value in best.items():
        print(f"  {name:16} {value:8.3f} s   {value / best['reference fp32']:.2f} of the reference's fp32")
    exact = results["ours fp32"]
    cosine = torch.nn.functional.cosine_similarity(exact, results["ours bf16"].float(), dim=-1)
    print(f"  bf16 over fp32, ours: {best['ours bf16'] / best['ours fp32']:.2f}")
    print(
        f"  features, ours against the reference: largest difference {(exact - results['reference fp32']).abs().max():.1e}"
    )
    print(
        f"  features, bf16 against fp32: cosine {cosine.mean():.5f} on average, {cosine.min():.5f} for the worst token"
    )
    if DEVICE == "cpu":
        memory = {which: peak_memory(which, checkout, title) for which in ("reference", "ours")}
        print(f"  peak memory: ours {memory['ours']:.2f} GiB, reference {memory['reference']:.2f} GiB")


def profile(config: VideoEncoderConfig, num_frames: int) -> None:
    """Print the share of the time that turning queries and keys takes."""
    import vjepa_wm.models.layers as layers

    model = build_ours(config)
    clip = torch.randn(1, 3, num_frames, config.image_size, config.image_size)
    spent, apply_rotary = [], layers.apply_rotary

    def timed(x: torch.Tensor, tables: object) -> torch.Tensor:
        begin = time.perf_counter()
        result = apply_rotary(x, tables)
        spent.append(time.perf_counter() - begin)
        return result

    model(clip)
    layers.apply_rotary = timed
    shares = []
    for _ in range(3):
        spent.clear()
        total = seconds(lambda: model(clip))
        shares.append(sum(spent) / total)
    layers.apply_rotary = apply_rotary
    print(f"  rotation of queries and keys: {100 * min(shares):.1f} % of the forward pass")


@torch.no_grad()
def main() -> None:
    """Measure all cases, or the memory of one."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case")
    parser.add_argument("--memory-of")
    options = parser.parse_args()
    cases = CASES if DEVICE == "cpu" else CASES | GPU_CASES
    if options.memory_of:
        config, num_frames = CASES[options.case]
        theirs = options.memory_of == "reference"
        model = build_reference(options.checkout, config, num_frames) if theirs else build_ours(config)
        model(torch.randn(1, 3, num_frames, config.image_size, config.image_size))
        print(peak_of_this_process())
        return
    for title, (config, num_frames) in cases.items():
        if options.case in (None, title):
            measure(options.checkout, title, config, num_frames, options.rounds)
            profile(config, num_frames)


if __name__ == "__main__":
    main()
