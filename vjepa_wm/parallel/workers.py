"""Pieces of work done by several processes of this machine.

Why this file exists: a process that works may die, by a signal, for want of memory, in a driver. Its piece is then done
again by a fresh one. Processes are spawned, never forked: a copy of a process that has rendered hangs.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import connection, resource_tracker
from typing import Generic

from vjepa_wm.parallel.work import MAX_ATTEMPTS, Run, T, opened

LOOK_AHEAD = 4
"""Pieces per worker that may be begun before the first of them is taken; their results wait in memory."""
CLOSING_TIME_S = 5.0
"""How long the workers may take in the end to close what they work with, before they are killed."""
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_in_workers(
    make_run: Callable[[], Run[T]], numbers: Sequence[int], num_workers: int
) -> Generator[T, None, None]:
    """Do pieces of work in several processes; arguments and errors are those of `run_numbered`."""
    with _Pool(make_run, numbers, num_workers) as pool:
        for number in numbers:
            yield pool.take(number)


class _Pool(Generic[T]):
    """Several processes, started as there is work, and the pieces that wait for them or for being taken."""

    def __init__(self, make_run: Callable[[], Run[T]], numbers: Sequence[int], num_workers: int):
        self._make_run = make_run
        self._num_workers = num_workers
        self._workers: list[_Worker[T]] = []
        self._waiting = deque(numbers)
        self._results: dict[int, T] = {}
        self._room = LOOK_AHEAD * num_workers  # how many more may be begun before one is taken
        self._deaths: Counter[int] = Counter()

    def __enter__(self) -> _Pool[T]:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """End the processes: at once after an error, else once they have closed what they work with."""
        for worker in self._workers:
            worker.connection.close()
        end = time.monotonic() + (0.0 if error else CLOSING_TIME_S)
        for worker in self._workers:
            worker.stop(timeout_s=max(end - time.monotonic(), 0.0))

    def take(self, number: int) -> T:
        """Wait for the result of a piece; pieces are taken in the order in which they were given."""
        self._hand_out()
        while number not in self._results:
            self._gather()
            self._hand_out()
        self._room += 1
        return self._results.pop(number)

    def _hand_out(self) -> None:
        """Give every process that has none a piece that waits."""
        while self._waiting and self._room:
            worker = self._idle_worker()
            if worker is None:
                return
            worker.begin(self._waiting.popleft())
            self._room -= 1

    def _idle_worker(self) -> _Worker[T] | None:
        for worker in self._workers:
            if worker.number is None:
                return worker
        if len(self._workers) == self._num_workers:
            return None
        self._workers.append(_Worker(self._make_run))
        return self._workers[-1]

    def _gather(self) -> None:
        """Wait until a piece is done or its process dead, and see to all of which that is so."""
        busy = [(worker, worker.number) for worker in self._workers if worker.number is not None]
        ready = connection.wait([worker.connection for worker, _ in busy])
        for worker, number in busy:
            if worker.connection not in ready:
                continue
            try:
                self._results[number] = worker.finish()
            except (EOFError, OSError):
                self._bury(worker, number)

    def _bury(self, worker: _Worker[T], number: int) -> None:
        """Clear away a process that died, and let its piece wait again."""
        how = worker.died()
        self._workers.remove(worker)
        self._deaths[number] += 1
        if self._deaths[number] == MAX_ATTEMPTS:
            raise RuntimeError(
                f"piece {number} was begun {MAX_ATTEMPTS} times and each time its process died, the last time {how}; "
                "is there memory enough? With workers=0 it is done in this process, which may show more"
            )
        self._waiting.appendleft(number)
        self._room += 1


class _Worker(Generic[T]):
    """One process, and the number of the piece it is at."""

    def __init__(self, make_run: Callable[[], Run[T]]):
        context = multiprocessing.get_context("spawn")
        self.number: int | None = None
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, make_run), daemon=True)
        with _for_children():
            self._process.start()
        theirs.close()

    def begin(self, number: int) -> None:
        """Hand out a piece."""
        self.number = number
        with suppress(OSError):  # if it is dead, that shows when the result is asked for
            self.connection.send(number)

    def finish(self) -> T:
        """Take the result, which is there or coming.

        Raises:
            RuntimeError: if an error was raised.
            EOFError: if the process died.
            OSError: if the process died while it sent the result.
        """
        result, error = self.connection.recv()
        if error is not None:
            raise RuntimeError(f"piece {self.number} failed in a worker process:\n{error}")
        self.number = None
        return result

    def died(self) -> str:
        """Clear the dead process away and say how it died."""
        self.connection.close()
        self.stop(timeout_s=CLOSING_TIME_S)
        code = self._process.exitcode
        assert code is not None  # `stop` waits for the end
        return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"

    def stop(self, *, timeout_s: float) -> None:
        """End the process, which may first take some time to end by itself."""
        self._process.join(timeout_s)
        self._process.kill()
        self._process.join()


def _work(requests: connection.Connection, make_run: Callable[[], Run]) -> None:
    """Do what is asked for until no more is, an error is raised, this process is killed, or its parent is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with ExitStack() as at_end:
        try:
            run = at_end.enter_context(opened(make_run))
            for number in _asked(requests):
                requests.send((run(number), None))
        except BaseException:
            # Of whatever type (the panic of a Rust library is no Exception), the parent raises it. This process goes
            # on after none, so it ends also at a KeyboardInterrupt or SystemExit, as it should.
            with suppress(ConnectionError):  # the parent is gone
                requests.send((None, traceback.format_exc()))


def _asked(requests: connection.Connection) -> Iterator[int]:
    """Yield the numbers that the parent asks for, until it closes the connection or is gone."""
    with suppress(EOFError, ConnectionError):
        while True:
            yield requests.recv()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # only a worker calls this
    connection.wait([parent.sentinel])
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
