"""Errors of imagination beside those of standing still, on arrays whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from vjepa_wm.evaluation.diagnosis.open_loop import has_moved, open_loop


def test_an_object_has_moved_where_any_of_its_numbers_ever_differs_from_the_start():
    objects = np.zeros((3, 4, 2))
    objects[:, :, 0] = 0.5
    objects[1, 2, 1] = 0.02  # goes and comes back
    objects[2, 1:, 0] += 0.005  # trembles
    assert has_moved(objects).tolist() == [False, True, False]
    assert has_moved(np.zeros((2, 4, 0))).tolist() == [False, False]


def test_means_and_ratios_of_each_group():
    imagined = np.array([[1.0, 2.0], [3.0, 6.0], [5.0, 10.0]])
    still = np.array([[2.0, 2.0], [1.0, 1.0], [3.0, 3.0]])
    rows = open_loop(imagined, still, np.array([True, False, False]))
    found = {(row.motion, row.step): row for row in rows}
    assert len(rows) == 6 and found["all", 1].sequences == 3
    assert (found["all", 2].imagined, found["all", 2].standing_still) == (6.0, 2.0)
    assert found["all", 2].ratio == pytest.approx(3.0)
    assert found["object moved", 1].ratio == pytest.approx(0.5) and found["object moved", 1].sequences == 1
    assert found["object at rest", 2].ratio == pytest.approx(4.0)


def test_without_objects_there_is_one_group_and_groups_without_a_sequence_are_left_out():
    errors = np.ones((2, 3))
    assert {row.motion for row in open_loop(errors, errors, None)} == {"all"}
    assert {row.motion for row in open_loop(errors, errors, np.array([False, False]))} == {"all", "object at rest"}
