"""One step of a published probe at its full size: seconds and peak memory of encoding a batch and of training on it.

    python benchmarks/bench_probe.py [--head attentive-4] [--num-settings 1] [--batch-size 1] [--steps 2] [--device cpu]

A frozen ViT-L of random weights sees clips of 16 frames at 256 px, 2,048 tokens, in the format that `auto` picks;
its features are rounded as `classify` keeps them, and a head of 174 classes (Something-Something v2) takes a step for
each of its settings. Times of the first step and of the fastest later one: processor time and clock on a CPU, the clock
on a GPU. Memory is the most that the process has held, or on a GPU the most that torch has.
"""

from __future__ import annotations

import argparse
import resource
import time
from functools import partial

import torch
from torch import Tensor

from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import vit_large
from vjepa_wm.models.precision import pick_device, pick_dtype
from vjepa_wm.training.classification.encoded_items import make_encode
from vjepa_wm.training.classification.head_grid import HeadGrid, HeadSetting
from vjepa_wm.training.classification.heads import FeatureForm, make_head
from vjepa_wm.training.run.distributed import World

NUM_CLASSES = 174
RATES, DECAYS = (5e-3, 3e-3, 1e-3, 3e-4, 1e-4), (0.01, 0.1, 0.4, 0.8)


def seconds(begin: tuple[float, float]) -> tuple[float, float]:
    """Return processor time and clock since `begin`, which is such a pair, or (0, 0)."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.process_time() - begin[0], time.perf_counter() - begin[1]


def peak_gib(device: torch.device) -> float:
    """Return the most memory held so far [GiB]."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Print what each part takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head", default="attentive-4", choices=["linear", "attentive-1", "attentive-4"])
    parser.add_argument("--num-settings", type=int, default=1, help="rates and decays at once; the paper has 20")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = pick_device(options.device)
    dtype = pick_dtype(options.precision, device)
    config = vit_large(256)
    torch.manual_seed(0)
    encoder = VideoEncoder(config).eval().requires_grad_(False).to(device)
    form = FeatureForm(num_clips=1, num_views=1, class_token=False)
    encode = make_encode(encoder, form, 1, options.batch_size, dtype)
    settings = [
        HeadSetting(kind=options.head, learning_rate=rate, weight_decay=decay) for rate in RATES for decay in DECAYS
    ][: options.num_settings]
    classes = {"class": tuple(map(str, range(NUM_CLASSES)))}
    make = partial(make_head, encoder=config, classes=classes)
    grid = HeadGrid(settings, make, seed=0, device=device, world=World())
    trained = sum(parameter.numel() for parameter in grid.heads[0].parameters())
    frozen = sum(parameter.numel() for parameter in encoder.parameters())
    print(f"{frozen:,} frozen parameters in {dtype}, {len(settings)} {options.head} of {trained:,}; ", end="")
    print(f"{torch.get_num_threads()} threads, {peak_gib(device):.2f} GiB so far", flush=True)
    labels = torch.zeros(options.batch_size, 1, dtype=torch.int64, device=device)
    times: dict[str, list[tuple[float, float]]] = {"encode": [], "train": []}
    peaks = {}
    for step in range(options.steps):
        views = torch.randn(options.batch_size, 1, 3, 16, 256, 256)
        begin = seconds((0.0, 0.0))
        features: Tensor = encode(views).to("cpu", torch.float16).to(device).float()
        times["encode"].append(seconds(begin))
        peaks.setdefault("encode", peak_gib(device))
        begin = seconds((0.0, 0.0))
        losses = grid.step(step, options.steps, features, labels, form)
        times["train"].append(seconds(begin))
        peaks["train"] = peak_gib(device)
        assert torch.isfinite(losses).all()
    for part, spent in times.items():
        fastest = min(spent[1:] or spent)
        print(
            f"  {part:8} first {spent[0][0]:7.2f} s of processor ({spent[0][1]:7.2f} s), later {fastest[0]:7.2f} s "
            f"({fastest[1]:7.2f} s), peak {peaks[part]:5.2f} GiB"
        )


if __name__ == "__main__":
    main()
