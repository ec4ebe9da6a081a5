"""Commands given one after the other in the same processes, which torchrun starts: starting them is what takes long."""

import json
import os
import sys

from vjepa_wm.cli import main
from vjepa_wm.training.run import run_log

if __name__ == "__main__":
    run_log.draw_curves = lambda *paths: None  # as the fixture `without_curves` has it
    for number, arguments in enumerate(json.loads(sys.argv[1])):
        os.environ["TORCHELASTIC_RESTART_COUNT"] = str(number)  # so that the processes of every run meet afresh
        if status := main(arguments):
            sys.exit(status)
