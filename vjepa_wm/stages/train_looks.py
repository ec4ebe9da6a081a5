"""Training of a world model's encoder on new looks."""

from __future__ import annotations

from vjepa_wm.training.look_training import TrainLooksConfig, train_looks


def run_train_looks(config: TrainLooksConfig) -> None:
    """Run or resume the training; errors as `vjepa_wm.training.look_training.train_looks`."""
    train_looks(config)
