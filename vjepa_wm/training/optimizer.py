"""The optimizer of both training stages.

Source: V-JEPA 2 (arXiv 2506.09985), appendix: AdamW, no decay on biases and one-dimensional parameters.
"""

from __future__ import annotations

import torch
from torch import nn


def make_optimizer(modules: list[nn.Module], weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters of `modules`; matrices decay, biases and 1-D parameters do not."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8)


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set the rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = value
