"""What a bank says of energies, on made-up arrays whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vjepa_wm.evaluation.diagnosis.bank_report import (
    FUTURES,
    BankNumbers,
    bank_energies,
    rank,
    report_bank,
    spearman,
)


def test_rank_correlation_of_lists_whose_answer_is_known():
    assert spearman([1, 2, 3], [10, 100, 1000]) == pytest.approx(1)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))
    # without ties it is 1 - 6 sum d^2 / (n (n^2 - 1)); the ranks differ by 1, 1, 0, 1 and 1
    assert spearman([1, 2, 3, 4, 5], [2, 1, 3, 60, 50]) == pytest.approx(1 - 6 * 4 / (5 * 24))
    # with ties it is Pearson's correlation of the mean ranks 0.5, 0.5, 2, 3 and 0, 1, 2.5, 2.5
    of_ranks = np.corrcoef([0.5, 0.5, 2, 3], [0, 1, 2.5, 2.5])[0, 1]
    assert spearman([7, 7, 8, 9], [1, 2, 3, 3]) == pytest.approx(of_ranks)


DISTANCES = np.array([[0.3, 0.1, 0.2], [0.5, 0.5, 0.5], [0.0, 0.4, 0.2]])
REACHED = DISTANCES < 0.15


def test_an_energy_that_is_the_distance_is_perfect():
    ranking = rank(DISTANCES, DISTANCES, REACHED)
    assert (ranking.rank_correlation, ranking.regret) == (pytest.approx(1), 0.0)
    assert ranking.ranked_states == 2  # in the second nothing can be ranked
    assert ranking.picked == ranking.reachable == pytest.approx(2 / 3)


def test_an_energy_that_is_its_opposite_picks_the_worst():
    ranking = rank(-DISTANCES, DISTANCES, REACHED)
    assert ranking.rank_correlation == pytest.approx(-1)
    assert ranking.regret == pytest.approx((0.2 + 0.0 + 0.4) / 3)
    assert (ranking.picked, ranking.reachable) == (0.0, pytest.approx(2 / 3))


def test_an_energy_that_knows_nothing_has_no_correlation():
    ranking = rank(np.zeros((3, 3)), DISTANCES, REACHED)
    assert math.isnan(ranking.rank_correlation) and ranking.ranked_states == 0


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"must be \(S, K\) of one shape, got \(3, 3\), \(3, 2\) and"):
        rank(DISTANCES, DISTANCES[:, :2], REACHED)


def test_each_future_energy_and_source_has_its_row():
    energies = bank_energies(reading=False)
    costs = np.zeros((3, 2, len(energies), 3))
    costs[:, 0] = DISTANCES[:, None]  # encoded futures are ranked rightly
    costs[:, 1] = -DISTANCES[:, None]  # predicted ones are not
    numbers = BankNumbers(
        sources=np.array(["expert", "gaussian", "gaussian"]),
        energies=energies,
        costs=costs,
        starts=np.full(3, 0.6),
        distances=DISTANCES,
        reached=REACHED,
    )
    rows = report_bank(numbers)
    assert len(rows) == 3 * len(FUTURES) * len(energies)
    assert [row.source for row in rows[:: 2 * len(energies)]] == ["all", "expert", "gaussian"]
    of_all = {row.future: row.ranking for row in rows if row.source == "all"}
    assert of_all["encoded"].rank_correlation == pytest.approx(1)
    assert of_all["predicted"].rank_correlation == pytest.approx(-1)
    by_source = {row.source: row.ranking for row in rows}
    assert by_source["expert"].reachable == pytest.approx(1 / 3)  # only in the last state
    assert by_source["gaussian"].reachable == pytest.approx(1 / 3)  # only in the first
    assert by_source["expert"].regret == 0.0  # there is nothing else to pick
