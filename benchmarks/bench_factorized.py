"""Factorised attention beside joint attention where training spends its time: forward and backward, in one run.

    python benchmarks/bench_factorized.py [--rounds 3] [--width 192] [--preset vjepa2] [--device cpu]

A ViT of 12 blocks, half of them over time, sees clips of 16 frames at 224 px, 1,568 tokens: the visible tokens of each
mask, all tokens, and all tokens beside a class token; the last rows are all passes of a training step, whose targets
need no backward pass. `joint` attends to all tokens, `masked` is factorised attention as a mask over all pairs,
`grouped` is what the encoder does. `floor` does not attend at all: queries, keys and values are added up, and what is
left (projections, rotation, MLPs, norms) no form of attention can save. They take turns; the least processor time of
each counts (on a GPU the least time), which other work on the machine disturbs less than the clock. Memory is what the
forward pass keeps for the backward pass.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from vjepa_wm.data.masks.samplers import MaskPreset, preset_masks
from vjepa_wm.models import encoder as encoder_module
from vjepa_wm.models import layers as layers_module
from vjepa_wm.models.attention import attend
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig, vit_tiny
from vjepa_wm.models.factorized import group_mask, token_groups

FORMS = {"joint": token_groups, "masked": group_mask, "grouped": token_groups, "floor": token_groups}


def seconds(run: Callable[[], None], device: str) -> float:
    """Time one call: processor time on a CPU, the clock on a GPU."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    if device == "cuda":
        torch.cuda.synchronize()
    begin = clock()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - begin


def forward(model: VideoEncoder, clip: Tensor, kept: list[Tensor | None], with_targets: bool) -> Tensor:
    """Encode the tokens that each of `kept` says, before that all of them without gradients if asked for."""
    if with_targets:
        with torch.no_grad():
            model(clip)
    return torch.stack([model(clip, ids).square().mean() for ids in kept]).sum()


def no_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Take the place of `attend` at next to no cost, with a gradient for each of the three."""
    return q + k + v


def kept_memory(model: VideoEncoder, run: Callable[[VideoEncoder], Tensor]) -> float:
    """Return what a forward pass keeps for the backward pass, without the weights [MiB]."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = run(model)
    del out
    return sum(kept.values()) / 2**20


def measure(
    config: VideoEncoderConfig, run: Callable[[VideoEncoder], Tensor], rounds: int, device: str
) -> dict[str, tuple[float, float]]:
    """Return seconds and MiB of each form."""
    joint = replace(config, temporal_depth=0)
    models = {form: VideoEncoder(joint if form in ("joint", "floor") else config) for form in FORMS}
    results = dict.fromkeys(FORMS, (float("inf"), 0.0))
    for _ in range(rounds):
        for form, model in models.items():
            model.to(device)
            encoder_module.token_groups = FORMS[form]
            layers_module.attend = no_attention if form == "floor" else attend
            spent = seconds(lambda model=model: run(model).backward(), device)
            results[form] = min(results[form][0], spent), results[form][1] or kept_memory(model, run)
    encoder_module.token_groups, layers_module.attend = token_groups, attend
    return results


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=192, help="of the tokens; heads have 64 channels")
    parser.add_argument("--preset", default="vjepa2", help="masks, as of pretrain --masks.preset")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="rows to measure, by the beginnings of their names")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    size = {"embed_dim": options.width, "num_heads": options.width // 64, "temporal_depth": 6}
    config = replace(vit_tiny(224), num_frames=16, **size)
    clip = torch.randn(options.batch_size, 3, 16, 224, 224, device=options.device)
    preset: MaskPreset = options.preset
    cases: dict[str, tuple[VideoEncoderConfig, list[Tensor | None], bool]] = {}
    visible: list[Tensor | None] = []
    for number, mask in enumerate(preset_masks(preset)):
        drawn = mask.sample(config.trained_grid, len(clip), step=0, generator=torch.Generator().manual_seed(0))
        visible.append(drawn.context_ids.to(options.device))
        cases[f"mask {number}, {drawn.context_ids.shape[1]} tokens"] = config, visible[-1:], False
    with_class = replace(config, class_token=True)
    cases["all, 1568 tokens"] = config, [None], False
    cases["class token, 1569 tokens"] = with_class, [None], False
    cases["step"] = config, visible, True
    cases["step with class token"] = with_class, visible, True
    print(f"{options.width} wide, batch {len(clip)}, {torch.get_num_threads()} threads, best of {options.rounds}")
    for name, (form, kept, with_targets) in cases.items():
        if options.only and not name.startswith(tuple(options.only)):
            continue
        run = partial(forward, clip=clip, kept=kept, with_targets=with_targets)
        results = measure(form, run, options.rounds, options.device)
        joint = results["joint"]
        for title, (spent, memory) in results.items():
            ratios = f"{spent / joint[0]:5.2f} {memory / joint[1]:5.2f} of joint"
            print(f"  {name:26} {title:8} {spent:8.3f} s {memory:8.1f} MiB  {ratios}", flush=True)


if __name__ == "__main__":
    main()
