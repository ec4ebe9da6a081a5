"""How values are made of their number: between the training values of their factor, and away from the held-out ones.

Factors are drawn apart from each other, so what must be told apart is so for all: tables are mixes of the training
tables, hence within their convex hull in CIELAB, and colours of objects lie beyond a plane that is far enough from it.

Every value is rounded, so that the last bits of a machine's arithmetic do not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from colorsys import hsv_to_rgb, rgb_to_hsv
from functools import cache, partial
from itertools import chain
from typing import Any

import numpy as np

from vjepa_wm.envs.variation.colours import from_lab, least_distance, to_lab
from vjepa_wm.envs.variation.named_values import (
    NAMED_CAMERAS,
    NAMED_DISTRACTORS,
    NAMED_LIGHTS,
    NAMED_OBJECTS,
    NAMED_TABLES,
    SCENE_TABLES,
)
from vjepa_wm.envs.variation.value_types import Colour, Drawn, LightChange, NumberedNames, Orbit

NUM_DRAWN = 10_000
"""Values of each factor."""
MIXED = 3
"""Training values that a table, a wall or a light is a mix of."""

# Distances of CIELAB.
APART = 40.0
"""Of an object or its mark from any table at least; in dim light and under tints it is less, above 25 in the training
lights and their mixes and above 18 in the held-out ones."""
MARK_APART = 60.0
"""Of a mark from its object at least."""
WALL_APART = 34.0
"""Of walls from the floor at least, as of the training values."""
TABLE_NEWS = 20.0
"""Of a table from any held-out one at least; of the training tables, slate is the nearest to one (teal), with 16.6."""
OBJECT_NEWS = 25.0
"""Of an object from any held-out one at least."""
_ROUNDING = 0.3  # what rounding moves a table by at most

HUES = (5.0, 220.0)
"""Of objects and their marks [degrees]."""
LEAST_SATURATION = 0.6
"""Of objects and their marks."""
LEAST_BRIGHTNESS = 0.6
"""Of objects and their marks: the V of HSV."""
LIGHT_NEWS = 25.0
"""Angle of a light from that of any held-out one at least [degrees]."""


def drawn_values(factor: str, rule: Callable[[np.random.Generator], Any]) -> Drawn:
    """Return the values that a rule makes, by the names drawn_00000 to drawn_09999.

    Args:
        factor: whose values they are; two factors with the same rule have different ones.
        rule: makes a value of a generator.
    """
    return Drawn(NumberedNames("drawn_", NUM_DRAWN, digits=5), partial(_value, factor, rule))


def _value(factor: str, rule: Callable[[np.random.Generator], Any], number: int) -> Any:
    """Make the value of a number; a function of the module, so that environments can be copied and pickled."""
    # Of a named bit generator, as the default one may become another.
    return rule(np.random.Generator(np.random.PCG64([*factor.encode(), number])))


def draw_table(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return the colours of a table and of walls on it: mixes of those of the training values."""
    named = [*SCENE_TABLES, *filter(None, NAMED_TABLES.training.values())]
    walls = to_lab([wall for _, wall in named if wall])
    objects, held_out = _objects(), _held_out_tables()
    while True:
        table = _rounded(from_lab(_mix(rng, _training_tables())))
        seen = to_lab(table)
        if least_distance(seen, held_out) >= TABLE_NEWS and least_distance(seen, objects) >= APART:
            break
    while True:
        wall = _rounded(from_lab(_mix(rng, walls)))
        if np.linalg.norm(to_lab(wall) - seen) >= WALL_APART:
            return table, wall


