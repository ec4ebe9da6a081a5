"""The checks that options of every kind share, so that one mistake is told in one way everywhere. Imports nothing."""

from __future__ import annotations

import os


def check_at_least(least: float, **values: float | None) -> None:
    """Raise a ValueError that names the first value below a bound.

    Args:
        least: the smallest that is right.
        values: by the name of the option; None is left alone.
    """
    for name, value in values.items():
        if value is not None and not value >= least:
            raise ValueError(f"{name} must be at least {least:g}, got {value}")


def check_memory(num_bytes: float, what: str) -> None:
    """Raise a ValueError if something would take more memory than the machine has.

    Args:
        num_bytes: what it would take [bytes].
        what: which values of which options ask for it.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if num_bytes > total:
        raise ValueError(f"{what} would take {num_bytes / 1e9:,.0f} GB of memory, this machine has {total / 1e9:,.0f}")
