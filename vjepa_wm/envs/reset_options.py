"""What tasks do with the options of `reset`: check what is given, draw what is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
MAX_DRAWS = 1000


def draw_until(draw: Callable[[], T], is_right: Callable[[T], bool], complaint: str) -> T:
    """Draw starts and goals until some are right.

    Args:
        draw: makes some.
        is_right: whether an episode can begin with them.
        complaint: what the options of `reset` lack if none are, for the message.

    Returns:
        The first that are.

    Raises:
        ValueError: if none of `MAX_DRAWS` are.
    """
    for _ in range(MAX_DRAWS):
        drawn = draw()
        if is_right(drawn):
            return drawn
    raise ValueError(f"options of reset must leave room for what they do not give: in {MAX_DRAWS} draws {complaint}")


def check_options(options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raise a ValueError unless all options of `reset` are known."""
    unknown = sorted(set(options) - set(known))
    if unknown:
        names = ", ".join(map(repr, known[:-1])) + f" and {known[-1]!r}"
        raise ValueError(f"options of reset must be {names}, got {unknown}")


def check_numbers(name: str, value: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Return an option of `reset` as float64.

    Args:
        name: what it is, for the message.
        value: the numbers.
        names: what each of them is.

    Raises:
        ValueError: if it is not as many finite numbers.
    """
    numbers = np.asarray(value, dtype=np.float64)
    if numbers.shape != (len(names),) or not np.isfinite(numbers).all():
        listed = ", ".join(names[:-1]) + f" and {names[-1]}"
        raise ValueError(
            f"{name} must be {len(names)} finite numbers, {listed}, got {numbers.tolist()} of shape {numbers.shape}"
        )
    return numbers


def check_distances(name: str, success: float, min_distance: float, limit: float) -> None:
    """Raise a ValueError unless starts are further from the goal than what counts as success, and such starts exist.

    Args:
        name: the option that says what counts as success, for the message.
        success: its value [m].
        min_distance: the option `min_distance` [m].
        limit: largest distance that is surely found [m].
    """
    if not 0 < success < min_distance <= limit:
        raise ValueError(
            f"{name} and min_distance must satisfy 0 < {name} < min_distance <= {limit:g}, "
            f"got {success} and {min_distance}"
        )
