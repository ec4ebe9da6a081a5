"""Episodes played by several processes of this machine.

Why this file exists: a process that plays may die, by a signal, for want of memory, in a driver. Its episode is then
played again by a fresh one. Processes are spawned, never forked: a copy of a process that has rendered hangs.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, resource_tracker
from typing import Generic, TypeVar

Episode = TypeVar("Episode")
Play = Callable[[int], Episode]
MAX_ATTEMPTS = 3
LOOK_AHEAD = 4
"""Episodes per worker that may be ahead of one that takes long; they wait in memory."""
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def play_in_workers(make_player: Callable[[], Play[Episode]], numbers: range, num_workers: int) -> Iterator[Episode]:
    """Play episodes in several processes.

    Closing the iterator, and any error, ends the processes at once. They end by themselves if this process dies.

    Args:
        make_player: called once in each process; returns what plays an episode, given its number. It is pickled.
        numbers: of the episodes.
        num_workers: processes.

    Yields:
        What was played, in the order of `numbers`, whoever played it.

    Raises:
        RuntimeError: an error was raised at an episode, its traceback is in the text; or three processes died at it.
    """
    waiting, done, deaths = deque(numbers), {}, Counter()
    workers: list[_Worker[Episode]] = []
    try:
        workers += (_Worker(make_player) for _ in range(min(num_workers, len(numbers))))
        for number in numbers:
            while True:
                for worker in workers:
                    if worker.episode is None and waiting and waiting[0] < number + LOOK_AHEAD * num_workers:
                        worker.begin(waiting.popleft())
                if number in done:
                    break
                busy = {worker.connection: slot for slot, worker in enumerate(workers) if worker.episode is not None}
                for ready in connection.wait(busy):
                    worker = workers[busy[ready]]
                    k = worker.episode
                    try:
                        done[k] = worker.finish()
                    except (EOFError, OSError):
                        deaths[k] += 1
                        worker.bury(deaths[k])
                        waiting.appendleft(k)
                        workers[busy[ready]] = _Worker(make_player)
            yield done.pop(number)
    finally:
        for worker in workers:
            worker.stop()


class _Worker(Generic[Episode]):
    """One process, and the episode it is at."""

    def __init__(self, make_player: Callable[[], Play[Episode]]):
        context = multiprocessing.get_context("spawn")
        self.episode: int | None = None
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, make_player), daemon=True)
        with _for_children():
            self._process.start()
        theirs.close()

    def begin(self, episode: int) -> None:
        """Hand out an episode."""
        self.episode = episode
        with suppress(OSError):  # if it is dead, that shows when the result is asked for
            self.connection.send(episode)

    def finish(self) -> Episode:
        """Take what was played, which is there or coming.

        Raises:
            RuntimeError: an error was raised while it was played.
            EOFError: the process died.
            OSError: the process died while it sent what it had played.
        """
        failed, result = self.connection.recv()
        if failed:
            raise RuntimeError(f"episode {self.episode} failed in a worker process:\n{result}")
        self.episode = None
        return result

    def bury(self, deaths: int) -> None:
        """Clear away a process that died; raise a RuntimeError if its episode shall not be tried once more."""
        self._process.join(timeout=5)
        self.stop()
        if deaths < MAX_ATTEMPTS:
            return
        code = self._process.exitcode
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        raise RuntimeError(
            f"episode {self.episode} was begun {deaths} times and each time its process died, the last time {how}; "
            "is there memory enough? With workers=0 it is played in this process, which may show more"
        )

    def stop(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _work(requests: connection.Connection, make_player: Callable[[], Play]) -> None:
    """Play what is asked for until this process is killed or its parent is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    play = None
    with suppress(EOFError, ConnectionError):  # the parent is gone
        while True:
            episode = requests.recv()
            try:
                play = play or make_player()
                answer = (False, play(episode))
            except BaseException:  # nothing is hidden: the parent raises it
                answer = (True, traceback.format_exc())
            requests.send(answer)


def _end_with_parent() -> None:
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


@contextmanager
def _for_children() -> Iterator[None]:
    """Let processes started meanwhile use one thread each, and leave Ctrl-C, which reaches all, to this one."""
    resource_tracker.ensure_running()  # it lets Ctrl-C through again when it starts, so it starts before
    before = {name: os.environ.get(name) for name in THREAD_SETTINGS}
    os.environ.update(dict.fromkeys(THREAD_SETTINGS, "1"))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
