"""Episodes played by the machines of a Ray cluster.

Why this file exists: one machine plays as many episodes at a time as it has cores; a cluster has more of both. The
machines need no common disk: what was played comes back through Ray, and the process that called writes it. Ray itself
plays an episode again whose process or machine died.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TypeVar

Episode = TypeVar("Episode")
Play = Callable[[int], Episode]
MAX_ATTEMPTS = 3
LOOK_AHEAD = 2
"""Episodes per core of the cluster that are asked for before the first of them is there."""


def play_on_ray(
    make_player: Callable[[], Play[Episode]], numbers: range, address: str, num_workers: int
) -> Iterator[Episode]:
    """Play episodes on a Ray cluster, one core each.

    The package, in the same version, must be installed on all its machines.

    Args:
        make_player: called once in each process; returns what plays an episode, given its number. It is pickled.
        numbers: of the episodes.
        address: of the cluster, as `ray.init` takes it; `local` starts a cluster of this machine alone.
        num_workers: cores that a `local` cluster uses.

    Yields:
        What was played, in the order of `numbers`, whoever played it.

    Raises:
        ValueError: Ray is not installed.
        ray.exceptions.RayError: an error was raised at an episode, its traceback is in the text; or three processes
            or machines died at it.
        ConnectionError: there is no cluster at this address.
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
        player = ray.put(pickle.dumps(make_player))
        play = ray.remote(num_cpus=1, max_retries=MAX_ATTEMPTS - 1)(_play)
        ahead = LOOK_AHEAD * int(ray.cluster_resources()["CPU"])
        asked: deque[ray.ObjectRef] = deque()
        for k in numbers:
            asked.append(play.remote(player, k))
            if len(asked) == ahead:
                yield ray.get(asked.popleft())
        while asked:
            yield ray.get(asked.popleft())
    finally:
        ray.shutdown()


def _play(pickled: bytes, k: int) -> Episode:
    return _player(pickled)(k)


@lru_cache(maxsize=1)
def _player(pickled: bytes) -> Play:
    """Make the player once per process."""
    return pickle.loads(pickled)()
