"""The slow copy of the encoder that makes the targets.

Source: V-JEPA 2 (arXiv 2506.09985), section 2.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def make_target(model: M) -> M:
    """Return a frozen deep copy of `model`, the start of its moving average."""
    return copy.deepcopy(model).requires_grad_(False).eval()


@torch.no_grad()
def update_target(target: nn.Module, model: nn.Module, momentum: float) -> None:
    """Move every parameter of `target` towards `model`: target = momentum * target + (1 - momentum) * model."""
    torch._foreach_lerp_(list(target.parameters()), list(model.parameters()), 1.0 - momentum)
