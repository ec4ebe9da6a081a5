"""Probes and neighbours on labelled videos and pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import get_args

import tyro

from vjepa_wm.training.classification.config import ClassifyConfig, PresetName, preset
from vjepa_wm.training.classification.run import classify


def chosen_preset(arguments: Sequence[str]) -> ClassifyConfig:
    """Return the preset that a command line names, whose values are the defaults of all other options.

    Args:
        arguments: the words of the command line.
    """
    known = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    known.add_argument("--preset", default="small")
    name = known.parse_known_args(arguments)[0].preset
    # A name that is not one is left to tyro, which lists those that are.
    return preset(
        name if name in get_args(PresetName) else "small", data=tyro.MISSING, encoder=tyro.MISSING, out=tyro.MISSING
    )


def run_classify(config: ClassifyConfig) -> None:
    """Train and measure heads, and print the table; errors as of `classify`."""
    print(classify(config))
