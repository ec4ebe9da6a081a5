"""The checks that options of every kind share, so that one mistake is told in one way everywhere. Imports nothing."""

from __future__ import annotations


def check_at_least(least: float, **values: float | None) -> None:
    """Raise a ValueError that names the first value below a bound.

    Args:
        least: the smallest that is right.
        values: by the name of the option; None is left alone.
    """
    for name, value in values.items():
        if value is not None and not value >= least:
            raise ValueError(f"{name} must be at least {least:g}, got {value}")
