"""How values are made of their number: all round the named ones, held-out ones among them, but not near a held-out one.

Factors are drawn apart from each other, so what must be told apart is so for all: tables are only what is far enough
from any colour that an object may have, and objects are far from all named tables.

Every value is rounded, so that the last bits of a machine's arithmetic do not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from colorsys import hsv_to_rgb
from functools import cache, partial
from itertools import chain, product
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

# Distances of CIELAB.
APART = 40.0
"""Of an object or its mark from any table at least; in dim light and under tints it is less."""
MARK_APART = 60.0
"""Of a mark from its object at least."""
WALL_APART = 34.0
"""Of walls from the floor at least, as of the training values."""
TABLE_NEWS = 12.0
"""Of a table from any held-out one at least."""
OBJECT_NEWS = 25.0
"""Of an object from any held-out one at least."""
ROOM = 10.0
"""By how much more than `APART` drawn objects keep from named tables: as far round these any colour is a table's."""

TABLE_LIGHTNESS = (12.0, 92.0)
"""Of tables and walls, the L of CIELAB."""
TABLE_CHROMA = 45.0
"""Of tables and walls at most: how far from grey, in units of CIELAB."""
LEAST_SATURATION = 0.6
"""Of objects and their marks."""
LEAST_BRIGHTNESS = 0.6
"""Of objects and their marks: the V of HSV."""
_GRID = (120, 9, 9)  # hues, saturations and brightnesses at which objects are looked at
_GRID_FROM = (0.0, LEAST_SATURATION, LEAST_BRIGHTNESS)
_GRID_GAP = 4.0  # how far a colour of an object may be from the nearest of these
_CLIPPED = 1.0  # how much a screen that lacks a colour changes it at least

LIGHT_HEIGHTS = (-0.95, -0.35)
"""Of the unit vector along which light falls."""
LIGHT_STRENGTHS = (0.6, 1.2)
"""Of light and surroundings, times the scene's."""
LIGHT_TINT = 0.45
"""Largest logarithm of how far a colour of the light is from its strength; the surroundings have half of it."""
LIGHT_NEWS = 0.1
"""Of some number of a light's strength and colour from that of any held-out one at least."""

CAMERA_LOW, CAMERA_HIGH = Orbit(turn=-20.0, rise=-5.0, distance=0.92), Orbit(turn=20.0, rise=18.0, distance=1.4)
"""Between which cameras are drawn."""
CAMERA_NEWS = Orbit(turn=2.0, rise=2.0, distance=0.05)
"""One of them at least lies between a camera and any held-out one."""


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
    """Return the colours of a table and of walls on it, both told apart from all objects and from each other."""
    while True:
        table = _table_colour(rng)
        if least_distance(to_lab(table), _held_out_tables()) >= TABLE_NEWS:
            break
    while True:
        wall = _table_colour(rng)
        if np.linalg.norm(to_lab(wall) - to_lab(table)) >= WALL_APART:
            return table, wall


