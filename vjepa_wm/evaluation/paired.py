"""How sure a difference is between two that played the same episodes.

Episodes differ in difficulty, which two separate intervals count twice. A paired interval is made from what the two did
on each episode, so that the difficulty cancels and fewer episodes tell the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

HALVINGS = 60
"""Of the way in which a bound lies, which is at most 2 long: more than floats can tell apart."""


def paired_interval(only_first: int, only_second: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Give the score interval of the difference of two success rates on the same episodes, second minus first.

    Episodes that both or neither solved count by their number alone. It is never empty, also where the two agree on
    every episode.

    Args:
        only_first: number of episodes that only the first solved.
        only_second: number of episodes that only the second solved.
        n: number of episodes.
        z: width in standard deviations; the default gives 95 %.

    Returns:
        Lower and upper bound, within -1..1.

    Raises:
        ValueError: if n is below 1, or a number is below 0 or their sum above n.

    Source: Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17.
    """
    if n < 1 or min(only_first, only_second) < 0 or only_first + only_second > n:
        raise ValueError(
            f"only_first and only_second must be at least 0 and together at most n, and n at least 1, got "
            f"{only_first} and {only_second} of {n}"
        )

    def score(difference: float) -> float:
        """Return how many standard deviations the counts lie above what a difference lets expect."""
        # the share of episodes that only the first solves, as likely as can be if that is the difference
        b = (2 * n - only_second + only_first) * difference - only_first - only_second
        c = -only_first * difference * (1 - difference)
        share = (math.sqrt(b * b - 8 * n * c) - b) / (4 * n)
        variance = n * (2 * share + difference * (1 - difference))
        return (only_second - only_first - n * difference) / math.sqrt(variance)

    estimate = (only_second - only_first) / n
    low = -1.0 if only_first == n else _root(lambda difference: score(difference) - z, -1.0, estimate)
    high = 1.0 if only_second == n else _root(lambda difference: score(difference) + z, estimate, 1.0)
    return low, high


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Give Student's 95 % interval of a mean, as of differences between pairs.

    Args:
        values: what is averaged.

    Returns:
        Lower and upper bound; None for fewer than two values, which tell nothing of how they vary.
    """
    n = len(values)
    if n < 2:
        return None
    half = student_width(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    mean = float(np.mean(values))
    return mean - half, mean + half


def student_width(freedom: int, share: float = 0.95) -> float:
    """Return the bound within which Student's t lies with a probability.

    Args:
        freedom: degrees of freedom, at least 1.
        share: the probability.
    """
    # with t = sqrt(freedom) tan(angle) the density of the angle is a power of its cosine, which ends at a right angle
    angles = np.linspace(0, np.pi / 2, 100_001)
    density = np.cos(angles) ** (freedom - 1)
    below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * math.tan(float(np.interp(share, below / below[-1], angles)))


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Return where a falling function crosses zero, which it does between two bounds."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2
