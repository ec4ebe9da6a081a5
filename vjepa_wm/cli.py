"""The command line: `vjepa-wm <stage>`, each stage's options being the fields of its configuration."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Union

import tyro

from vjepa_wm.safe_files import FolderInUseError

DESCRIPTION = """From raw video to a robot that reaches a goal picture.

`envs` lists the simulated tasks. The stages feed each other: `collect` records videos and actions in a simulator,
`pretrain` learns a video encoder from the videos, `train-ac` learns what actions do to its features, `plan` reaches one
goal picture, `evaluate` measures how often that works, `compare` tells two results apart, `diagnose` what limits a
task. `probe` tells what an encoder knows.

Published weights: `inspect` tells what a checkpoint is, `features` encodes videos and pictures with it, `convert` turns
it into this package's format or Hugging Face's. Each command has its own --help."""


def stages() -> dict[str, tuple[type, Callable]]:
    """Return the configuration and the function of each stage, by its name.

    They are imported here because the processes that play a collection's episodes import this file too, and need none.
    """
    from vjepa_wm.stages import (
        collect,
        compare,
        convert,
        diagnose,
        envs,
        evaluate,
        features,
        inspect,
        plan,
        pretrain,
        probe,
        train_ac,
        train_proposal,
    )

    return {
        "envs": (envs.EnvsConfig, envs.run_envs),
        "collect": (collect.CollectConfig, collect.run_collect),
        "pretrain": (pretrain.PretrainConfig, pretrain.run_pretrain),
        "train-ac": (train_ac.TrainACConfig, train_ac.run_train_ac),
        "train-proposal": (train_proposal.TrainProposalConfig, train_proposal.run_train_proposal),
        "probe": (probe.ProbeConfig, probe.run_probe),
        "plan": (plan.PlanConfig, plan.run_plan),
        "evaluate": (evaluate.EvaluateConfig, evaluate.run_evaluate),
        "compare": (compare.CompareConfig, compare.run_compare),
        "diagnose": (diagnose.DiagnoseConfig, diagnose.run_diagnose),
        "features": (features.FeaturesConfig, features.run_features),
        "inspect": (inspect.InspectConfig, inspect.run_inspect),
        "convert": (convert.ConvertConfig, convert.run_convert),
    }


def parse(arguments: Sequence[str] | None = None) -> tuple[Callable, object]:
    """Return the function and the configuration that the command line names."""
    from vjepa_wm.stages.pretrain import chosen_recipe

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    known, kinds = stages(), []
    for name, (config, _) in known.items():
        command = tyro.conf.subcommand(name)
        if name == "pretrain":
            command = tyro.conf.subcommand(name, default=chosen_recipe(arguments))
        kinds.append(Annotated[config, command])
    any_kind: Any = Union[tuple(kinds)]  # noqa: UP007
    config = tyro.cli(any_kind, prog="vjepa-wm", description=DESCRIPTION, args=arguments)
    return next(run for kind, run in known.values() if kind is type(config)), config


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a stage; what the user can mend is printed as one message, without a traceback.

    Returns:
        0, or 1 after an error, 130 after Ctrl-C.
    """
    first = os.environ.get("RANK", "0") == "0"  # of several processes that torchrun started, one speaks
    logging.basicConfig(level=logging.INFO if first else logging.ERROR, format="%(message)s")
    logging.getLogger("OpenGL").setLevel(logging.WARNING)  # which else reports what it does without
    try:
        run, config = parse(arguments)
        run(config)
    except BrokenPipeError:  # who reads the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains once more at its end
        return 1
    except (ValueError, OSError, FloatingPointError, FolderInUseError) as error:
        print(f"vjepa-wm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "vjepa-wm: stopped; collect, pretrain, train-ac, evaluate and diagnose go on when the same command is "
            "given again",
            file=sys.stderr,
        )
        return 130
    return 0
