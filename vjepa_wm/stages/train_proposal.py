"""Training of the part of a world model that proposes actions toward a goal picture."""

from __future__ import annotations

from vjepa_wm.training.proposal_config import TrainProposalConfig
from vjepa_wm.training.proposal_training import train_proposal


def run_train_proposal(config: TrainProposalConfig) -> None:
    """Run or resume the training; errors as `vjepa_wm.training.proposal_training.train_proposal`."""
    train_proposal(config)
