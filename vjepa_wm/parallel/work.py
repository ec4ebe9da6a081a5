"""What the three places where work is done have in common: this process, other processes, a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
Run = Callable[[int], T]
"""Does one piece of work, given its number; if it has `close()`, that ends what it works with."""
MAX_ATTEMPTS = 3
"""Times that a piece is begun, if each time its process dies."""


@contextmanager
def opened(make_run: Callable[[], Run[T]]) -> Iterator[Run[T]]:
    """Make what does the pieces, and close it in the end if it can be closed."""
    run = make_run()
    try:
        yield run
    finally:
        if hasattr(run, "close"):
            run.close()
