"""What a proposal is trained on and by: frames with a later frame as the goal, and the losses of such a batch.

Letters: B pairs, N tokens per frame, D width, A action, P state, O numbers that say where objects are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vjepa_wm.models.proposal import Proposal

EXPECTILE = 0.3
"""Of the steps left: below 0.5 detours, which an expert with noise makes too, count less than short ways."""


@dataclass(frozen=True)
class HindsightBatch:
    """Frames, a later frame of each, and what was done next."""

    z: Tensor
    """(B, N, D)."""
    state: Tensor
    """(B, P)."""
    z_goal: Tensor
    """(B, N, D)."""
    action: Tensor
    """(B, A)."""
    steps_left: Tensor
    """Steps to the first arrival at the goal, (B,); 0: it looks like the goal already."""
    objects: Tensor | None
    """(B, O), or None where a data set tells none."""


def proposal_losses(proposal: Proposal, batch: HindsightBatch, label_weight: float) -> dict[str, Tensor]:
    """Return the losses of a batch by name.

    `nll` is that of the actions in units of their deviation, `state` the squared error of the state read off a picture
    in units of its deviation, `distance` the expectile loss of log(1 + steps left). The readouts' losses leave the rest
    of the proposal as it is.

    Args:
        proposal: gets the gradient.
        batch: what to propose for.
        label_weight: 0 leaves `objects` out; else it is that times the squared error of the readout.
    """
    mixture = proposal(batch.z, batch.state, batch.z_goal)
    # in units of the actions, so that losses of robots with other units compare
    losses = {
        "nll": -mixture.log_prob(batch.action).mean() - proposal.action_unit.log().sum(),
        "state": ((proposal.read_state(batch.z) - batch.state) / proposal.state_unit).square().mean(),
        "distance": distance_loss(proposal, batch.z, batch.z_goal, batch.steps_left),
    }
    if label_weight:
        assert batch.objects is not None  # the trainer refuses it
        losses["objects"] = label_weight * F.mse_loss(proposal.read_objects(batch.z), object_code(batch.objects))
    return losses


def distance_loss(proposal: Proposal, z: Tensor, z_goal: Tensor, steps_left: Tensor) -> Tensor:
    """Return the expectile loss of the estimated steps from z to z_goal (B, N, D) against steps (B,)."""
    error = steps_left.log1p() - proposal.log_steps_left(z, z_goal)
    return (torch.where(error > 0, EXPECTILE, 1 - EXPECTILE) * error.square()).mean()


@torch.no_grad()
def arrival_radius(proposal: Proposal, batch: HindsightBatch) -> Tensor | None:
    """Return how far nine of ten states are at most from the one read off a goal picture at which they are.

    None where nothing of the batch has arrived.
    """
    arrived = batch.steps_left == 0
    if not arrived.any():
        return None
    return proposal.state_distance(batch.state[arrived], batch.z_goal[arrived]).quantile(0.9)


def object_code(objects: Tensor) -> Tensor:
    """Return objects' numbers (B, O) in a form that can be regressed: places in decimetres, the last as sine, cosine.

    The last number of our tasks' objects is a heading, which jumps where its sine and cosine do not.
    """
    return torch.cat((10 * objects[:, :-1], objects[:, -1:].sin(), objects[:, -1:].cos()), dim=1)