def draw_object(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return the colours of an object and of its mark, both told apart from all tables and from each other."""
    body = _object_colour(rng)
    while True:
        mark = _object_colour(rng)
        if np.linalg.norm(to_lab(mark) - to_lab(body)) >= MARK_APART:
            return body, mark


def draw_light(rng: np.random.Generator) -> LightChange:
    """Return a light from anywhere above, with a strength and a tint, the surroundings with half of the tint."""
    height, turn = rng.uniform(*LIGHT_HEIGHTS), rng.uniform(0, 2 * math.pi)
    flat = math.sqrt(1 - height**2)
    direction = _rounded((flat * math.cos(turn), flat * math.sin(turn), height))
    held_out = np.array([(*light.light, *light.surroundings) for light in NAMED_LIGHTS.held_out.values()])
    while True:
        tint = rng.uniform(-LIGHT_TINT, LIGHT_TINT, 3)
        light = _rounded(rng.uniform(*LIGHT_STRENGTHS) * np.exp(tint))
        surroundings = _rounded(rng.uniform(*LIGHT_STRENGTHS) * np.exp(tint / 2))
        if np.abs(np.subtract((*light, *surroundings), held_out)).max(axis=1).min() >= LIGHT_NEWS:
            return LightChange(direction, light, surroundings)


def draw_camera(rng: np.random.Generator) -> Orbit:
    """Return a camera that turns, rises and comes nearer by amounts drawn evenly, as no held-out one does."""
    held_out = np.array(list(NAMED_CAMERAS.held_out.values()))
    while True:
        turn, rise, distance = (float(amount) for amount in rng.uniform(CAMERA_LOW, CAMERA_HIGH))
        orbit = Orbit(round(turn, 2), round(rise, 2), round(distance, 3))
        if (np.abs(np.array(orbit) - held_out) / CAMERA_NEWS).max(axis=1).min() >= 1:
            return orbit


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
    """Return a colour that an object may have: bright, not pale, far from any named table and from held-out objects."""
    while True:
        saturation, brightness = rng.uniform(LEAST_SATURATION, 1.0), rng.uniform(LEAST_BRIGHTNESS, 1.0)
        colour = _rounded(hsv_to_rgb(rng.random(), saturation, brightness))
        seen = to_lab(colour)
        far = least_distance(seen, _named_tables()) >= APART + ROOM
        if far and least_distance(seen, _held_out_objects()) >= OBJECT_NEWS:
            return colour


def _table_colour(rng: np.random.Generator) -> Colour:
    """Return a colour that a table may have: no strong one, and far from all that objects have or may have."""
    possible, named = _possible_objects()
    while True:
        lightness, red, yellow = rng.uniform(*TABLE_LIGHTNESS), *rng.uniform(-TABLE_CHROMA, TABLE_CHROMA, 2)
        colour = _rounded(from_lab((lightness, red, yellow)))
        seen = to_lab(colour)
        is_shown = np.abs(seen - (lightness, red, yellow)).max() < _CLIPPED  # the screen has it
        may_be = is_shown and np.hypot(red, yellow) <= TABLE_CHROMA
        if may_be and least_distance(seen, named) >= APART and least_distance(seen, possible) >= APART + _GRID_GAP:
            return colour


@cache
def _possible_objects() -> tuple[np.ndarray, np.ndarray]:
    """Return colours that drawn objects and marks may have, at steps of a grid, (N, 3), and those of named ones."""
    hues, saturations, brightnesses = (np.linspace(low, 1.0, num) for low, num in zip(_GRID_FROM, _GRID, strict=True))
    grid = to_lab([hsv_to_rgb(*colour) for colour in product(hues, saturations, brightnesses)])
    apart = np.linalg.norm(grid[:, None] - _named_tables(), axis=-1).min(axis=1)
    counts = (apart >= APART + ROOM - _GRID_GAP) & (np.hypot(grid[:, 1], grid[:, 2]) < TABLE_CHROMA + APART + _GRID_GAP)
    named = (NAMED_OBJECTS[name] for name in NAMED_OBJECTS.names())
    return grid[counts], to_lab(list(chain.from_iterable(filter(None, named))))


@cache
def _named_tables() -> np.ndarray:
    named = (NAMED_TABLES[name] for name in NAMED_TABLES.names())
    return to_lab([table for table, _ in (*SCENE_TABLES, *filter(None, named))])


@cache
def _held_out_tables() -> np.ndarray:
    return to_lab([table for table, _ in NAMED_TABLES.held_out.values()])


@cache
def _held_out_objects() -> np.ndarray:
    return to_lab([body for body, _ in NAMED_OBJECTS.held_out.values()])


def _choose(rng: np.random.Generator, among: int, num: int) -> list[int]:
    return [int(k) for k in np.argsort(rng.random(among))[:num]]


def _unit(vectors: Any) -> np.ndarray:
    vectors = np.asarray(vectors)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def _rounded(three: Iterable[float]) -> Colour:
    one, two, other = (round(float(number), 3) for number in three)
    return one, two, other
