"""Numbered pieces of work, done by this process, several, or a Ray cluster.

Why this file exists: episodes are recorded, and evaluated, in the same way, and who does which must change nothing. So
a piece depends on its number alone, and the results come in order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from vjepa_wm.checks import check_at_least
from vjepa_wm.parallel.on_ray import run_on_ray
from vjepa_wm.parallel.work import Run, T, opened
from vjepa_wm.parallel.workers import run_in_workers


def run_numbered(
    make_run: Callable[[], Run[T]], numbers: Sequence[int], *, workers: int = 0, ray: str | None = None
) -> Generator[T, None, None]:
    """Do pieces of work.

    Nothing is begun before the first result is asked for. Closing the iterator, and any error, ends the processes at
    once; they end by themselves if this process dies.

    Args:
        make_run: called once in each process that works; returns what does a piece, given its number. If that has
            `close()`, it is called when no piece is left, on a Ray cluster excepted. With workers or ray it is
            pickled.
        numbers: of the pieces, all different, in any order and with any gaps.
        workers: processes of this machine that work; 0: this one does.
        ray: address of a Ray cluster that works, as `ray.init` takes it; or `local`: a cluster of this machine with
            `workers` cores.

    Yields:
        The results in the order of `numbers`, whoever did them.

    Raises:
        ValueError: if workers is negative, a number comes twice, or Ray is asked for and not installed.
        RuntimeError: if with workers or ray an error was raised at a piece, its traceback is in the text; or three
            processes died at it.
        ConnectionError: if there is no Ray cluster at this address.
    """
    check_at_least(0, workers=workers)
    numbers = tuple(numbers)
    if len(set(numbers)) < len(numbers):
        twice = next(number for place, number in enumerate(numbers) if number in numbers[:place])
        raise ValueError(f"numbers must be different, got {twice} twice")
    return _run(make_run, numbers, workers, ray)


def _run(
    make_run: Callable[[], Run[T]], numbers: tuple[int, ...], workers: int, ray: str | None
) -> Generator[T, None, None]:
    if not numbers:
        return
    if ray is not None:
        yield from run_on_ray(make_run, numbers, ray, workers)
    elif workers:
        yield from run_in_workers(make_run, numbers, workers)
    else:
        with opened(make_run) as run:
            yield from map(run, numbers)
