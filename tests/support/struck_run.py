"""A command that a signal strikes at one moment: at the n-th call of any Python function, or around the n-th move of a
file to its place. Moments are counted, not timed, so that a number names the same one on every machine.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass

from vjepa_wm.cli import main
from vjepa_wm.training.run import run_log

PRELOADED = (
    "vjepa_wm.training.ac_training",
    "vjepa_wm.training.proposal_training",
    "vjepa_wm.evaluation.features.extraction",
)


@dataclass(frozen=True)
class Strike:
    """What happens when."""

    sign: signal.Signals
    """What is sent."""
    moment: str
    """`call`, `before move` or `after move`."""
    number: int
    """Which of them, from 1."""


class Counts:
    """Counts the moments of a command, and strikes at one of them."""

    def __init__(self, strike):
        self.calls = self.moves = 0
        self._strike = strike

    def begin(self):
        for name in ("replace", "rename"):
            setattr(os, name, self._moving(getattr(os, name)))
        sys.setprofile(self._profile)

    def _profile(self, frame, event, argument):
        if event == "call":
            self.calls += 1
            self._reach("call", self.calls)

    def _moving(self, function):
        def move(*arguments, **options):
            self.moves += 1
            number = self.moves
            self._reach("before move", number)
            result = function(*arguments, **options)
            self._reach("after move", number)
            return result

        return move

    def _reach(self, moment, number):
        if self._strike is not None and (moment, number) == (self._strike.moment, self._strike.number):
            os.kill(os.getpid(), self._strike.sign)


def _run(words, log, strike):
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    run_log.draw_curves = lambda *paths: None  # as the fixture `without_curves` has it
    counts = Counts(strike)
    counts.begin()
    status = main(words)
    sys.setprofile(None)
    log.with_suffix(".json").write_text(json.dumps({"call": counts.calls, "move": counts.moves}))
    sys.stdout.flush()
    os._exit(status)


def run_command(words, log, strike=None):
    """Run a command in a process of its own, which has imported the package already; its output goes to `log`.

    Returns:
        Its exit status; -9 where it was killed. The file beside `log` that ends in .json counts its moments.
    """
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # or nothing would be found to import ahead
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["struck_run", *PRELOADED])
    process = context.Process(target=_run, args=(words, log, strike))
    process.start()
    process.join()
    return process.exitcode
