"""Commands in several processes, as torchrun starts them."""

import os
import subprocess
import sys


def start(program, *, processes=2, restarts=0):
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launch += ["--max-restarts", str(restarts), "--monitor-interval", "0.2"]
    command = [sys.executable, "-m", *launch, *program]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    output = process.communicate()[0]
    assert process.returncode == 0, output
    return output
