from __future__ import annotations

import math

import pytest

from vjepa_wm.evaluation.success_rate import wilson_interval


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 20, 0.0, 0.16113), (20, 20, 0.83887, 1.0), (18, 20, 0.69897, 0.97213), (5, 10, 0.23659, 0.76341)],
)
def test_wilson_interval(successes, n, low, high):
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=2e-5)


def test_wilson_bounds_solve_the_score_equation():
    for bound in wilson_interval(13, 37):
        assert abs(bound - 13 / 37) == pytest.approx(1.959964 * math.sqrt(bound * (1 - bound) / 37))


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_interval_refuses_impossible_counts(successes, n):
    with pytest.raises(ValueError, match=f"got {successes} of {n}"):
        wilson_interval(successes, n)
