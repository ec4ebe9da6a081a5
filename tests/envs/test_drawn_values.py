"""Drawn values: the same in every process, told apart from each other, all round the held-out ones but not near one."""

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
    "table": ((0.027, 0.144, 0.121), (0.413, 0.24, 0.155)),
    "object": ((0.934, 0.559, 0.035), (0.082, 0.892, 0.547)),
    "light": LightChange((0.35, -0.433, -0.831), (0.891, 0.646, 0.94), (0.685, 0.583, 0.703)),
    "camera": Orbit(turn=-13.72, rise=2.99, distance=1.266),
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
        assert least_apart(table, np.concatenate(others)) > (24 if light in LIGHTS.held_out.values() else 16)


def test_tables_are_all_round_the_held_out_ones_and_their_walls_are_seen(tables):
    walls = to_lab(colours("table", 1))
    assert np.linalg.norm(tables - walls, axis=1).min() >= 34
    for name, (table, _) in TABLES.held_out.items():
        away = tables - to_lab(table)
        distance = np.linalg.norm(away, axis=1)
        assert distance.min() >= 12
        near = away[distance < 35]
        assert (near > 4).any(axis=0).all() and (near[:, 1] < -4).any()  # lighter, redder, yellower, greener
        assert (near[:, [0, 2]] < -4).any(axis=0).all() or name == "navy"  # than which nothing is darker or bluer
    chroma = np.hypot(tables[:, 1], tables[:, 2])
    assert chroma.max() < 46 and (chroma > 25).mean() > 0.1
    hue = np.degrees(np.arctan2(tables[:, 2], tables[:, 1])) % 360
    assert np.histogram(hue, 12, (0, 360))[0].min() >= 15  # of 167 on average
    assert np.ptp(tables[:, 0]) > 75


def test_objects_are_all_round_the_held_out_ones(objects):
    body, mark = objects
    assert np.linalg.norm(body - mark, axis=1).min() >= 60
    held_out = [rgb for rgb, _ in OBJECTS.held_out.values()]
    for part in (0, 1):
        hue, saturation, brightness = np.array([rgb_to_hsv(*rgb) for rgb in colours("object", part)]).T
        hue *= 360
        assert 0.6 <= saturation.min() < 0.65 and 0.6 <= brightness.min() < 0.65
        for rgb in held_out:
            turn = (hue - 360 * rgb_to_hsv(*rgb)[0] + 180) % 360 - 180
            assert ((turn > 5) & (turn < 40)).sum() > 40 and ((turn < -5) & (turn > -40)).sum() > 40
        assert np.histogram(hue, np.arange(0, 181, 20))[0].min() >= 20  # of 111 on average
        assert least_apart(objects[part], to_lab(held_out)) >= 25


def test_lights_come_from_anywhere_above_and_none_is_like_a_held_out_one():
    drawn, held_out = (
        np.array([(*light.light, *light.surroundings) for light in group])
        for group in (drawn_of("light"), LIGHTS.held_out.values())
    )
    assert np.abs(drawn[:, None] - held_out[None]).max(axis=-1).min() >= 0.1
    assert (drawn.min(axis=0) <= held_out.min(axis=0)).all() and (drawn.max(axis=0) >= held_out.max(axis=0)).all()
    directions = np.array([light.direction for light in drawn_of("light")])
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=2e-3)
    assert directions[:, 2].min() >= -0.951 and directions[:, 2].max() <= -0.349
    assert np.histogram(np.arctan2(directions[:, 1], directions[:, 0]), 8)[0].min() > 0.1 * len(directions)


def test_cameras_are_all_round_the_held_out_ones():
    orbits = np.array(drawn_of("camera"))
    low, high = np.array([-20.0, -5.0, 0.92]), np.array([20.0, 18.0, 1.4])
    assert (orbits >= low).all() and (orbits <= high).all()
    assert (np.ptp(orbits, axis=0) > 0.95 * (high - low)).all()
    for orbit in CAMERAS.held_out.values():
        assert (np.array(orbit) > low).all() and (np.array(orbit) < high).all()
        away = np.abs(orbits - orbit) / [2.0, 2.0, 0.05]
        assert away.max(axis=1).min() >= 1 and (away.max(axis=1) < 3).any()


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
