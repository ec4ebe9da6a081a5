"""Which number format a stage computes with, and on which device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["auto", "bf16", "fp32"]


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called `name`; `auto` is the GPU if there is one.

    Raises:
        ValueError: if there is no such device on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    known = ["auto", "cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    known += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    known += ["mps"] if torch.backends.mps.is_available() else []
    if name not in known:
        raise ValueError(f"device must be one of {', '.join(known)} on this machine, got {name!r}")
    return torch.device(name)


def pick_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Return bfloat16 where the device computes in it natively (or it is asked for), else float32.

    Raises:
        ValueError: if `precision` is none of the three.
    """
    if precision not in ("auto", "bf16", "fp32"):
        raise ValueError(f"precision must be auto, bf16 or fp32, got {precision!r}")
    if precision == "auto":
        native = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
        precision = "bf16" if native else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """Return mixed precision for `dtype`, or nothing for float32."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
