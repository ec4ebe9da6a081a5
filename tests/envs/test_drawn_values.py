"""Drawn values: the same in every process, within the training values' span, apart from held-out ones."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from colorsys import rgb_to_hsv
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from vjepa_wm.envs.plane.layouts import MAZES, TWO_ROOMS
from vjepa_wm.envs.variation.colours import from_lab, to_lab
from vjepa_wm.envs.variation.named_values import SCENE_TABLES
from vjepa_wm.envs.variation.value_types import LightChange, NumberedNames, Orbit
from vjepa_wm.envs.variation.values import (
    CAMERAS,
    DISTRACTORS,
    FRICTIONS,
    LIGHTS,
    MASSES,
    OBJECTS,
    TABLES,
    VALUES,
)

DRAWN = [f"drawn_{number:05d}" for number in range(10_000)]
NUM_LOOKED_AT = 2000
# What a name gives on every machine and in every version; otherwise collected data would change its meaning.
PINNED = {
    "table": ((0.696, 0.641, 0.537), (0.212, 0.168, 0.16)),
    "object": ((0.067, 0.683, 0.992), (0.026, 0.932, 0.851)),
    "light": LightChange((0.253, 0.554, -0.793), (1.0, 0.936, 0.832), (0.951, 0.925, 0.854)),
    "camera": Orbit(turn=-3.43, rise=-0.87, distance=1.055),
    "distractors": ("plate",),
    "friction": 1.056,
    "mass": 0.671,
}


@cache
def drawn_of(factor):
    """Return the first values of a factor."""
    return [VALUES[factor][name] for name in DRAWN[:NUM_LOOKED_AT]]


def colours(factor, part):
    """Return the first or second colour of the first values, (N, 3)."""
    return np.array([value[part] for value in drawn_of(factor)])


def least_apart(lab, others):
    """Return the least distance of colours, (N, 3) and (M, 3)."""
    return min(np.linalg.norm(lab[k : k + 100, None] - others[None], axis=-1).min() for k in range(0, len(lab), 100))


@pytest.fixture(scope="module")
def tables():
    return to_lab(colours("table", 0))


@pytest.fixture(scope="module")
def objects():
    """Return the colours of objects, and those of their marks."""
    return to_lab(colours("object", 0)), to_lab(colours("object", 1))


def test_lab_is_told_right_and_turned_back():
    # Of the primaries and a grey, as published for D65.
    known = {
        (1, 0, 0): (53.24, 80.09, 67.20),
        (0, 1, 0): (87.73, -86.18, 83.18),
        (0, 0, 1): (32.30, 79.19, -107.86),
        (0.5, 0.5, 0.5): (53.39, 0, 0),
    }
    np.testing.assert_allclose(to_lab(list(known)), list(known.values()), atol=0.05)
    rgb = np.random.default_rng(0).random((500, 3))
    np.testing.assert_allclose(from_lab(to_lab(rgb)), rgb, atol=1e-9)


def test_numbered_names():
    names = NumberedNames("maze_", 120, digits=2)
    assert list(names) == [f"maze_{number:02d}" for number in range(120)] == list(names[:])
    assert all(names.index(name) == number and name in names for number, name in enumerate(names))
    for wrong in (
        "maze_120",
        "maze_1",
        "maze_001",
        "maze_-1",
        "maze_ 1",
        "maze_",
        "table_01",
        "maze_٣٣",
        "maze_" + "9" * 5000,
        3,
    ):
        assert wrong not in names
    with pytest.raises(ValueError, match=r"one of maze_00 to maze_119, got 'maze_120'"):
        names.index("maze_120")


@pytest.mark.parametrize("values", [*VALUES.values(), MAZES, TWO_ROOMS])
def test_a_value_has_one_number_and_one_name(values):
    names = (*values.names(), *values.drawn)
    assert len(set(names)) == len(names)
    for number in (*range(len(values.names()) + 5), len(names) - 1):
        assert values.name(number) == names[number] and values.index(names[number]) == number
        assert names[number] in values
    with pytest.raises(ValueError, match=r"not in tuple|one of"):
        values.index("nowhere")


def digest(factors=VALUES):
    """Return a number that tells some values of each factor."""
    some = {factor: [values[name] for name in DRAWN[::400]] for factor, values in factors.items()}
    return hashlib.sha256(json.dumps(some).encode()).hexdigest()


def test_a_name_gives_the_same_value_in_every_process():
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from {Path(__file__).stem} import digest; "
    told = [
        subprocess.run(
            [sys.executable, "-c", f"{code}print(digest())"], check=True, capture_output=True, text=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert told == 2 * [digest()]


def test_values_are_those_they_were():
    assert {factor: values["drawn_00412"] for factor, values in VALUES.items()} == PINNED


def test_factors_do_not_share_their_draws():
    frictions, masses = (np.log([values[name] for name in DRAWN[:500]]) for values in (FRICTIONS, MASSES))
    assert abs(np.corrcoef(frictions, masses)[0, 1]) < 0.15


def test_any_object_is_told_apart_from_any_table(tables, objects):
    named = [colour for name in OBJECTS.names() if OBJECTS[name] for colour in OBJECTS[name]]
    flat = [TABLES[name][0] for name in TABLES.names() if TABLES[name]]
    for lab in objects:
        assert least_apart(lab, tables) >= 40
        assert least_apart(lab, to_lab([*flat, *(table for table, _ in SCENE_TABLES)])) >= 40
    assert least_apart(to_lab(named), tables) >= 40


def test_any_object_is_told_apart_from_any_table_in_any_light():
    for light in (*map(LIGHTS.__getitem__, LIGHTS.names()), *drawn_of("light")[:30]):
        tint = 0.55 * np.array(light.surroundings) + 0.35 * np.array(light.light)
        pair = (colours("table", 0)[::4], colours("object", 0)[::4], colours("object", 1)[::4])
        table, *others = (to_lab(np.clip(seen * tint, 0, 1)) for seen in pair)
        assert least_apart(table, np.concatenate(others)) > (18 if light in LIGHTS.held_out.values() else 25)


def test_tables_are_new_and_their_walls_are_seen(tables):
    held_out = to_lab([table for table, _ in TABLES.held_out.values()])
    walls = to_lab(colours("table", 1))
    assert least_apart(tables, held_out) >= 20
    assert np.linalg.norm(tables - walls, axis=1).min() >= 34
    named = to_lab([*(value[0] for value in TABLES.training.values() if value), *(table for table, _ in SCENE_TABLES)])
    assert (tables >= named.min(axis=0) - 0.3).all() and (tables <= named.max(axis=0) + 0.3).all()
    assert (np.ptp(tables, axis=0) > 0.8 * np.ptp(named, axis=0)).all()  # of nearly the whole span


def test_objects_have_every_hue_but_those_held_out(objects):
    body, mark = objects
    for part in (0, 1):
        hue, saturation, brightness = np.array([rgb_to_hsv(*rgb) for rgb in colours("object", part)]).T
        hue *= 360
        assert hue.min() >= 5 and hue.max() <= 220
        assert np.histogram(hue, np.arange(5, 221, 5))[0].min() >= 15  # of 46 on average
        assert 0.6 <= saturation.min() < 0.65 and 0.6 <= brightness.min() < 0.65
        held_out = [360 * rgb_to_hsv(*rgb)[0] for rgb, _ in OBJECTS.held_out.values()]
        gaps = np.abs(hue[:, None] - held_out)
        assert np.minimum(gaps, 360 - gaps).min() > 25
    assert np.linalg.norm(body - mark, axis=1).min() >= 60
    assert least_apart(body, to_lab([rgb for rgb, _ in OBJECTS.held_out.values()])) >= 25


def test_lights_are_between_the_training_ones():
    drawn = drawn_of("light")
    strengths = [
        np.array([(*light.light, *light.surroundings) for light in group])
        for group in (drawn, LIGHTS.training.values(), LIGHTS.held_out.values())
    ]
    assert (strengths[0] >= strengths[1].min(axis=0)).all() and (strengths[0] <= strengths[1].max(axis=0)).all()
    farthest = np.abs(strengths[0][:, None] - strengths[2][None]).max(axis=-1)
    assert farthest.min() > 0.1
    directions = np.array([light.direction for light in drawn])
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=2e-3)
    heights = [
        light.direction[2] / np.linalg.norm(light.direction) for light in LIGHTS.training.values() if light.direction
    ]
    assert (directions[:, 2] <= max(heights) + 1e-3).all()
    sunset = np.array(LIGHTS.held_out["sunset"].direction)
    assert np.degrees(np.arccos((directions @ sunset / np.linalg.norm(sunset)).max())) >= 25 - 0.1
    assert np.histogram(np.arctan2(directions[:, 1], directions[:, 0]), 8)[0].min() > 0.05 * len(directions)


def test_cameras_are_within_the_training_ones():
    orbits = np.array(drawn_of("camera"))
    training = np.array(list(CAMERAS.training.values()))
    low, high = training.min(axis=0), training.max(axis=0)
    assert (orbits >= low).all() and (orbits <= high).all()
    assert (np.ptp(orbits, axis=0) > 0.95 * (high - low)).all()


def test_distractors_are_none_one_or_any_pair_of_the_training_bodies():
    bodies = {name for shown in DISTRACTORS.training.values() for name in shown}
    drawn = [frozenset(shown) for shown in drawn_of("distractors")]
    assert set(drawn) == {frozenset(shown) for num in range(3) for shown in combinations(bodies, num)}
    assert [len(shown) for shown in drawn_of("distractors")] == [len(shown) for shown in drawn]
    assert np.bincount([len(shown) for shown in drawn]).min() > 0.3 * len(drawn)


@pytest.mark.parametrize("values", [FRICTIONS, MASSES])
def test_scales_are_as_likely_below_as_above_the_middle_of_their_logarithm(values):
    drawn = np.array([values[name] for name in DRAWN[:NUM_LOOKED_AT]])
    low, high = min(values.training.values()), max(values.training.values())
    assert low <= drawn.min() < 1.02 * low and 0.98 * high < drawn.max() <= high
    counts, _ = np.histogram(np.log(drawn), 5, (np.log(low), np.log(high)))
    np.testing.assert_allclose(counts / len(drawn), 0.2, atol=0.03)
