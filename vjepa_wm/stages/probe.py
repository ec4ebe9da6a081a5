"""What an encoder knows of positions, beside what it knows at random initialisation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from vjepa_wm.checks import check_at_least, check_within
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.models.load import load_encoder
from vjepa_wm.models.precision import pick_device, pick_dtype
from vjepa_wm.training.linear_probe import ProbeResult, probe_encoder


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Probe a frozen encoder for positions of gripper and object, beside the same encoder at random initialisation."""

    data: Path
    """LeRobot v3 dataset folder."""
    read: TrajectoryOptions = field(default_factory=TrajectoryOptions)
    """What of it is read, as for train-ac; the first numbers of the state are the position."""
    encoder: Path
    """Encoder: a folder as `pretrain` writes it, a file of published weights, or their name."""
    test_share: float = 0.25
    """Share of the episodes the probe is measured on."""
    max_episodes: int = 200
    """Episodes used at most."""
    seed: int = 0
    """Decides the split and the random encoder."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least(2, max_episodes=self.max_episodes)
        check_at_least(0, seed=self.seed)
        check_within(0, 1, test_share=self.test_share)


def run_probe(config: ProbeConfig) -> None:
    """Print the probe of an encoder beside that of its random twin.

    Raises:
        CheckpointError: if there is no such encoder.
        TrajectoryError: if the dataset is missing or lacks what is needed.
    """
    encoder, device = load_encoder(config.encoder), pick_device()
    episodes = TrajectoryDataset(config.data, config.read).episodes[: config.max_episodes]
    dataset = TrajectoryDataset(config.data, config.read, episodes=episodes)
    parts = dataset.split(config.test_share, config.seed)
    print(make_table(probe_encoder(encoder.to(device), *parts, seed=config.seed, dtype=pick_dtype("auto", device))))


def make_table(results: list[ProbeResult]) -> str:
    """Return the results in words, a row each; what a row has no number for is a dash or empty."""
    has_objects = any(result.target == "object" for result in results)
    width, last = (32, f"{'heading':>12}") if has_objects else (24, "")
    title = "encoder, readout, what" if has_objects else "encoder, readout"
    rows = [f"{title:{width}}{'R2 x':>8}{'R2 y':>8}{'R2 z':>8}{'error':>10}{last}"]
    for result in results:
        values = result.values
        name = f"{result.encoder}, {result.readout}" + (f", {result.target}" if has_objects else "")
        scores = "".join(f"{values[axis]:8.3f}" if axis in values else f"{'-':>8}" for axis in "xyz")
        heading = f"{math.degrees(values['heading']):8.1f} deg" if "heading" in values else ""
        rows.append(f"{name:{width}}{scores}{100 * values['error']:7.1f} cm{heading}")
    return "\n".join(rows)
