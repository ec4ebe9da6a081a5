"""What action-conditioned training minimises: the errors of one step ahead and of a rollout, and what an action moves.

**Inverse dynamics.** Losses on latents weigh what an action moves by its share of the picture, which is small. An
`InverseDynamics` is trained beside the predictor, on pairs of *true* latents alone, and reads two actions: one off the
true pair (z, z'), one off the imagined pair (z, prediction of z'). The predictor is moved to make the two agree:

- the weights of the network stay as they are under this gradient, else both would agree on any code that is easy to
  write into a prediction;
- what is to be met is what the network reads off the true pair, not the action that was recorded. This loss then is
  zero at the true latents, as the others are; where an action moved nothing (a wall, an empty grasp), nothing has to
  be made up.

So it is a distance between predicted and true latents that counts the directions in which actions move them. It can
help where these hold a small part of the loss: small objects, long rollouts that lose them, narrow predictors. It
cannot make latents hold more, since the encoder is frozen: where the action is not to be read off true latents, where
`inverse` does not fall, it says nothing. A predictor may also please this one network without becoming truer: another
one, trained on the same pairs, reads less off its predictions. So judge it by `val_teacher`, and by success.

**Readings.** Where a proposal was trained above the same encoder, its reader has learned what of the latents says how
to act. A `Reading` compares what it leaves of predicted and of true latents; its weights stay. What a search is to find
by such readings must be imagined in them.

Letters: B windows, T frames, R steps of the rollout, N tokens per frame, D width, A action, P state.

Source: V-JEPA 2 (arXiv 2506.09985), section 3: teacher forcing plus a two-step rollout, both L1 on normalised latents.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from vjepa_wm.data.latents.latent_set import LatentSet
from vjepa_wm.models.inverse_dynamics import InverseDynamics
from vjepa_wm.models.key_value_cache import KeyValueCache
from vjepa_wm.models.proposal import Proposal
from vjepa_wm.models.world_model import WorldModel
from vjepa_wm.training.losses import prediction_loss


class Reading:
    """Compares latents by what a proposal's reader leaves of them, in units of what that differs by among frames."""

    def __init__(self, proposal: Proposal, frames: LatentSet, most: int = 1024) -> None:
        """Measure the unit.

        Args:
            proposal: whose reader reads; its weights get no gradient.
            frames: training episodes.
            most: of their frames, evenly spread, tell the unit.
        """
        self._proposal = proposal.requires_grad_(False)
        rows = np.linspace(0, len(frames.z) - 1, min(most, len(frames.z))).astype(np.int64)
        with torch.no_grad():
            read = proposal.read_tokens(frames.read_z(rows, proposal.action_unit.device))
            self._unit = (read - read.mean(dim=0)).abs().mean()

    def error(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Return the mean absolute difference of two latents (..., N, D) as they are read."""
        return prediction_loss(self._proposal.read_tokens(predicted), self._proposal.read_tokens(true)) / self._unit


def world_model_losses(
    model: WorldModel,
    z: Tensor,
    actions: Tensor,
    states: Tensor,
    rollout_steps: int,
    inverse: InverseDynamics | None = None,
    reading: Reading | None = None,
) -> dict[str, Tensor]:
    """Return the losses of windows by name.

    Args:
        model: its predictor gets the gradient.
        z: latents, (B, T, N, D).
        actions: displacement from each frame to the next, (B, T, A); the last one is not used.
        states: pose at each frame, (B, T, P).
        rollout_steps: how many steps are predicted from the first frame on, each from the prediction before it.
        inverse: what reads actions off latents; it gets the gradient of `inverse`.
        reading: compares latents as a proposal reads them; None: nothing does.

    Returns:
        Scalars: `teacher`, of one step ahead, and `rollout`, averaged over its steps, of which the first is one step
        ahead too. With `inverse` also `inverse`, the error of actions read off true latents, and `imagined_inverse`,
        how far those read off predictions are from these. With `reading` also `reading`, the mean of both errors as
        they are read.
    """
    teacher = model.predict(z[:, :-1], actions[:, :-1], states[:, :-1])
    rollout = teacher if rollout_steps == 1 else _roll_out(model, z, actions, states, rollout_steps)
    steps = rollout.shape[1]
    losses = {"teacher": prediction_loss(teacher, z[:, 1:]), "rollout": prediction_loss(rollout, z[:, 1 : steps + 1])}
    if inverse is not None:
        losses["inverse"] = inverse.loss(z[:, :-1], z[:, 1:], actions[:, :-1])
        errors = _reading_error(inverse, z, teacher), _reading_error(inverse, z, rollout)
        losses["imagined_inverse"] = torch.stack(errors).mean()
    if reading is not None:
        of_both = reading.error(teacher, z[:, 1:]), reading.error(rollout, z[:, 1 : steps + 1])
        losses["reading"] = torch.stack(of_both).mean()
    return losses


def _roll_out(model: WorldModel, z: Tensor, actions: Tensor, states: Tensor, steps: int) -> Tensor:
    """Predict the frames after the first, each from the prediction before it, (B, R, N, D)."""
    cache, frame, frames = KeyValueCache(), z[:, :1], []
    for step in range(steps):
        frame = model.predict(frame, actions[:, step : step + 1], states[:, step : step + 1], cache=cache)
        frames.append(frame)
    return torch.cat(frames, dim=1)


def _reading_error(inverse: InverseDynamics, z: Tensor, predicted: Tensor) -> Tensor:
    """Return how far actions read off predictions are from those read off what they predict.

    Args:
        inverse: what reads them; its weights get no gradient.
        z: true latents, (B, T, N, D).
        predicted: predictions of the frames from the second on, (B, R, N, D); they get the gradient.
    """
    before, after = z[:, : predicted.shape[1]], z[:, 1 : predicted.shape[1] + 1]
    with torch.no_grad():
        wanted = inverse(before, after)
    frozen = {name: weight.detach() for name, weight in inverse.named_parameters()}
    return F.mse_loss(functional_call(inverse, frozen, (before, predicted)), wanted)