def draw_object(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return the colours of an object and of its mark, both told apart from all tables and from each other."""
    body = _object_colour(rng)
    while True:
        mark = _object_colour(rng)
        if np.linalg.norm(to_lab(mark) - to_lab(body)) >= MARK_APART:
            return body, mark


def draw_light(rng: np.random.Generator) -> LightChange:
    """Return a light whose direction is a mix of the training ones', and strength and colour one of theirs."""
    training = list(NAMED_LIGHTS.training.values())
    directions = _unit([light.direction for light in training if light.direction])
    held_out = _unit([light.direction for light in NAMED_LIGHTS.held_out.values() if light.direction])
    lights = np.array([(*light.light, *light.surroundings) for light in training if not light.direction])
    while True:
        direction = _rounded(_unit(_mix(rng, directions)))
        if (held_out @ direction).max() <= math.cos(math.radians(LIGHT_NEWS)):
            break
    strength = _mix(rng, lights)
    return LightChange(direction, _rounded(strength[:3]), _rounded(strength[3:]))


def draw_camera(rng: np.random.Generator) -> Orbit:
    """Return a camera that turns, rises and comes nearer by amounts drawn evenly from what the training ones span."""
    orbits = np.array(list(NAMED_CAMERAS.training.values()))
    turn, rise, distance = rng.uniform(orbits.min(axis=0), orbits.max(axis=0))
    return Orbit(round(float(turn), 2), round(float(rise), 2), round(float(distance), 3))


def draw_distractors(rng: np.random.Generator) -> tuple[str, ...]:
    """Return none, one or two of the training bodies, each number of them as likely."""
    bodies = sorted(set(chain.from_iterable(NAMED_DISTRACTORS.training.values())))
    num = int(rng.integers(3))
    return tuple(bodies[k] for k in _choose(rng, len(bodies), num))


def draw_scale(rng: np.random.Generator, training: Iterable[float]) -> float:
    """Return a factor that is drawn evenly in its logarithm from what the training ones span."""
    scales = tuple(training)
    return round(math.exp(rng.uniform(math.log(min(scales)), math.log(max(scales)))), 3)


def _object_colour(rng: np.random.Generator) -> Colour:
    """Return a colour of a hue that is drawn evenly, and saturation and brightness that are drawn until it may be."""
    wanted = rng.uniform(*HUES) / 360
    while True:
        colour = _rounded(hsv_to_rgb(wanted, rng.uniform(LEAST_SATURATION, 1.0), rng.uniform(LEAST_BRIGHTNESS, 1.0)))
        if HUES[0] <= 360 * rgb_to_hsv(*colour)[0] <= HUES[1] and _may_be_of_object(to_lab(colour)):
            return colour


def _may_be_of_object(lab: np.ndarray) -> bool:
    if least_distance(lab, _tables()) < APART or least_distance(lab, _held_out_objects()) < OBJECT_NEWS:
        return False
    directions, reach = _around_tables()
    return bool((directions @ lab - reach).max() >= APART + _ROUNDING)


@cache
def _around_tables() -> tuple[np.ndarray, np.ndarray]:
    """Return directions of CIELAB, (N, 3), and how far the training tables and their mixes reach in each, (N,)."""
    steps = np.arange(8000) + 0.5
    height, turn = 1 - 2 * steps / len(steps), steps * math.pi * (1 + math.sqrt(5))
    flat = np.sqrt(1 - height**2)
    directions = np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=1)
    return directions, (directions @ _training_tables().T).max(axis=1)


@cache
def _training_tables() -> np.ndarray:
    return to_lab([table for table, _ in (*SCENE_TABLES, *filter(None, NAMED_TABLES.training.values()))])


@cache
def _held_out_tables() -> np.ndarray:
    return to_lab([table for table, _ in NAMED_TABLES.held_out.values()])


@cache
def _tables() -> np.ndarray:
    return np.concatenate([_training_tables(), _held_out_tables()])


@cache
def _objects() -> np.ndarray:
    named = (NAMED_OBJECTS[name] for name in NAMED_OBJECTS.names())
    return to_lab(list(chain.from_iterable(filter(None, named))))


@cache
def _held_out_objects() -> np.ndarray:
    return to_lab([body for body, _ in NAMED_OBJECTS.held_out.values()])


def _mix(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """Return a mix of a few points, (N, D), all mixes of them as likely, (D,)."""
    chosen = points[_choose(rng, len(points), MIXED)]
    shares = -np.log1p(-rng.random(MIXED))
    mixed: np.ndarray = shares @ chosen / shares.sum()
    return mixed


def _choose(rng: np.random.Generator, among: int, num: int) -> list[int]:
    return [int(k) for k in np.argsort(rng.random(among))[:num]]


def _unit(vectors: Any) -> np.ndarray:
    vectors = np.asarray(vectors)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def _rounded(three: Iterable[float]) -> Colour:
    one, two, other = (round(float(number), 3) for number in three)
    return one, two, other
