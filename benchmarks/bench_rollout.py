"""Time and memory of the rollout against the planning loop of facebookresearch/vjepa2, side by side in one run.

    VJEPA2_CHECKOUT=FOLDER python benchmarks/bench_rollout.py [--horizons 1 4 8] [--rounds 5]
    python benchmarks/bench_rollout.py --actions giant [--device cuda] [--horizons 1 2] [--max-batch 400]

The first takes the same random weights, runs one iteration of the reference's own loop (`notebooks/utils/mpc_utils.py`,
in float32, as its notebook does), and puts the candidates it drew through ours, to the energies of the last frames. The
two take turns, and the ratio is the median of the rounds', which a machine shared with others disturbs less than a
ratio of best times. Memory is by how much one call raises the peak of a process of its own. The reference needs scipy
for its poses; where that is missing it gets ours, which are faster.

The second plans actions with V-JEPA 2-AC's sizes and random weights: seconds for each, and which share of the rate of a
large matrix product its own matrix products reach.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from reference_checkout import open_checkout
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.energy import l1_energy
from vjepa_wm.models.pose import integrate_pose
from vjepa_wm.models.precision import pick_device, pick_dtype
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig
from vjepa_wm.planners import CEM, vjepa2_box
from vjepa_wm.planners.cem import vjepa2

HOW = "set VJEPA2_CHECKOUT to a checkout: git clone https://github.com/facebookresearch/vjepa2"
CPU = torch.device("cpu")
HAS_SCIPY = importlib.util.find_spec("scipy") is not None  # before a stand-in takes its place
SMALL = ActionConditionedPredictorConfig(encoder_dim=192, embed_dim=192, depth=4, num_heads=3, rope="tiled")
SIZES = {  # predictor, pixels of a side, search
    "small": (SMALL, 96, replace(vjepa2(), num_samples=128, iterations=6)),
    "giant": (ActionConditionedPredictorConfig(encoder_dim=1408), 256, vjepa2()),
}


class Reference:
    """The reference's planner, which remembers what its predictor was last asked and what that answered."""

    def __init__(self, checkout: str) -> None:
        """Draw weights that make actions count."""
        open_checkout(checkout)
        logging.disable(logging.INFO)
        self.poses = "scipy" if HAS_SCIPY else "ours"
        if self.poses == "ours":
            stand_in: Any = types.ModuleType("scipy")
            stand_in.Rotation = None
            sys.modules |= dict.fromkeys(("scipy", "scipy.spatial", "scipy.spatial.transform"), stand_in)
        from notebooks.utils import world_model_wrapper
        from src.models.ac_predictor import vit_ac_predictor

        if self.poses == "ours":
            world_model_wrapper.compute_new_pose = integrate_pose
        size = {"embed_dim": SMALL.encoder_dim, "predictor_embed_dim": SMALL.embed_dim, "depth": SMALL.depth}
        torch.manual_seed(0)
        self.predictor = vit_ac_predictor(img_size=(96, 96), num_frames=20, num_heads=SMALL.num_heads, **size).eval()
        for parameter in self.predictor.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        self._planner = world_model_wrapper.WorldModel
        self.actions = self.answer = torch.empty(0)

    def _predict(self, z: Tensor, actions: Tensor, states: Tensor) -> Tensor:
        self.actions, self.answer = actions, self.predictor(z, actions, states)
        return self.answer

    def plan(self, horizon: int, z: Tensor, z_goal: Tensor, pose: Tensor) -> None:
        """Run one iteration of its search; then `actions` are its candidates (K, H, 7)."""
        options = {"rollout": horizon, "samples": 128, "topk": 10, "cem_steps": 1}
        planner = self._planner(None, self._predict, z.shape[2], None, options, device="cpu")
        planner.infer_next_action(z, pose, z_goal)


def build_ours(predictor: ActionConditionedPredictorConfig, image_size: int) -> WorldModel:
    """Build a world model; its encoder, which nothing here runs, is only of the right width."""
    encoder = VideoEncoderConfig(image_size=image_size, embed_dim=predictor.encoder_dim, depth=1, num_heads=1)
    return WorldModel(WorldModelConfig(encoder=encoder, predictor=predictor)).eval()


