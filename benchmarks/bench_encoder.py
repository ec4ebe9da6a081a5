"""Time and memory of the encoder against facebookresearch/vjepa2, side by side in one run.

    python benchmarks/bench_encoder.py CHECKOUT [--rounds 5] [--case ViT-L]

All have the same random weights and see the same clip; they take turns and the best round of each counts. On a CPU,
float32 and bf16 of ViT-L and ViT-T, and the peak memory of a process that builds the model and encodes once; on a GPU,
bf16 of ViT-g at 384 px with 64 frames.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from reference_checkout import open_checkout
from torch import Tensor, nn

from vjepa_wm.models import layers
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig, vit_giant, vit_large, vit_tiny

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CPU_CASES = {"ViT-L": (vit_large(256), 16), "ViT-T": (vit_tiny(128), 16)}
CASES = {"ViT-g": (vit_giant(384), 64)} if DEVICE == "cuda" else CPU_CASES
Run = Callable[[], Tensor]


def build_reference(config: VideoEncoderConfig, num_frames: int) -> nn.Module:
    """Build the reference's model of the same size."""
    from src.models.vision_transformer import VisionTransformer

    size = {"embed_dim": config.embed_dim, "depth": config.depth, "num_heads": config.num_heads}
    form = {"mlp_ratio": config.mlp_ratio, "use_rope": True, "norm_layer": partial(nn.LayerNorm, eps=1e-6)}
    return VisionTransformer(img_size=config.image_size, num_frames=num_frames, **size, **form).eval()


def build_ours(config: VideoEncoderConfig) -> VideoEncoder:
    """Build ours, with the reference's form of positions."""
    return VideoEncoder(replace(config, rope="tiled")).eval()


def seconds(run: Run) -> float:
    """Time one call."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    run()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def make_runs(config: VideoEncoderConfig, num_frames: int) -> dict[str, tuple[Run, torch.dtype]]:
    """Return what takes turns; the first is what the others are compared with."""
    theirs, ours = build_reference(config, num_frames).to(DEVICE), build_ours(config).to(DEVICE)
    ours.load_state_dict(theirs.state_dict())
    rough = build_ours(config).to(DEVICE, torch.bfloat16)
    rough.load_state_dict(theirs.state_dict())
    clip = torch.randn(1, 3, num_frames, config.image_size, config.image_size, device=DEVICE)
    if DEVICE == "cpu":
        return {
            "reference fp32": (partial(theirs, clip), torch.float32),
            "ours fp32": (partial(ours, clip), torch.float32),
            "ours bf16": (partial(rough, clip.bfloat16()), torch.bfloat16),
        }

    def reference_bf16() -> Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            return theirs(clip)

    return {
        "reference bf16": (reference_bf16, torch.bfloat16),
        "ours bf16": (partial(rough, clip.bfloat16()), torch.bfloat16),
        "ours bf16, compiled": (partial(torch.compile(rough), clip.bfloat16()), torch.bfloat16),
    }


def count_operations(config: VideoEncoderConfig, num_frames: int) -> float:
    """Count the multiplications and additions of matrix products in one pass over a clip."""
    tokens = num_frames // config.tubelet_size * (config.image_size // config.patch_size) ** 2
    hidden = layers.hidden_width(config.embed_dim, config.mlp_ratio, config.activation)
    per_token = 2 * config.embed_dim * (4 * config.embed_dim + 2 * hidden) + 4 * tokens * config.embed_dim
    return float(config.depth * tokens * per_token)


def matrix_rate(dtype: torch.dtype) -> float:
    """Return the rate of a large matrix product [operations/s]."""
    side = 8192 if DEVICE == "cuda" else 2048
    a, b = torch.randn(2, side, side, device=DEVICE).to(dtype)
    return 2 * side**3 / min(seconds(partial(torch.mm, a, b)) for _ in range(10))


def measure(name: str, config: VideoEncoderConfig, num_frames: int, rounds: int) -> None:
    """Print one table."""
    runs = make_runs(config, num_frames)
    results = {title: run() for title, (run, _) in runs.items()}
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for title, (run, _) in runs.items():
            best[title] = min(best[title], seconds(run))
    rates = {dtype: matrix_rate(dtype) for _, dtype in runs.values()}
    first = next(iter(runs))
    where = torch.cuda.get_device_name() if DEVICE == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{name}, {config.image_size} px, {num_frames} frames, {where}, best of {rounds}")
    for title, (_, dtype) in runs.items():
        share = count_operations(config, num_frames) / best[title] / rates[dtype]
        speed = f"{best[title]:8.3f} s  {best[title] / best[first]:5.2f} of {first}"
        print(f"  {title:20} {speed}  {100 * share:4.0f} % of the matrix rate")
    for title in list(runs)[1:]:
        expected, found = results[first].float(), results[title].float()
        cosine = torch.nn.functional.cosine_similarity(expected, found, dim=-1)
        largest = (expected - found).abs().max()
        print(f"  {title} against {first}: largest difference {largest:.1e}, cosine {cosine.mean():.5f}")
    if DEVICE == "cpu":
        print(f"  ours, bf16 over fp32: {best['ours bf16'] / best['ours fp32']:.2f}")


def rotation_share(config: VideoEncoderConfig, num_frames: int) -> float:
    """Return the share of our pass that turning queries and keys takes; the least of three passes."""
    model, rotate, spent = build_ours(config), layers.apply_rotary, []
    clip = torch.randn(1, 3, num_frames, config.image_size, config.image_size)

    def timed(*arguments: Tensor) -> Tensor:
        begin = time.perf_counter()
        result = rotate(*arguments)
        spent.append(time.perf_counter() - begin)
        return result

    layers.apply_rotary = timed
    shares = []
    for _ in range(3):
        spent.clear()
        total = seconds(partial(model, clip))
        shares.append(sum(spent) / total)
    layers.apply_rotary = rotate
    return min(shares)


def peak_memory(which: str, checkout: str, name: str) -> float:
    """Return the peak resident memory [GiB] of a process of its own."""
    command = [sys.executable, __file__, checkout, "--memory-of", which, "--case", name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def encode_once(which: str, config: VideoEncoderConfig, num_frames: int) -> None:
    """Encode one clip and print this process's peak memory [GiB]; getrusage would count its parent's too."""
    model = build_reference(config, num_frames) if which == "reference" else build_ours(config)
    model(torch.randn(1, 3, num_frames, config.image_size, config.image_size))
    lines = Path("/proc/self/status").read_text().splitlines()
    print(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20)


@torch.no_grad()
def main() -> None:
    """Measure all cases, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", help="folder of a checkout of facebookresearch/vjepa2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--memory-of", choices=("ours", "reference"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    open_checkout(options.checkout)
    if options.memory_of:
        encode_once(options.memory_of, *CASES[options.case])
        return
    for name in [options.case] if options.case else CASES:
        measure(name, *CASES[name], options.rounds)
        if DEVICE == "cpu":
            ours, theirs = (peak_memory(which, options.checkout, name) for which in ("ours", "reference"))
            print(f"  peak memory: ours {ours:.3f} GiB, reference {theirs:.3f} GiB")
            print(f"  rotation of queries and keys: {100 * rotation_share(*CASES[name]):.1f} % of our fp32 pass")


if __name__ == "__main__":
    main()
