"""A command whose process kills itself at one aimed place: before or after the n-th call of one function.

    python killed_run.py PLACE before|after N COMMAND ...

PLACE is `module:function` or `module:class.function`; it is killed as the system kills, so that nothing is cleaned up.
"""

import os
import signal
import sys
from importlib import import_module

from vjepa_wm.cli import main
from vjepa_wm.training.run import run_log


def kill_at(place, when, number):
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner = import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    function, calls = getattr(owner, name), []

    def call(*arguments, **options):
        calls.append(name)
        if len(calls) == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **options)
        if len(calls) == number and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, call)


if __name__ == "__main__":
    run_log.draw_curves = lambda *paths: None  # as the fixture `without_curves` has it
    kill_at(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    sys.exit(main(sys.argv[4:]))