def draw_scene(size: str, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Draw latents of a picture and of a goal (1, 1, N, D), and a pose (1, 1, 7)."""
    config, side, _ = SIZES[size]
    z, z_goal = F.layer_norm(torch.randn(2, 1, 1, (side // 16) ** 2, config.encoder_dim), (config.encoder_dim,))
    return z.to(device), z_goal.to(device), torch.tensor([[[0.4, 0.1, 0.3, 0.2, -0.1, 0.3, 0.5]]], device=device)


def imagine(model: WorldModel, z: Tensor, z_goal: Tensor, pose: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the latents after the last of the actions (K, H, 7), and their energies."""
    imagined = model.rollout(z, pose, actions, last_only=True)[:, 0]
    return imagined, l1_energy(imagined, z_goal[0, 0])


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Time one call."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def make_pair(checkout: str) -> tuple[Reference, WorldModel]:
    """Build the reference and ours with its weights."""
    reference, model = Reference(checkout), build_ours(SMALL, 96)
    weights = reference.predictor.state_dict()
    model.predictor.load_state_dict({name: weights[name] for name in model.predictor.state_dict()})
    return reference, model


def peak_growth(checkout: str, which: str, horizon: int, dtype: torch.dtype) -> float:
    """Return by how much one call raises the peak of this process's resident memory [MiB]."""
    reference, model = make_pair(checkout)
    model.predictor.to(dtype)
    scene = draw_scene("small", CPU)
    runs = {
        "reference": partial(reference.plan, horizon, *scene),
        "ours": partial(imagine, model, *scene, 0.05 * torch.randn(128, horizon, 7)),
    }
    before = _resident_peak()
    runs[which]()
    return _resident_peak() - before


def _resident_peak() -> float:
    """Return this process's peak of resident memory [MiB]; getrusage would count its parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**10


def compare(checkout: str, options: argparse.Namespace) -> None:
    """Print a row for each number format and horizon."""
    reference, exact = make_pair(checkout)
    auto = pick_dtype("auto", CPU)
    print(f"4 x 192, 36 tokens, 128 candidates, {torch.get_num_threads()} threads, reference with poses of ", end="")
    print(f"{reference.poses}; auto is {str(auto).removeprefix('torch.')} here; median (and range) of {options.rounds}")
    print("format  horizon  reference s  ours s  ratio           largest difference  peak MiB: reference  ours")
    for dtype in dict.fromkeys((torch.float32, auto)):
        model = make_pair(checkout)[1] if dtype != torch.float32 else exact
        model.predictor.to(dtype)
        for horizon in options.horizons:
            scene = draw_scene("small", CPU)
            theirs = partial(reference.plan, horizon, *scene)
            theirs()
            ours = partial(imagine, model, *scene, reference.actions)
            expected = F.layer_norm(reference.answer[:, -scene[0].shape[2] :], scene[0].shape[3:])
            difference = (ours()[0] - expected).abs().max().item()
            times = [(seconds(theirs, CPU), seconds(ours, CPU)) for _ in range(options.rounds)]
            ratios = [a / b for a, b in times]
            name = str(dtype).removeprefix("torch.")
            command = [sys.executable, __file__, "--horizons", str(horizon), "--dtype", name]
            memory = [
                float(subprocess.run([*command, "--memory-of", which], check=True, capture_output=True).stdout)
                for which in ("reference", "ours")
            ]
            print(
                f"{name:8} {horizon:6} {statistics.median(a for a, _ in times):12.2f}"
                f" {statistics.median(b for _, b in times):7.2f} {statistics.median(ratios):6.1f}"
                f" ({min(ratios):.1f}-{max(ratios):.1f}) {difference:18.1e} {memory[0]:20.0f} {memory[1]:5.0f}",
                flush=True,
            )


def count_flops(run: Callable[[], object]) -> float:
    """Count the operations of matrix products in a call, made by this thread alone so that all are seen."""

    def attention(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(q, k, v)

    fused_on_cpu = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention}
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with FlopCounterMode(display=False, custom_mapping=fused_on_cpu) as counter:
        run()
    torch.set_num_threads(num_threads)
    return float(counter.get_total_flops())


def plan_actions(size: str, options: argparse.Namespace) -> None:
    """Print a row for each horizon."""
    device = pick_device(options.device)
    dtype = pick_dtype("auto", device)
    config, side, search = SIZES[size]
    search = replace(search, max_batch=options.max_batch)
    model = build_ours(config, side).to(device, dtype)
    scene, box = draw_scene(size, device), vjepa2_box().to(device)
    matrix = torch.randn((8192, 8192) if device.type == "cuda" else (2048, 2048), device=device, dtype=dtype)
    product = partial(torch.mm, matrix, matrix)
    rate = 2.0 * len(matrix) ** 3 / min(seconds(product, device) for _ in range(10))
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{size}, {search.num_samples} samples x {search.iterations} iterations, {where}, {dtype}")
    print(f"matrix product: {rate / 1e12:.2f} TFLOP/s\nhorizon  s/action  TFLOP  share of the product's rate")
    for horizon in options.horizons:
        batch = min(options.max_batch or search.num_samples, search.num_samples)
        some = 0.05 * torch.randn(batch, horizon, 7, device=device)
        flops = count_flops(partial(imagine, model, *scene, some)) * search.num_samples / batch * search.iterations
        plan = partial(
            CEM(search).plan,
            lambda actions: imagine(model, *scene, actions)[1],
            horizon=horizon,
            action_space=box,
            generator=torch.Generator(),
        )
        plan()
        spent = statistics.median(seconds(plan, device) for _ in range(options.rounds))
        print(f"{horizon:7} {spent:9.3f} {flops / 1e12:6.2f} {flops / spent / rate:8.0%}", flush=True)


@torch.no_grad()
def main() -> None:
    """Compare with the reference, or plan actions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--horizons", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--actions", choices=SIZES, help="plan actions at this size, without the reference")
    parser.add_argument("--device", default="cpu", help="for --actions")
    parser.add_argument("--max-batch", type=int, help="for --actions: most candidates at once, which bounds memory")
    parser.add_argument("--memory-of", choices=("reference", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.manual_seed(0)
    checkout = os.environ.get("VJEPA2_CHECKOUT")
    if options.actions:
        plan_actions(options.actions, options)
    elif checkout is None:
        print(f"no comparison of rollouts: {HOW}")
    elif options.memory_of:
        print(peak_growth(checkout, options.memory_of, options.horizons[0], getattr(torch, options.dtype)))
    else:
        compare(checkout, options)


if __name__ == "__main__":
    main()
