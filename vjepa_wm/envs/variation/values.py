"""The values of each factor, those that have names of their own and those that a rule makes; where distractors lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from vjepa_wm.envs.variation import named_values as named
from vjepa_wm.envs.variation import rules
from vjepa_wm.envs.variation.value_types import Values

MAX_DISTRACTORS = 2
"""At one time."""
SPOTS = np.array(
    [[-0.12, 0.54], [0.24, 0.53], [0.42, 0.58], [0.56, 0.50], [0.67, 0.47], [0.16, 0.34], [0.14, -0.21], [0.92, 0.07]]
)
"""Where distractors lie, x and y [m]: seen by the camera, out of the tool's reach and not before what the tool does."""
SPOT_RADIUS = 0.03
"""How far from its spot a distractor may lie along x and y [m]."""


def _scale(values: Values) -> Callable[[np.random.Generator], float]:
    return partial(rules.draw_scale, training=values.training.values())


_FACTORS: dict[str, tuple[Values, Callable[[np.random.Generator], Any]]] = {
    "table": (named.NAMED_TABLES, rules.draw_table),
    "object": (named.NAMED_OBJECTS, rules.draw_object),
    "light": (named.NAMED_LIGHTS, rules.draw_light),
    "camera": (named.NAMED_CAMERAS, rules.draw_camera),
    "distractors": (named.NAMED_DISTRACTORS, rules.draw_distractors),
    "friction": (named.NAMED_FRICTIONS, _scale(named.NAMED_FRICTIONS)),
    "mass": (named.NAMED_MASSES, _scale(named.NAMED_MASSES)),
}

VALUES = {
    factor: replace(values, drawn=rules.drawn_values(factor, rule)) for factor, (values, rule) in _FACTORS.items()
}
"""Of each factor but the layout, whose values are the task's."""
TABLES, OBJECTS, LIGHTS, CAMERAS, DISTRACTORS, FRICTIONS, MASSES = VALUES.values()
