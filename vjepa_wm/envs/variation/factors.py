"""How the look and the physics of a task change between episodes: what can be asked for, and the draw.

A factor is one thing that changes; each has named values: the default, which is how the scene's file has it, more to
train with, and some that are held out for tests of generalisation; and drawn ones, thousands that a rule makes.
`values` has names and numbers. Neither needs a simulator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from vjepa_wm.checks import did_you_mean
from vjepa_wm.envs.variation.value_types import Drawn, Values
from vjepa_wm.envs.variation.values import VALUES

FACTORS = (*VALUES, "layout")
"""Names of all factors; a task has some of them."""

Mode = Literal["default", "sampled", "held_out", "drawn", "half_drawn"]
BY_RULE = ("drawn", "half_drawn")
"""Modes that only factors with a rule have."""


@dataclass(frozen=True, kw_only=True)
class VariationConfig:
    """What changes between episodes.

    Each factor is `default` (as always), `sampled` (drawn at every reset from the default and the training values),
    `held_out` (drawn at every reset from the values kept from training), `drawn` (at every reset one of thousands that
    a rule makes all round the held-out values, as drawn_00412), `half_drawn` (so in half of the episodes, each factor
    for itself, and as always in the others) or the name of one value, which `vjepa-wm envs` lists.
    The draw depends on the seed alone, and starts and goals are the same as without variation.
    """

    all: Mode = "default"
    """Every factor of the task that is not set itself; `drawn` and `half_drawn`: sampled, of one that has no rule."""
    table: str | None = None
    """Colour of the table or the floor."""
    object: str | None = None
    """Colours of what is moved."""
    light: str | None = None
    """Direction, strength and colour of the light."""
    camera: str | None = None
    """Where the main camera stands."""
    distractors: str | None = None
    """Things on the table that have no part in the task."""
    friction: str | None = None
    """Friction and drag of what is moved, times the default."""
    mass: str | None = None
    """Mass of what is moved, times the default."""
    layout: str | None = None
    """Walls, of tasks in the plane; `drawn` are made by a rule, thousands of them."""

    def __post_init__(self) -> None:
        """Check the names; those of layouts are the task's and checked there."""
        _check_name("all", self.all, get_args(Mode))
        for factor, values in VALUES.items():
            if getattr(self, factor) is not None:
                _check_value(factor, getattr(self, factor), values)

    def over(self, usual: Mapping[str, str]) -> VariationConfig:
        """Return the same with usual values where nothing is asked for.

        Args:
            usual: values of fields by their names, which count unless the field is set or `all` is.
        """
        if self.all != "default":
            return self
        return VariationConfig.of({**usual, **self.asked()})

    @staticmethod
    def of(values: Mapping[str, Any]) -> VariationConfig:
        """Build one from values by field, which may come from a file.

        Raises:
            ValueError: if a field or a value is unknown.
        """
        unknown = sorted(set(values) - {field.name for field in fields(VariationConfig)})
        if unknown:
            raise ValueError(f"variation has no factor {unknown[0]!r}; known are all, {', '.join(FACTORS)}")
        return VariationConfig(**values)

    def asked(self) -> dict[str, str]:
        """Return the fields that are not as they are by default, with their values."""
        plain = VariationConfig()
        return {name: value for name, value in vars(self).items() if value != getattr(plain, name)}

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
            _check_value("layout", self.layout, values["layout"])
        asked = {factor: getattr(self, factor) or self.all for factor in FACTORS if factor in values}
        lacks_rule = {factor for factor, name in asked.items() if name in BY_RULE and values[factor].drawn is None}
        return {factor: "sampled" if factor in lacks_rule else name for factor, name in asked.items()}


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
            asked = chosen[factor]
            if asked == "half_drawn":
                asked, share = ("default", 0.0) if share < 0.5 else ("drawn", 2 * share - 1)
            among = _among(values[factor], asked)
            drawn[factor] = among[int(share * len(among))]
    return drawn


def _among(values: Values, asked: str) -> Sequence[str]:
    """Return the names of the values that one is drawn from."""
    if asked == "drawn" and values.drawn is not None:
        return values.drawn.names
    training = tuple(values.training)
    groups = {"default": training[:1], "sampled": training, "held_out": tuple(values.held_out)}
    return groups.get(asked, (asked,))


def _check_value(factor: str, name: str, values: Values) -> None:
    if name in values:  # of which there may be too many to list
        return
    modes = tuple(mode for mode in get_args(Mode) if mode not in BY_RULE or values.drawn is not None)
    _check_name(factor, name, (*modes, *values.names()), values.drawn)


def _check_name(factor: str, name: str, known: Sequence[str], drawn: Drawn | None = None) -> None:
    known = tuple(dict.fromkeys(known))  # the default is both a mode and a value
    if name not in known:
        means_drawn = drawn is not None and str(name).startswith(drawn.names[0].rstrip("0123456789"))
        hint = ";" if means_drawn else did_you_mean(str(name), known)
        names = ", ".join(known if drawn is None else (*known, drawn.span()))
        raise ValueError(f"variation.{factor} has no value {name!r}{hint} known are: {names}")
