"""Features of videos and pictures, written to files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from vjepa_wm.evaluation.features.extraction import ExtractionConfig, ExtractionReport, extract_features
from vjepa_wm.evaluation.features.input_clips import find_inputs
from vjepa_wm.models.load import load_encoder


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig(ExtractionConfig):
    """Write the features of videos and pictures to files, and draw what the encoder sees."""

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """Videos, pictures, folders of them, or lists of their paths (csv, tsv, txt)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.inputs:
            raise ValueError("inputs must name at least one video, picture or folder, got none")


def run_features(config: FeaturesConfig) -> None:
    """Load the encoder, write the features and tell where they are.

    Raises:
        CheckpointError: if there is no such model.
        FileNotFoundError: if an input does not exist, or a folder is empty.
        ValueError: if the clips do not suit the encoder, or no input could be read.
        FloatingPointError: if features are infinite or not a number.
    """
    paths = find_inputs(config.inputs)
    print(summarize(extract_features(load_encoder(config.model), paths, config), config))


def summarize(report: ExtractionReport, config: ExtractionConfig) -> str:
    """Tell in a few lines what was written, how to read it and what was left out."""
    axes = "clips, " + ("layers, " if config.layers else "") + ("tokens, " if config.pool == "none" else "") + "width"
    count = len(report.files)
    lines = [f"{count} of {count + len(report.broken)} inputs encoded; features are float32 ({axes}):"]
    for path, shape in list(report.files.items())[:5]:
        lines.append(f"  {path}  {shape}")
    if count > 5:
        lines.append(f"  and {count - 5} more in {config.out}")
    example = next(iter(report.files))
    if config.format == "npy":
        lines.append(f'read one with: numpy.load("{example}"); the .json beside it tells times and all else')
    else:
        lines.append(f'read one with: safetensors.numpy.load_file("{example}")["features"]; "times" are in seconds')
    if report.picture is not None:
        lines.append(f"{report.picture} shows what the encoder sees: patches of one colour have similar features")
    if report.broken:
        lines += [f"left out {len(report.broken)}:", report.reasons()]
    return "\n".join(lines)
