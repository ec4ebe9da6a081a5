"""How the look and the physics of a task change between episodes: what can be asked for, and the draw.

A factor is one thing that changes; each has named values: the default, which is how the scene's file has it, more to
train with, and some that are held out for tests of generalisation. `vjepa_wm.envs.variation.values` has the numbers.
Neither needs a simulator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args

import numpy as np

FACTORS = ("table", "object", "light", "camera", "distractors", "friction", "mass", "layout")
"""Names of all factors; a task has some of them."""

Mode = Literal["default", "sampled", "held_out"]
TableName = Literal[
    "default", "sampled", "held_out",
    "grey", "white", "charcoal", "sand", "oak", "slate", "olive",
    "navy", "lilac", "brick", "teal",
]  # fmt: skip
ObjectName = Literal[
    "default", "sampled", "held_out",
    "orange", "lime", "green", "mint", "cyan", "azure",
    "indigo", "violet", "rose",
]  # fmt: skip
LightName = Literal[
    "default", "sampled", "held_out",
    "left", "right", "behind", "low", "dim", "bright", "warm", "cool",
    "sunset", "dusk", "greenish",
]  # fmt: skip
CameraName = Literal[
    "default", "sampled", "held_out",
    "left", "right", "high", "low", "near", "far", "high_left", "low_right",
    "far_left", "far_right", "very_high", "very_far",
]  # fmt: skip
DistractorName = Literal[
    "default", "sampled", "held_out",
    "ball", "can", "plate", "egg", "stick", "ball_and_stick", "can_and_plate",
    "cross", "dumbbell", "tower", "cross_and_tower",
]  # fmt: skip
FrictionName = Literal[
    "default", "sampled", "held_out",
    "0.7", "0.8", "0.9", "1.1", "1.25", "1.5",
    "0.5", "1.8", "2.2",
]  # fmt: skip
MassName = Literal[
    "default", "sampled", "held_out",
    "0.6", "0.75", "0.9", "1.2", "1.5", "1.8",
    "0.4", "2.4", "3.0",
]  # fmt: skip


@dataclass(frozen=True)
class Values:
    """The values of one factor by their names."""

    training: Mapping[str, Any]
    """What `sampled` draws from; the first is the default."""
    held_out: Mapping[str, Any]
    """What `held_out` draws from: none of the others, and not between them."""

    def names(self) -> tuple[str, ...]:
        """Return the names of all values, the default's first."""
        return (*self.training, *self.held_out)

    def __getitem__(self, name: str) -> Any:
        """Return a value by its name."""
        return self.training[name] if name in self.training else self.held_out[name]


@dataclass(frozen=True, kw_only=True)
class VariationConfig:
    """What changes between episodes.

    Each factor is `default` (as always), `sampled` (drawn at every reset from the default and the training values),
    `held_out` (drawn at every reset from the values kept from training) or the name of one value. The draw depends on
    the seed alone, and starts and goals are the same as without variation.
    """

    all: Mode = "default"
    """Every factor of the task that is not set itself."""
    table: TableName | None = None
    """Colour of the table or the floor; held out: navy, lilac, brick, teal."""
    object: ObjectName | None = None
    """Colours of what is moved; held out: indigo, violet, rose."""
    light: LightName | None = None
    """Direction, strength and colour of the light; held out: sunset, dusk, greenish."""
    camera: CameraName | None = None
    """Where the main camera stands; held out: far_left, far_right, very_high, very_far."""
    distractors: DistractorName | None = None
    """Things on the table that have no part in the task; held out: cross, dumbbell, tower, cross_and_tower."""
    friction: FrictionName | None = None
    """Friction and drag of what is moved, times the default; held out: 0.5, 1.8, 2.2."""
    mass: MassName | None = None
    """Mass of what is moved, times the default; held out: 0.4, 2.4, 3.0."""
    layout: str | None = None
    """Walls. point_maze: medium, rooms, loops, snake, comb, spiral, winding; held out: ring, hall, pinwheel, knot,
    branches. two_room: middle_door_2, left_door_1, left_door_3, right_door_1, right_door_3; held out: middle_door_3,
    left_door_2, left_door_4, right_door_2."""

    def __post_init__(self) -> None:
        """Check the names; those of layouts are the task's and checked there."""
        names = {
            "all": Mode, "table": TableName, "object": ObjectName, "light": LightName, "camera": CameraName,
            "distractors": DistractorName, "friction": FrictionName, "mass": MassName,
        }  # fmt: skip
        for factor, known in names.items():
            chosen = getattr(self, factor)
            if chosen is not None:
                _check_name(factor, chosen, get_args(known))

    def chosen(self, values: Mapping[str, Values]) -> dict[str, str]:
        """Return what is asked of each factor of a task.

        Args:
            values: of the factors that the task has.

        Raises:
            ValueError: if something is to vary that the task lacks.
        """
        lacking = [factor for factor in FACTORS if getattr(self, factor) is not None and factor not in values]
        if lacking:
            has = ", ".join(factor for factor in FACTORS if factor in values) or "none"
            raise ValueError(f"variation has no factor {lacking[0]!r} in this task, whose factors are: {has}")
        if self.all != "default" and not values:
            raise ValueError(f"variation.all must be 'default' for a task without factors, got {self.all!r}")
        if self.layout is not None:
            _check_name("layout", self.layout, (*get_args(Mode), *values["layout"].names()))
        return {factor: getattr(self, factor) or self.all for factor in FACTORS if factor in values}


def draw(chosen: Mapping[str, str], values: Mapping[str, Values], rng: np.random.Generator) -> dict[str, str]:
    """Draw the value of each factor.

    Args:
        chosen: what `VariationConfig.chosen` returned.
        values: of the factors that the task has.
        rng: generator to draw from; each factor uses its own number, so none depends on what is asked of others.

    Returns:
        The names of the values.
    """
    drawn = {}
    for factor, share in zip(FACTORS, rng.random(len(FACTORS)), strict=True):
        if factor in values:
            training, held_out = tuple(values[factor].training), tuple(values[factor].held_out)
            groups = {"default": training[:1], "sampled": training, "held_out": held_out}
            among = groups.get(chosen[factor], (chosen[factor],))
            drawn[factor] = among[int(share * len(among))]
    return drawn


def _check_name(factor: str, name: str, known: Iterable[str]) -> None:
    known = tuple(known)
    if name not in known:
        close = get_close_matches(str(name), known, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ";"
        raise ValueError(f"variation.{factor} has no value {name!r}{hint} known are: {', '.join(known)}")
