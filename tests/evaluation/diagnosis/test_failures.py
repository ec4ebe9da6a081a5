"""In what way episodes failed, on records made up for it."""

from __future__ import annotations

import pytest

from vjepa_wm.evaluation.diagnosis.failures import FAILURE_KINDS, failure_kind, largest_solved_distance, sort_failures
from vjepa_wm.evaluation.evaluated_episode import EpisodeResult

STEPS = 9


def result(*, end=0.2, reached=None, moves_until=STEPS, block=0.1, **changes):
    """Return an episode from 0.3 away in which the robot moves until a step and shifts a block in the middle."""
    distances = (*[0.3] * STEPS, end)
    record = {
        "seed": 1,
        "distances": distances,
        "reached": tuple(k == reached for k in range(STEPS + 1)),
        "energies": None,
        "seconds_per_action": 0.1,
        "states": tuple((0.05 * min(k, moves_until), 0.0) for k in range(STEPS + 1)),
        "objects": tuple((0.5 + (block if k > 4 else 0.0), 0.0) for k in range(STEPS + 1)),
    }
    return EpisodeResult(**record | changes)


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (result(reached=4), "came back"),
        (result(block=0.0), "never touched"),
        (result(block=0.0, moves_until=2), "never touched"),
        (result(moves_until=5), "stuck"),
        (result(moves_until=8), "fell short"),
        (result(end=0.03), "wrong heading"),
        (result(objects=None, moves_until=5), "stuck"),
        (result(objects=None, states=None), "fell short"),
    ],
)
def test_each_kind(record, kind):
    assert failure_kind(record, 0.04) == kind


def test_without_a_solved_episode_near_is_a_share_of_the_start():
    assert failure_kind(result(end=0.07), None) == "wrong heading"
    assert failure_kind(result(end=0.07), 0.04) == "fell short"


def test_failures_are_numbered_and_successes_left_out():
    records = [result(reached=STEPS, end=0.035), result(block=0.0), result(), result(block=0.0)]
    assert largest_solved_distance(records) == 0.035 and largest_solved_distance(records[1:]) is None
    kinds = sort_failures(records, 0.035)
    assert tuple(kinds) == FAILURE_KINDS
    assert kinds == {"came back": [], "never touched": [1, 3], "stuck": [], "wrong heading": [], "fell short": [2]}


def test_what_records_cannot_tell_is_left_out():
    assert "stuck" not in sort_failures([result(states=None)], None)
    assert "never touched" not in sort_failures([result(objects=None)], None)
    assert set(sort_failures([result(), result(states=None, objects=None)], None)) == set(FAILURE_KINDS)
