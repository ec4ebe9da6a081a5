"""How sure a success rate is."""

from __future__ import annotations

import math


def wilson_interval(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Give the Wilson score interval of a success rate.

    Args:
        successes: number of successes.
        n: number of episodes.
        z: width in standard deviations; the default gives 95 %.

    Returns:
        Lower and upper bound, within 0..1.

    Raises:
        ValueError: if n is below 1 or successes is not within 0..n.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"successes must be within 0..n and n at least 1, got {successes} of {n}")
    share = successes / n
    scale = 1 / (1 + z * z / n)
    centre = scale * (share + z * z / (2 * n))
    half = scale * z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # at 0 and n the bounds are exactly 0 and 1; rounding must not move them
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return low, high
