"""Many heads trained at once on one pass of features, each with a learning rate and a weight decay of its own.

Why this file exists: encoding, and reading features, costs more than a head, so the papers train a whole grid of
settings on the same batches and report the best one. A head whose loss is no longer finite stops changing and says so;
the others go on.

Source: V-JEPA 2 (arXiv 2506.09985), appendix on probes: AdamW, cosine to 0 without warm-up, decay also on biases.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vjepa_wm.training.classification.heads import FeatureForm, HeadKind, answer, head_loss
from vjepa_wm.training.run.distributed import World, average_gradients

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class HeadSetting:
    """One head of a grid."""

    kind: HeadKind
    """What it is."""
    learning_rate: float
    """Rate of the first steps."""
    weight_decay: float
    """Decay of all its parameters."""

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.kind}, rate {self.learning_rate:g}, decay {self.weight_decay:g}"


class HeadGrid:
    """Heads and their optimizer.

    Attributes:
        settings: of the heads.
        heads: the heads, in the same order.
        optimizer: one AdamW, with a group for each head.
        diverged: the step at which each head stopped that did, by its number.
    """

    def __init__(
        self,
        settings: Sequence[HeadSetting],
        make: Callable[[HeadKind], nn.Module],
        *,
        seed: int,
        device: torch.device,
        world: World,
    ) -> None:
        """Draw the heads; those of one kind begin with the same weights.

        Args:
            settings: at least one.
            make: draws the weights of a head.
            seed: decides the weights.
            device: where they live.
            world: the processes that train together.
        """
        self.settings, self._world = tuple(settings), world
        heads = []
        for setting in settings:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                heads.append(make(setting.kind).to(device))
        self.heads = nn.ModuleList(heads)
        groups = [
            {"params": list(head.parameters()), "lr": setting.learning_rate, "weight_decay": setting.weight_decay}
            for head, setting in zip(heads, settings, strict=True)
        ]
        self.optimizer = torch.optim.AdamW(groups, fused=True)
        self.diverged: dict[int, int] = {}

    def step(self, step: int, total_steps: int, features: Tensor, labels: Tensor, form: FeatureForm) -> Tensor:
        """Train all heads on a batch.

        Args:
            step: from 0.
            total_steps: of the run; the rate of the last one is 0.
            features: of this process's items, (B, R, N, D).
            labels: their classes, int64 (B, Q).
            form: what the features are.

        Returns:
            Losses before the step, (heads,).
        """
        self.heads.train()
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for number, head in enumerate(self.heads):
            loss = head_loss(answer(head, features, form), labels)
            shared = self._world.mean(loss.detach())
            losses.append(shared)
            if number in self.diverged:
                continue
            if torch.isfinite(shared):
                loss.backward()
                average_gradients(head.parameters(), self._world)
            else:
                self.diverged[number] = step
                logger.warning(
                    "%s: the loss of step %d is not finite; it stops there", self.settings[number].name, step
                )
        factor = cosine_factor(step, total_steps)
        for group, setting in zip(self.optimizer.param_groups, self.settings, strict=True):
            group["lr"] = factor * setting.learning_rate
        self.optimizer.step()
        return torch.stack(losses)


def cosine_factor(step: int, total_steps: int) -> float:
    """Return the share of its rate that a head trains with at a step from 0: half a cosine that ends at 0."""
    return 0.5 * (1.0 + math.cos(math.pi * (step + 1) / total_steps))
