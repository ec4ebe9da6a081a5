"""Dense probes and tracking by features."""

from __future__ import annotations

from vjepa_wm.training.dense.dense_probe import DenseConfig, measure_dense


def run_dense(config: DenseConfig) -> None:
    """Measure, and print the numbers; errors as of `measure_dense`."""
    print(measure_dense(config))
