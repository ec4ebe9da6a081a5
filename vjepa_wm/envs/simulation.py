"""What an environment with goal pictures simulates and looks at: our scenes, or somebody else's environment.

Letter: S side of the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from vjepa_wm.envs.variation.value_types import Values


class Simulation(Protocol):
    """What is simulated and looked at: a `vjepa_wm.envs.scene.Scene`, or somebody else's environment."""

    cameras: tuple[str, ...]
    """Cameras that look on; the first one's pictures are `image`."""
    known_cameras: tuple[str, ...]
    """All that could look on."""
    factors: dict[str, Values]
    """What can vary between episodes, and the values of each; empty if nothing can."""
    variation: dict[str, str]
    """The name of the value that each factor has now."""
    state_size: int
    """How many numbers `get_state` returns."""

    def vary(self, names: Mapping[str, str], rng: np.random.Generator) -> None:
        """Look and move otherwise from now on; only asked of one with factors."""
        ...

    def pictures(self) -> dict[str, np.ndarray]:
        """Return what the cameras see, (S, S, 3) uint8 each, by `picture_names`."""
        ...

    def picture(self) -> np.ndarray:
        """Return what the first camera sees, (S, S, 3) uint8."""
        ...

    def get_state(self) -> np.ndarray:
        """Return all that the coming steps depend on, (state_size,) float64."""
        ...

    def set_state(self, state: np.ndarray) -> None:
        """Restore exactly what `get_state` returned, also in another process."""
        ...

    def close(self) -> None:
        """Free what draws."""
        ...
