"""The cost of a plan, put together from its parts, each of which is checked.

Letters: K candidates.
"""

from __future__ import annotations

from torch import Tensor

from vjepa_wm.agents.cost import (
    ActionPrior,
    CostConfig,
    CostPart,
    GoalDistance,
    Imagined,
    ProposalPrior,
    StateDistance,
    StepsLeft,
)
from vjepa_wm.agents.proposing import Proposes
from vjepa_wm.models.proposal import Proposal


class SumOfParts:
    """The cost of a plan."""

    def __init__(self, parts: tuple[CostPart, ...]) -> None:
        """Keep the parts.

        Args:
            parts: what adds up, at least one.
        """
        self._parts = parts

    def __call__(self, imagined: Imagined) -> Tensor:
        """Return the cost of each candidate, (K,).

        Raises:
            ValueError: if a part gives something else than one number for each candidate, or NaN.
        """
        total = imagined.z.new_zeros(len(imagined.z))
        for part in self._parts:
            costs = part(imagined)
            if not isinstance(costs, Tensor) or costs.shape != total.shape:
                got = tuple(costs.shape) if isinstance(costs, Tensor) else type(costs).__name__
                raise ValueError(
                    f"a cost must return one number for each candidate, shape {tuple(total.shape)}; "
                    f"{_name_of(part)} returned {got}"
                )
            num_bad = int(costs.isnan().sum())
            if num_bad:
                raise ValueError(f"cost {_name_of(part)} returned NaN for {num_bad} of {len(total)} candidates")
            total = total + costs
        return total


def make_cost(
    config: CostConfig,
    action_scale: tuple[float, ...],
    own: CostPart | None = None,
    *,
    proposal: Proposal | None = None,
    proposes: Proposes | None = None,
) -> SumOfParts:
    """Put a cost together.

    Args:
        config: what it is made of.
        action_scale: deviation of each number of the training actions; empty where it is not known.
        own: a part of the user's own; None: none.
        proposal: of the world model, which reads, estimates steps and knows the units of states; None: there is none.
        proposes: what says how likely first actions are; None: that of the world model.

    Raises:
        ValueError: if actions are to be weighed and their scale is not known, or readings, steps, states or the prior
            are and there is no proposal.
    """
    parts: list[CostPart] = [GoalDistance(config, proposal)]
    if proposal is None and (config.distance_weight or config.state_weight):
        raise ValueError("distance_weight and state_weight must be 0 for a world model without a proposal")
    if proposal is not None and config.distance_weight:
        parts.append(StepsLeft(proposal, config))
    if proposal is not None and config.state_weight:
        parts.append(StateDistance(proposal.state_unit, config))
    if config.prior_weight:
        asked: Proposes | None = proposal if proposes is None else proposes
        if asked is None:
            raise ValueError("prior_weight must be 0 without a proposal")
        parts.append(ProposalPrior(asked, config.prior_weight))
    if config.action_weight:
        if not action_scale:
            raise ValueError("action_weight must be 0 for a world model that was trained on raw actions")
        parts.append(ActionPrior(action_scale, config.action_weight))
    if own is not None:
        parts.append(own)
    return SumOfParts(tuple(parts))


def _name_of(part: CostPart) -> str:
    return getattr(part, "__name__", type(part).__name__)
