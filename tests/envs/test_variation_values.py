"""Values of variation: named alike everywhere, held-out ones apart from the others, objects told apart from tables."""

from __future__ import annotations

import dataclasses
import re
from colorsys import rgb_to_hsv
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.envs import VariationConfig
from vjepa_wm.envs.plane.layouts import MAZES, TWO_ROOMS
from vjepa_wm.envs.variation.factors import FACTORS, Mode
from vjepa_wm.envs.variation.values import (
    DISTRACTORS,
    FRICTIONS,
    LIGHTS,
    MASSES,
    MAX_DISTRACTORS,
    OBJECTS,
    TABLES,
    VALUES,
)
from vjepa_wm.stages.envs import describe_values


def everything(values):
    """Return all values of a factor."""
    return [values[name] for name in values.names()]


def test_names_in_the_configuration_are_those_of_the_values():
    assert tuple(field.name for field in dataclasses.fields(VariationConfig)) == ("all", *FACTORS)
    for factor, values in VALUES.items():
        assert values.names()[0] == "default"
        for name in (*get_args(Mode), *values.names()):
            assert getattr(VariationConfig(**{factor: name}), factor) == name


def test_held_out_is_apart_from_training():
    tasks = [envs.make(task).factors for task in ("push", "point_maze", "two_room")]
    for factor, values in [item for factors in tasks for item in factors.items()]:
        assert 6 <= len(values.training) <= 9 and 3 <= len(values.held_out) <= 5, factor
        assert not set(values.training) & set(values.held_out)
        held_out, training = list(values.held_out.values()), list(values.training.values())
        assert not any(value in training for value in held_out), factor
    assert max(len(shown) for shown in everything(DISTRACTORS)) == MAX_DISTRACTORS
    groups = (OBJECTS.training, OBJECTS.held_out)
    hues = [[rgb_to_hsv(*value[0])[0] for value in group.values() if value] for group in groups]
    gaps = [min(abs(a - b), 1 - abs(a - b)) for a, b in product(*hues)]
    assert min(gaps) > 25 / 360
    for values in (FRICTIONS, MASSES):
        low, high = min(values.training.values()), max(values.training.values())
        assert all(value < 0.85 * low or value > 1.15 * high for value in values.held_out.values())


def lightness_and_colour(rgb):
    """Turn sRGB in 0..1 into CIELAB."""
    rgb = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = rgb @ to_xyz.T / [0.9505, 1.0, 1.089]
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


@pytest.mark.parametrize("task", [task for task in envs.TASKS if task != "reach"])
def test_objects_are_told_apart_from_every_table_in_every_light(task):
    materials = envs.make(task)._scene.model
    own = {name: materials.mat(name).rgba[:3] for name in ("table", "object")}
    tables = [own["table"], *[colours[0] for colours in everything(TABLES) if colours]]
    objects = [own["object"], *[colour for colours in everything(OBJECTS) if colours for colour in colours]]
    for light in everything(LIGHTS):
        tint = 0.55 * np.array(light.surroundings) + 0.35 * np.array(light.light)
        seen = [lightness_and_colour(np.clip(np.array(colours) * tint, 0, 1)) for colours in (tables, objects)]
        assert np.linalg.norm(seen[0][:, None] - seen[1][None], axis=-1).min() > 25


def test_the_list_of_tasks_names_every_value_once():
    factors = {}
    for task in envs.TASKS:
        with closing(envs.make(task, image_size=32)) as env:
            factors[task] = env.factors
    lines = describe_values(factors).splitlines()[1:]
    assert len(lines) == len(set(lines)) == len(VALUES) + 2  # two tasks have layouts
    for task, values_of in factors.items():
        for factor, values in values_of.items():
            named = f"  --variation.{factor}: {', '.join(values.training)}; held out: {', '.join(values.held_out)}"
            assert sum(line.startswith(named) for line in lines) == 1, (task, factor)


def test_documentation_names_every_value():
    text = (Path(__file__).parents[2] / "docs" / "environments.md").read_text()
    layouts = {"layout` of `point_maze": MAZES, "layout` of `two_room": TWO_ROOMS}
    for factor, values in (VALUES | layouts).items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{factor}`"))
        assert all(re.search(rf"[ ,]{re.escape(name)}[ ,]", row) for name in values.names()[1:]), factor
