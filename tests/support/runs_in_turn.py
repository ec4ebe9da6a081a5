"""Commands given one after the other in the same processes, which torchrun starts: starting them is what takes long."""

import json
import os
import sys

from vjepa_wm.cli import main

if __name__ == "__main__":
    for number, arguments in enumerate(json.loads(sys.argv[1])):
        os.environ["TORCHELASTIC_RESTART_COUNT"] = str(number)  # so that the processes of every run meet afresh
        if status := main(arguments):
            sys.exit(status)
