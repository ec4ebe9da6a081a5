"""Which actions are allowed from where the robot is: those of the task that keep its state within limits.

Letters: A action, P state.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from vjepa_wm.planners import ActionBox

StateLimits = tuple[tuple[float, ...], tuple[float, ...]]
"""Lowest and highest values of the first numbers of the state, which the first numbers of an action move; empty: no
limit. The training data hold nothing beyond."""


def check_state_limits(limits: StateLimits) -> None:
    """Raise a ValueError unless these are two ascending corners."""
    low, high = limits
    if len(low) != len(high) or not np.less(low, high).all():
        raise ValueError(f"state_limits must be a lower and an upper corner, got {limits}")


def allowed_from(box: ActionBox, state: np.ndarray, limits: StateLimits) -> ActionBox:
    """Cut an action box to what stays within the limits from a state; standing still is always allowed.

    Args:
        box: allowed actions, (A,).
        state: where the robot is, (P,).
        limits: of the state.
    """
    corners = np.array(limits)
    num_limited = corners.shape[1]
    low, high = box.low.clone(), box.high.clone()
    room = torch.tensor(corners - state[:num_limited], dtype=low.dtype, device=low.device)
    low[:num_limited] = low[:num_limited].maximum(room[0].clamp_max(0.0))
    high[:num_limited] = high[:num_limited].minimum(room[1].clamp_min(0.0))
    for k in box.discrete:  # which cannot go half as far
        low[k] = low[k] if low[k] == box.low[k] else 0.0
        high[k] = high[k] if high[k] == box.high[k] else 0.0
    return replace(box, low=low, high=high)
