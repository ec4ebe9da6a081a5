"""Pretraining of a video encoder on videos and pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import get_args

import tyro

from vjepa_wm.training.pretrain.config import PretrainConfig, RecipeName
from vjepa_wm.training.pretrain.loop import pretrain
from vjepa_wm.training.pretrain.recipes import recipe


def chosen_recipe(arguments: Sequence[str]) -> PretrainConfig:
    """Return the recipe that a command line names, whose values are the defaults of all other options.

    Args:
        arguments: the words of the command line.
    """
    known = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    known.add_argument("--recipe", default="cpu")
    name = known.parse_known_args(arguments)[0].recipe
    # A name that is not one is left to tyro, which lists those that are.
    return recipe(name if name in get_args(RecipeName) else "cpu", data=tyro.MISSING, out=tyro.MISSING)


def run_pretrain(config: PretrainConfig) -> None:
    """Run or resume pretraining; errors as `vjepa_wm.training.pretrain.loop.pretrain`."""
    pretrain(config)
