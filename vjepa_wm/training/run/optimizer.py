"""The optimizer of all training stages and its step.

Source: V-JEPA 2 (arXiv 2506.09985), appendix: AdamW, no decay on biases and one-dimensional parameters.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vjepa_wm.training.run.distributed import World, average_gradients


def make_optimizer(modules: list[nn.Module], weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters of `modules`; matrices decay, biases and 1-D parameters do not."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    # Fused: one pass over parameters, gradients and both averages in place of a dozen.
    return torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8, fused=True)


def take_step(
    optimizer: torch.optim.Optimizer,
    losses: Iterable[Tensor],
    *,
    learning_rate: float,
    weight_decay: float,
    clip_grad_norm: float | None,
    world: World | None = None,
) -> Tensor:
    """Move the optimizer's parameters down the gradient of the sum of `losses`; return its norm before clipping.

    Losses are taken one after the other, so that only one graph is in memory: the parts of a batch, each already
    divided by their number. `weight_decay` goes to the group of matrices that `make_optimizer` made, the first.
    Gradients are not clipped if `clip_grad_norm` is None. Parameters may be sharded (FSDP2). With a `world`, gradients
    are averaged over its processes first; without one this process is alone, or a wrapper has shared them already.

    Raises:
        FloatingPointError: if a loss is not finite; no parameter has been changed.
    """
    optimizer.zero_grad(set_to_none=True)
    for loss in losses:
        if not torch.isfinite(loss):
            # Before its first step a run cannot have gone wrong by itself.
            cause = "what it began with, or the data, is not finite" if not optimizer.state else "lower learning_rate"
            raise FloatingPointError(f"the loss is {float(loss.detach())}; {cause}")
        loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if world is not None:
        average_gradients(parameters, world)
    grad_norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if clip_grad_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip_grad_norm, grad_norm)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.param_groups[0]["weight_decay"] = weight_decay
    optimizer.step()
    return grad_norm.full_tensor() if hasattr(grad_norm, "full_tensor") else grad_norm  # sharded gradients
