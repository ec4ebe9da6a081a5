"""What stands for episodes where only the processes that play them matter; it imports little, so they start soon."""

import os
import time


def die(number):
    os._exit(7)


def slow_first(number):
    time.sleep(0.3 if number == 0 else 0.0)
    return number, os.getpid()


def thread_settings(number):
    return {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
