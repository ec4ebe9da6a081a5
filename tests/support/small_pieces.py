"""Pieces of work where only the processes that do them matter; it imports little, so they start soon."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path


class Closing:
    """Returns what it is asked for; notes in a folder that it was closed, in which process."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, number):
        if number < 0:
            raise ArithmeticError("no piece has this number")
        return number, os.getpid()

    def close(self):
        (self.folder / f"closed-{os.getpid()}").touch()


class Panic(BaseException):
    """As the errors of some libraries are: no Exception."""


def square(number):
    return number**2


def end_itself(number):
    os._exit(7)


def kill_itself(number):
    os.kill(os.getpid(), signal.SIGKILL)


def kill_itself_once(folder, number):
    """Return a number; where a folder has a file of this name, remove it and die before."""
    path = Path(folder) / str(number)
    if path.exists():
        path.unlink()
        kill_itself(number)
    return number


def slow_first(number):
    time.sleep(0.3 if number == 0 else 0.0)
    return number, os.getpid()


def raise_it(error, number):
    raise error


def ask_to_exit(number):
    sys.exit("enough")


def cannot_be_sent(number):
    return lambda: number


def cannot_be_made():
    raise ArithmeticError("nothing works here")


def thread_settings(number):
    return {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


def maker(piece, *arguments):
    """Return what makes a piece, which can be pickled."""
    return partial(partial, piece, *arguments)
