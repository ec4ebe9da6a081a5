"""Pieces of work done by the machines of a Ray cluster.

Why this file exists: one machine does as many pieces at a time as it has cores; a cluster has more of both. The
machines need no common disk: results come back through Ray, and the process that called writes them. Ray itself does a
piece again whose process or machine died.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Generator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from vjepa_wm.parallel.work import MAX_ATTEMPTS, Run, T

if TYPE_CHECKING:
    import ray

LOOK_AHEAD = 2
"""Pieces per core of the cluster that are asked for before the first of them is there."""


def run_on_ray(
    make_run: Callable[[], Run[T]], numbers: Sequence[int], address: str, num_workers: int
) -> Generator[T, None, None]:
    """Do pieces of work on a Ray cluster, one core each; arguments and errors are those of `run_numbered`.

    The package, in the same version, must be installed on all its machines.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ValueError("Ray is not installed: pip install 'vjepa_wm[ray]', or leave --ray out") from error
    if address == "local":
        ray.init("local", num_cpus=max(num_workers, 1), include_dashboard=False)
    else:
        ray.init(address)
    try:
        pickled = ray.put(pickle.dumps(make_run))
        start = ray.remote(num_cpus=1, max_retries=MAX_ATTEMPTS - 1)(_run).remote
        ahead = LOOK_AHEAD * int(ray.cluster_resources()["CPU"])
        asked: deque[tuple[int, ray.ObjectRef]] = deque()
        for number in numbers:
            asked.append((number, start(pickled, number)))
            if len(asked) == ahead:
                yield _result(*asked.popleft())
        while asked:
            yield _result(*asked.popleft())
    finally:
        ray.shutdown()


def _result(number: int, reference: ray.ObjectRef) -> Any:
    """Wait for the result of a piece."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:  # its text has the traceback, or how the process or machine died
        raise RuntimeError(f"piece {number} failed on the Ray cluster:\n{error}") from error


def _run(pickled: bytes, number: int) -> Any:
    return _made(pickled)(number)


@lru_cache(maxsize=1)
def _made(pickled: bytes) -> Run:
    """Make what does the pieces once per process."""
    return pickle.loads(pickled)()
