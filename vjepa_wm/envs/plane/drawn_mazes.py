"""Mazes drawn by a rule: a tree of ways through all cells, and more openings in some than in others.

Apart from the layouts that were thought of, since these are only names until one is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from vjepa_wm.envs.variation.value_types import Drawn, NumberedNames

NUM_MAZES = 10_000
"""How many there are."""
MOST_OPENED = 0.7
"""Largest share of the walls that a tree leaves which is taken away."""


def drawn_mazes(num_cells: int, without: Iterable[str]) -> Drawn:
    """Return drawings of mazes by the names maze_0 to maze_9999, the same ones always.

    Args:
        num_cells: in a row and in a column.
        without: drawings that none may equal, turned or mirrored either.
    """
    avoided = frozenset(_walls(drawing).tobytes() for drawing in without)
    return Drawn(NumberedNames("maze_", NUM_MAZES), partial(_maze, num_cells, avoided))


def _maze(num_cells: int, avoided: frozenset[bytes], number: int) -> str:
    """Draw the maze of a number; a function of the module, so that environments can be copied and pickled."""
    rng = np.random.default_rng(number)
    while True:
        drawing = _draw(num_cells, rng)
        if not any(walls.tobytes() in avoided for walls in _turned_and_mirrored(_walls(drawing))):
            return drawing


def _draw(num_cells: int, rng: np.random.Generator) -> str:
    size = 2 * num_cells + 1
    is_wall = np.zeros((size, size), bool)
    is_wall[::2, 1::2] = is_wall[1::2, ::2] = True
    joined = np.arange(num_cells**2).reshape(num_cells, num_cells)  # cells between which there is a way, by number
    borders = [(row, column) for row in range(1, size - 1) for column in range(1, size - 1) if (row + column) % 2]
    kept = []
    for row, column in rng.permutation(borders):
        one, other = joined[(row - 1) // 2, (column - 1) // 2], joined[row // 2, column // 2]
        if one == other:
            kept.append((row, column))
        else:
            joined[joined == other] = one
            is_wall[row, column] = False
    for row, column in kept[: int(rng.uniform(0.0, MOST_OPENED) * len(kept))]:
        is_wall[row, column] = False
    signs = np.full((size, size), " ")
    signs[::2, ::2] = "+"
    signs[::2, 1::2] = np.where(is_wall[::2, 1::2], "-", " ")
    signs[1::2, ::2] = np.where(is_wall[1::2, ::2], "|", " ")
    return "\n".join("".join(line) for line in signs)


def _walls(drawing: str) -> np.ndarray:
    """Return where a drawing has walls, bool, corners left out."""
    is_wall = np.array([[sign in "|-" for sign in line] for line in drawing.strip().splitlines()])
    return np.ascontiguousarray(is_wall)


def _turned_and_mirrored(walls: np.ndarray) -> list[np.ndarray]:
    return [np.rot90(side, turn) for side in (walls, walls.T) for turn in range(4)]
