"""Count what a step of a training computes: matrix products, convolutions and attention, forward and backward.

Usage: count_flops.py pretrain|train-ac|train-proposal|train-looks --data ... (options of the command, without --out)

Two short runs of the command differ by ten steps and by nothing else, so what is done once (encoding, validation)
counts for nothing. A multiplication and an addition are two operations.
"""

import sys
import tempfile
from contextlib import redirect_stdout
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from vjepa_wm.cli import main

FEW, MANY = 2, 12
"""Steps of the two runs."""


def attention(query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Return the operations of attention from the shapes of (..., N, D) and (..., M, D)."""
    return 4 * prod(query) * key[-2]


def attention_backward(grad: Any, query: Any, key: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Return the operations of its gradients, for which the products of queries and keys are computed again."""
    return 10 * prod(query) * key[-2]


MAPPING = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward,
}
"""What torch has no formula for."""


def count(command: list[str], steps: int) -> int:
    """Run a training in a folder of its own and return what it computed."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        counter = FlopCounterMode(display=False, custom_mapping=MAPPING)
        with counter:
            failed = main([*command, "--out", str(Path(folder) / "run"), "--steps", str(steps), "--log-every", "1000"])
    if failed:
        raise SystemExit(failed)
    return int(counter.get_total_flops())


step = (count(sys.argv[1:], MANY) - count(sys.argv[1:], FEW)) / (MANY - FEW)
print(f"{sys.argv[1]}: {step / 1e9:.2f} GFLOP a step")
