import numpy as np
import pytest

from vjepa_wm.data.clips.sample_order import ROUND, Epochs, SampleOrder, deal, round_counts


@pytest.mark.parametrize(
    ("shares", "counts"),
    [
        ((1,), (10_000,)),
        ((1, 1, 1), (3334, 3333, 3333)),
        ((0.7, 0.3), (7000, 3000)),
        ((2, 1), (6667, 3333)),
        ((9999, 1), (9999, 1)),
        ((0.1,) * 10, (1000,) * 10),
    ],
)
def test_shares_become_whole_counts_by_largest_remainder(shares, counts):
    assert round_counts(shares) == counts


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ((), r"shares must be positive numbers, at least one, got \[\]"),
        ((1, 0), r"shares must be positive numbers, at least one, got \[1, 0\]"),
        ((1, float("nan")), "shares must be positive numbers"),
        ((100_000, 1), r"shares must be at least 1/10000 of the whole, got 1 of 100001 for number 1"),
    ],
)
def test_impossible_shares_are_refused(shares, message):
    with pytest.raises(ValueError, match=message):
        deal(0, 5, shares)


@pytest.mark.parametrize("round_number", [0, 3])
def test_a_round_is_shared_out_exactly_in_a_random_order(round_number):
    shares = (0.5, 0.2, 0.3)
    dealt = np.array([deal(7, number, shares) for number in range(round_number * ROUND, (round_number + 1) * ROUND)])
    for taker, num_own in enumerate((5000, 2000, 3000)):
        own = dealt[dealt[:, 0] == taker, 1]
        assert own.tolist() == list(range(round_number * num_own, (round_number + 1) * num_own))
        parts = (dealt[:, 0] == taker).reshape(10, -1).mean(1)
        assert np.abs(parts - num_own / ROUND).max() < 0.08  # no long stretches of the same
    assert np.any(np.diff(dealt[:100, 0]) < 0)


def test_dealing_depends_on_seed_and_number_only():
    shares = (3, 1)
    numbers = [5, 25_000, 5, 9_999, 10_000, 123_456_789]
    forward = [deal(1, number, shares) for number in numbers]
    assert forward[0] == forward[2]
    assert [deal(1, number, shares) for number in reversed(numbers)] == forward[::-1]
    ranges = [[deal(seed, number, shares) for number in range(start, start + 50)] for seed, start in ((1, 0), (2, 0))]
    assert ranges[0] != ranges[1]
    rounds = [[deal(1, number, shares)[0] for number in range(start, start + 50)] for start in (0, ROUND)]
    assert rounds[0] != rounds[1]


def test_epochs_have_every_item_once():
    epochs = [[Epochs(3, 0, 20)[20 * epoch + k] for k in range(20)] for epoch in range(4)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    one = Epochs(3, 0, 20)
    assert [one[k] for k in (65, 3, 64, 19, 20)] == [epochs[k // 20][k % 20] for k in (65, 3, 64, 19, 20)]
    assert [Epochs(3, 1, 20)[k] for k in range(20)] != epochs[0] != [Epochs(4, 0, 20)[k] for k in range(20)]


def test_orders_without_weights_go_by_the_number_of_items():
    order = SampleOrder(0, (30, 10))
    places = [order[number] for number in range(4 * ROUND)]
    counts = np.zeros((2, 30), int)
    for place in places:
        counts[place] += 1
    assert (counts[0] == ROUND // 10).all() and (counts[1, :10] == ROUND // 10).all()
    tiny = SampleOrder(0, (1, 10**6, 1))  # each gets at least one number of a round
    assert {tiny[number][0] for number in range(ROUND)} == {0, 1, 2}
    with pytest.raises(ValueError, match="at least 1/10000"):
        SampleOrder(0, (1, 10**6), (1, 10**6))
    weighted = SampleOrder(0, (30, 10), (1, 4))
    assert np.mean([weighted[number][0] for number in range(ROUND)]) == 0.8
