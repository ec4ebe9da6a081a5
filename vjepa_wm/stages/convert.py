"""A checkpoint in another form."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from vjepa_wm.models.convert_checkpoint import ConversionConfig, convert_checkpoint
from vjepa_wm.models.read_checkpoint import read_checkpoint


@dataclass(frozen=True, kw_only=True)
class ConvertConfig(ConversionConfig):
    """Rewrite a checkpoint as vjepa_wm's own, or as a folder for Hugging Face transformers."""

    source: tyro.conf.Positional[str]
    """A file or folder, or the name of a published checkpoint that lies on this machine."""


def run_convert(config: ConvertConfig) -> None:
    """Convert a checkpoint and print what was written.

    Raises:
        CheckpointError: if the source cannot be read or not be written in this form, or `out` holds a checkpoint.
    """
    for written in convert_checkpoint(read_checkpoint(config.source), config):
        size = f"{written.num_parameters:,} parameters"
        note = f" ({written.note})" if written.note else ""
        print(f"wrote {written.folder}: {written.model}, {size}, read it with {written.reader}{note}, {config.dtype}")
