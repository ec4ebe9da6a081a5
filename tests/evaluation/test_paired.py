from __future__ import annotations

import math

import numpy as np
import pytest

from vjepa_wm.evaluation.paired import mean_interval, paired_interval, student_width


@pytest.mark.parametrize(
    ("only_first", "only_second", "n", "z", "expected"),
    [
        # Bentur et al. 2009 and Cavo et al. 2012, as computed in Fagerland, Lydersen and Laake 2014 and in their book
        (7, 1, 21, 1.959964, (-0.517, -0.026)),
        (16, 6, 161, 1.959964, (-0.1240, -0.0054)),
        # R, PropCIs: scoreci.mp(25, 28, 618, 0.90)
        (25, 28, 618, 1.644854, (-0.0148, 0.0247)),
    ],
)
def test_published_intervals(only_first, only_second, n, z, expected):
    digits = max(len(str(bound).split(".")[1]) for bound in expected)
    assert paired_interval(only_first, only_second, n, z) == pytest.approx(expected, abs=0.51 * 10**-digits)


def constrained_likelihood(only_first, only_second, n, difference):
    """Find by trial the share that only the first solves, of all that fit a difference; the likeliest one."""
    shares = np.linspace(max(0.0, -difference), (1 - difference) / 2, 200_001)[1:-1]
    rest = n - only_first - only_second
    likelihood = only_first * np.log(shares) + only_second * np.log(shares + difference)
    return shares[np.argmax(likelihood + rest * np.log(1 - 2 * shares - difference))]


@pytest.mark.parametrize(("only_first", "only_second", "n"), [(3, 9, 40), (6, 1, 12), (2, 2, 30)])
def test_bounds_solve_the_score_equation_under_the_likeliest_shares(only_first, only_second, n):
    for bound in paired_interval(only_first, only_second, n):
        share = constrained_likelihood(only_first, only_second, n, bound)
        deviation = math.sqrt(n * (2 * share + bound - bound**2))  # of only_second - only_first
        assert abs(only_second - only_first - n * bound) / deviation == pytest.approx(1.959964, abs=2e-3)


def test_where_the_two_agree_always_the_bounds_have_a_closed_form():
    z2 = 1.959964**2
    for n in (1, 4, 44):
        assert paired_interval(0, 0, n) == pytest.approx((-z2 / (n + z2), z2 / (n + z2)))


def test_all_counts_give_an_interval_about_the_difference_that_mirrors():
    for n in (1, 2, 5, 13):
        for only_first in range(n + 1):
            for only_second in range(n + 1 - only_first):
                low, high = paired_interval(only_first, only_second, n)
                assert -1 <= low <= (only_second - only_first) / n <= high <= 1
                assert paired_interval(only_second, only_first, n) == pytest.approx((-high, -low))


@pytest.mark.parametrize(("only_first", "only_second", "n"), [(0, 0, 0), (-1, 0, 5), (3, 3, 5)])
def test_impossible_counts_are_refused(only_first, only_second, n):
    with pytest.raises(ValueError, match=f"got {only_first} and {only_second} of {n}"):
        paired_interval(only_first, only_second, n)


@pytest.mark.parametrize(("freedom", "width"), [(1, 12.7062), (2, 4.30265), (3, 3.18245), (19, 2.09302), (99, 1.98422)])
def test_students_widths_are_those_of_the_tables(freedom, width):
    assert student_width(freedom) == pytest.approx(width, rel=1e-5)


def test_the_interval_of_a_mean():
    # extra hours of sleep of ten patients under two drugs, Student 1908
    extra = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    assert mean_interval(extra) == pytest.approx((0.7001142, 2.4598858), abs=1e-5)
    assert mean_interval([0.5]) is None
    assert mean_interval([0.25, 0.25]) == (0.25, 0.25)
