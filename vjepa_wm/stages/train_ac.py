"""Training of a world model on robot trajectories, above a frozen encoder."""

from __future__ import annotations

from vjepa_wm.training.ac_training import TrainACConfig, train_ac


def run_train_ac(config: TrainACConfig) -> None:
    """Run or resume action-conditioned training; errors as `vjepa_wm.training.ac_training.train_ac`."""
    train_ac(config)
