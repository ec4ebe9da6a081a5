"""Which number format and which attention kernel a stage computes with, and on which device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

Precision = Literal["auto", "bf16", "fp32"]


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called `name`; `auto` is the GPU if there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def pick_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Return bfloat16 where the device computes in it natively (or it is asked for), else float32."""
    if precision not in ("auto", "bf16", "fp32"):
        raise ValueError(f"precision must be auto, bf16 or fp32, got {precision!r}")
    if precision == "auto":
        native = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
        precision = "bf16" if native else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def training_attention(device: torch.device) -> AbstractContextManager:
    """Return the context to train attention in.

    On a CPU the backward pass of the fused kernel takes up to four times as long as plain matrix products at the
    sequence lengths of small models (torch 2.13, bf16, 18 to 114 tokens), so training there uses the latter.
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """Return mixed precision for `dtype`, or nothing for float32."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
