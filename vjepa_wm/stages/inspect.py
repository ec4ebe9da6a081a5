"""What a checkpoint holds, in words."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from vjepa_wm.models.describe_checkpoint import describe_checkpoint


@dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """Tell what a checkpoint holds: its models, their sizes, and which functions read them."""

    file: tyro.conf.Positional[str]
    """A file or folder, or the name of a published checkpoint that lies on this machine."""


def run_inspect(config: InspectConfig) -> None:
    """Print what a checkpoint holds; errors as `vjepa_wm.models.describe_checkpoint.describe_checkpoint`."""
    print(describe_checkpoint(config.file))
