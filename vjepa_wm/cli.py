"""The command line: `vjepa-wm <stage>`, each stage's options being the fields of its configuration.

Only the stage that is named is imported: help and mistakes are told at once, and the processes that play a collection's
episodes, which import this file too, need none.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from vjepa_wm.checks import MachineError, did_you_mean
from vjepa_wm.safe_files import FolderInUseError

DESCRIPTION = """From raw video to a robot that reaches a goal picture.

The stages feed each other: `collect` records videos and actions in a simulator, `pretrain` learns a video encoder from
the videos, `train-ac` learns what actions do to its features, `plan` reaches one goal picture, `evaluate` measures how
often that works."""


@dataclass(frozen=True)
class Stage:
    """What a command is."""

    config: str
    """Name of its configuration in its file, `stages/NAME.py`."""
    summary: str
    """What it does, in a line of the general help."""


STAGES = {
    "envs": Stage("EnvsConfig", "list the simulated tasks and draw them"),
    "collect": Stage("CollectConfig", "record a policy in a task as a LeRobot v3 dataset"),
    "pretrain": Stage("PretrainConfig", "pretrain a video encoder on any pile of videos and pictures"),
    "train-ac": Stage("TrainACConfig", "train a world model on robot trajectories, above a frozen encoder"),
    "train-proposal": Stage("TrainProposalConfig", "train a part of a world model that proposes actions"),
    "train-looks": Stage("TrainLooksConfig", "teach the encoder of a world model new looks, as those it knows"),
    "classify": Stage("ClassifyConfig", "tell what an encoder is worth on labelled videos and pictures"),
    "dense": Stage("DenseConfig", "tell what single patches know: classes, depth, objects of a video"),
    "predict": Stage("PredictConfig", "tell what videos and pictures show, by a probe"),
    "probe": Stage("ProbeConfig", "tell what an encoder knows of positions"),
    "plan": Stage("PlanConfig", "bring the robot to one goal picture, and write a video of it"),
    "evaluate": Stage("EvaluateConfig", "measure goal reaching on held-out episodes"),
    "compare": Stage("CompareConfig", "tell two results of evaluate apart, paired by episode"),
    "summarize": Stage("SummarizeConfig", "put results of evaluate, of any tasks, into one table"),
    "diagnose": Stage("DiagnoseConfig", "tell what limits a task"),
    "features": Stage("FeaturesConfig", "write the features of videos and pictures to files"),
    "inspect": Stage("InspectConfig", "tell what a checkpoint holds"),
    "convert": Stage("ConvertConfig", "rewrite a checkpoint as this package's, or as Hugging Face's"),
}
"""By the name of the command, in the order of the help."""


def load_stage(name: str) -> tuple[type, Callable]:
    """Return the configuration and the function of a stage."""
    file = name.replace("-", "_")
    module = import_module(f"vjepa_wm.stages.{file}")
    return getattr(module, STAGES[name].config), getattr(module, f"run_{file}")


def general_help() -> str:
    """Return what `vjepa-wm --help` prints."""
    lines = [f"  {name:16}{stage.summary}" for name, stage in STAGES.items()]
    usage = "usage: vjepa-wm COMMAND [options]; vjepa-wm COMMAND --help tells the options of one"
    return "\n".join([usage, "", DESCRIPTION, "", "commands:", *lines])


def parse(arguments: Sequence[str] | None = None) -> tuple[Callable, object]:
    """Return the function and the configuration that the command line names; help and mistakes end the process.

    Raises:
        ValueError: if a configuration refuses a value.
        SystemExit: after help, with 0; after a word that is no command or option, with 2.
    """
    name, *words = list(sys.argv[1:] if arguments is None else arguments) or [""]
    if name in ("-h", "--help"):
        print(general_help())
        sys.exit(0)
    if name not in STAGES:
        print(_unknown(name), file=sys.stderr)
        sys.exit(2)
    import tyro

    config, run = load_stage(name)
    options: dict[str, Any] = {"prog": f"vjepa-wm {name}", "args": words}
    if name == "pretrain":
        from vjepa_wm.stages.pretrain import chosen_recipe

        options["default"] = chosen_recipe(words)
    if name == "classify":
        from vjepa_wm.stages.classify import chosen_preset

        options["default"] = chosen_preset(words)
    return run, tyro.cli(config, **options)


def _unknown(name: str) -> str:
    """Say that there is no such command."""
    if not name:
        return general_help()
    return f"vjepa-wm: unknown command {name!r}{did_you_mean(name, STAGES)} commands: {', '.join(STAGES)}"


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
    except (ValueError, OSError, FloatingPointError, FolderInUseError, MachineError) as error:
        print(f"vjepa-wm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "vjepa-wm: stopped; collect, classify, evaluate, diagnose, pretrain and the trainings go on when the same "
            "command is given again",
            file=sys.stderr,
        )
        return 130
    return 0
