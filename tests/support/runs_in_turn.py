"""Commands given one after the other in the same processes, which torchrun starts: starting them is what takes long.

Each is a list of the command's words and the step after whose state it is interrupted; null: it comes to its end.
"""

import json
import os
import sys

from vjepa_wm.cli import main
from vjepa_wm.training.run import run_log
from vjepa_wm.training.run.training_state import TrainingState

save = TrainingState.save


def interrupt_after(last_step):
    def save_and_stop(state, step):
        save(state, step)
        if step == last_step:
            state.wait()
            raise KeyboardInterrupt

    TrainingState.save = save_and_stop


if __name__ == "__main__":
    run_log.draw_curves = lambda *paths: None  # as the fixture `without_curves` has it
    for number, (arguments, last_step) in enumerate(json.loads(sys.argv[1])):
        os.environ["TORCHELASTIC_RESTART_COUNT"] = str(number)  # so that the processes of every run meet afresh
        interrupt_after(last_step)
        status = main(arguments)
        if status != (0 if last_step is None else 130):
            sys.exit(status or 1)
