"""The checks that options of every kind share, so that one mistake is told in one way everywhere. Imports nothing.

What is wrong with the machine and not with an option is a `MachineError`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


class MachineError(RuntimeError):
    """This machine has not what is asked of it; the message names what decides it and says what would be right."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return what follows an unknown name in a message: the known one that looks most like it, else a semicolon."""
    plain = {_plain(one): one for one in known}
    close = get_close_matches(_plain(name), plain, n=1, cutoff=0.55)
    return f", did you mean {plain[close[0]]!r}?" if close else ";"


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def check_at_least(least: float, **values: float | None) -> None:
    """Raise a ValueError that names the first value below a bound, or without end.

    Args:
        least: the smallest that is right.
        values: by the name of the option; None is left alone.
    """
    for name, value in values.items():
        if value is not None and not least <= value < math.inf:
            finite = " and finite" if value == math.inf else ""
            raise ValueError(f"{name} must be at least {least:g}{finite}, got {value}")


def check_positive(**values: float | None) -> None:
    """Raise a ValueError that names the first value that is not above 0 and finite; None is left alone."""
    for name, value in values.items():
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")


def check_within(low: float, high: float, **values: float | None) -> None:
    """Raise a ValueError that names the first value outside of two bounds; None is left alone."""
    for name, value in values.items():
        if value is not None and not low <= value <= high:
            raise ValueError(f"{name} must be from {low:g} to {high:g}, got {value}")


def differences(found: Mapping[str, Any], asked: Mapping[str, Any], within: str = "") -> list[str]:
    """Say in what two descriptions of a piece of work differ, a piece of text for each setting.

    Args:
        found: json values by name, which may be mappings themselves.
        asked: likewise. What only one of both has a setting for, the other does not depend on.
        within: what the names stand in, for people.

    Returns:
        In the order of `found`; nothing if they are the same.
    """
    told: list[str] = []
    for name, there in found.items():
        here = asked.get(name, there)
        if isinstance(there, Mapping) and isinstance(here, Mapping):
            told += differences(there, here, f"{within}{name}.")
        elif there != here:
            told.append(f"{within}{name} {there}, asked for {here}")
    return told


def check_memory(num_bytes: float, what: str) -> None:
    """Raise a ValueError if something would take more memory than the machine has.

    Args:
        num_bytes: what it would take [bytes].
        what: which values of which options ask for it.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if num_bytes > total:
        raise ValueError(f"{what} would take {num_bytes / 1e9:,.0f} GB of memory, this machine has {total / 1e9:,.0f}")
