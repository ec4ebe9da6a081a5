"""What a value of a factor is, and which values a factor has: few that have names of their own, many made by a rule.

Values made by a rule are names until one is asked for: nothing is computed or listed at import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, overload

Colour = tuple[float, float, float]
"""Red, green and blue of sRGB, 0 to 1."""


class LightChange(NamedTuple):
    """What a light differs in from the scene's own."""

    direction: tuple[float, float, float] | None = None
    """Where it shines to; None: as in the scene."""
    light: Colour = (1.0, 1.0, 1.0)
    """Red, green and blue of the lights, times the scene's."""
    surroundings: Colour = (1.0, 1.0, 1.0)
    """Red, green and blue of what comes from everywhere and from the camera, times the scene's."""


class Orbit(NamedTuple):
    """How a camera stands otherwise, seen from the middle of the table, which stays where it is in the picture."""

    turn: float = 0.0
    """To the right, around the vertical [degrees]."""
    rise: float = 0.0
    """Upwards [degrees]."""
    distance: float = 1.0
    """Times the scene's."""


class NumberedNames(Sequence[str]):
    """Names that end in their number, counted from 0, without a list of them."""

    def __init__(self, begin: str, count: int, *, digits: int = 1) -> None:
        """Say which names.

        Args:
            begin: what all begin with.
            count: how many there are.
            digits: of the number at least, zeros first.
        """
        self._begin, self._count, self._digits = begin, count, digits

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        """Return the name of a number, or several."""
        numbers = range(self._count)[index]
        return self._name(numbers) if isinstance(numbers, int) else [self._name(number) for number in numbers]

    def __len__(self) -> int:
        """Return how many there are."""
        return self._count

    def __contains__(self, name: object) -> bool:
        """Tell whether a name is one of them."""
        return isinstance(name, str) and self._number(name) is not None

    def index(self, value: str, start: int = 0, stop: int | None = None) -> int:
        """Return the number of a name.

        Raises:
            ValueError: if it is none of them.
        """
        number = self._number(value)
        if number is None or number not in range(self._count)[start:stop]:
            raise ValueError(f"name must be one of {self[0]} to {self[-1]}, got {value!r}")
        return number

    def _name(self, number: int) -> str:
        return f"{self._begin}{number:0{self._digits}d}"

    def _number(self, name: str) -> int | None:
        digits = name.removeprefix(self._begin)
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= self._digits + len(str(self._count))):
            return None
        number = int(digits)
        return number if number < self._count and name == self._name(number) else None


class Drawn(Mapping[str, Any]):
    """Values that a rule makes of their number, each when it is asked for, the same one always.

    Attributes:
        names: of the values, by number.
    """

    def __init__(self, names: Sequence[str], rule: Callable[[int], Any]) -> None:
        """Say which values.

        Args:
            names: of the values, by number.
            rule: returns the value of a number, which it depends on alone.
        """
        self.names = names
        self._rule = rule

    def __getitem__(self, name: str) -> Any:
        """Make the value of a name."""
        if name not in self.names:
            raise KeyError(name)
        return self._rule(self.names.index(name))

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a value of a name, without making it."""
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        """Name all of them."""
        return iter(self.names)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.names)

    def span(self) -> str:
        """Return the names of the first and the last in words."""
        return f"{self.names[0]} to {self.names[-1]}"


@dataclass(frozen=True)
class Values:
    """The values of one factor by their names."""

    training: Mapping[str, Any]
    """What `sampled` draws from; the first is the default."""
    held_out: Mapping[str, Any]
    """What `held_out` draws from: none of the others, and not between them."""
    drawn: Drawn | None = field(default=None)
    """What `drawn` draws from: made by a rule, too many to list, none of the held-out ones among them."""

    def names(self) -> tuple[str, ...]:
        """Return the names of the values that have been thought of, the default's first."""
        return (*self.training, *self.held_out)

    def index(self, name: str) -> int:
        """Return the number of a value: first the training ones, then the held-out ones, then those of the rule.

        Raises:
            ValueError: if there is no value of that name.
        """
        named = self.names()
        if name in named or self.drawn is None:
            return named.index(name)
        return len(named) + self.drawn.names.index(name)

    def name(self, index: int) -> str:
        """Return the name of the value that has a number by `index`."""
        named = self.names()
        if index < len(named) or self.drawn is None:
            return named[index]
        return self.drawn.names[index - len(named)]

    def __contains__(self, name: str) -> bool:
        """Tell whether there is a value of a name."""
        return name in self.training or name in self.held_out or (self.drawn is not None and name in self.drawn)

    def __getitem__(self, name: str) -> Any:
        """Return a value by its name."""
        for values in (self.training, self.held_out):
            if name in values:
                return values[name]
        if self.drawn is None:
            raise KeyError(name)
        return self.drawn[name]
