"""Where the walls of the plane worlds stand: layouts to train with, and others held out to test generalisation.

A layout is drawn as seen from above: cells are spaces at odd rows and columns of the drawing, `|` and `-` between them
are walls. The held-out mazes are not the others turned or mirrored; the held-out rooms have doors in other places.
Beside them there are layouts drawn by a rule, of which none is a held-out one, nor one turned or mirrored for mazes:
few layouts teach the way through each, many teach what a wall is.
"""

from __future__ import annotations

from itertools import combinations, product

from vjepa_wm.envs.plane.drawn_mazes import drawn_mazes
from vjepa_wm.envs.variation.value_types import Drawn, Values


def _two_rooms(place: int, *doors: int, is_row: bool = False) -> str:
    """Draw 4 x 4 cells with a wall that has doors: to the right of a column, doors in rows; or below a row."""
    lines = [list("+-+-+-+-+"), *(["|", *"       ", "|"] for _ in range(7)), list("+-+-+-+-+")]
    for along in set(range(1, 8)) - {2 * door - 1 for door in doors}:
        if is_row:
            lines[2 * place][along] = "-"
        else:
            lines[along][2 * place] = "|"
    return "\n".join("".join(line) for line in lines)


_HELD_OUT_MAZES = {
    "ring": """
+-+-+-+-+-+
|         |
+ +-+-+-+ +
| |     | |
+ + + + + +
| |       |
+ + + + + +
| |     | |
+ +-+-+-+ +
|         |
+-+-+-+-+-+
""",
    "hall": """
+-+-+-+-+-+
|   |   | |
+ + + + + +
|   |   | |
+ +-+-+ + +
|         |
+ + +-+-+ +
| |   |   |
+ + + + + +
| |   |   |
+-+-+-+-+-+
""",
    "pinwheel": """
+-+-+-+-+-+
|   |     |
+ + + + + +
|   |     |
+ + + +-+-+
|         |
+-+-+ + + +
|     |   |
+ + + + + +
|     |   |
+-+-+-+-+-+
""",
    "knot": """
+-+-+-+-+-+
| |       |
+ +-+-+-+ +
|   |     |
+ + + +-+ +
|   |   | |
+ +-+-+ +-+
|     |   |
+-+-+ +-+ +
|         |
+-+-+-+-+-+
""",
    "branches": """
+-+-+-+-+-+
| |       |
+ +-+-+ + +
| |     | |
+ + +-+-+ +
| |   | | |
+ +-+ + + +
|   | |   |
+-+ + + +-+
|     |   |
+-+-+-+-+-+
""",
}
_HELD_OUT_ROOMS = {
    "middle_door_3": _two_rooms(2, 3),
    "left_door_2": _two_rooms(1, 2),
    "left_door_4": _two_rooms(1, 4),
    "right_door_2": _two_rooms(3, 2),
}


def _other_rooms() -> Drawn:
    """Draw one wall, to the right of a column or below a row, with one door or two, in every way not held out."""
    drawn = {}
    for place, num_doors in product((1, 2, 3), (1, 2)):
        for doors in combinations((1, 2, 3, 4), num_doors):
            name = f"{place}_doors_{'_'.join(map(str, doors))}"
            drawn[f"column_{name}"] = _two_rooms(place, *doors)
            drawn[f"row_{name}"] = _two_rooms(place, *doors, is_row=True)
    rooms = {name: drawing for name, drawing in drawn.items() if drawing not in _HELD_OUT_ROOMS.values()}
    return Drawn(tuple(rooms), tuple(rooms.values()).__getitem__)


MAZES = Values(
    training={
        "default": """
+-+-+-+-+-+
|         |
+ + + + + +
|         |
+-+-+-+-+ +
|         |
+ + + + + +
|         |
+ + + + + +
|         |
+-+-+-+-+-+
""",
        "medium": """
+-+-+-+-+-+
|         |
+-+-+ + + +
|     | | |
+ +-+-+ + +
|   |   | |
+-+ + +-+ +
| | | |   |
+ + +-+ + +
|       | |
+-+-+-+-+-+
""",
        "rooms": """
+-+-+-+-+-+
|   |     |
+ + + + + +
|         |
+ + + + + +
|   |     |
+ +-+-+-+ +
|   |     |
+ + + + + +
|         |
+-+-+-+-+-+
""",
        "loops": """
+-+-+-+-+-+
|       | |
+-+-+-+ + +
|     |   |
+ + + + + +
|       | |
+-+ +-+ + +
| | | | | |
+ + + + + +
|         |
+-+-+-+-+-+
""",
        "snake": """
+-+-+-+-+-+
|         |
+-+-+-+-+ +
|         |
+ +-+-+-+-+
|         |
+-+-+-+-+ +
|         |
+ +-+-+-+-+
|         |
+-+-+-+-+-+
""",
        "comb": """
+-+-+-+-+-+
| | | | | |
+ + + + + +
| | | | | |
+ + + + + +
| | | | | |
+ + + + + +
| | | | | |
+ + + + + +
|         |
+-+-+-+-+-+
""",
        "spiral": """
+-+-+-+-+-+
|         |
+-+-+-+-+ +
|       | |
+ +-+-+ + +
| |   | | |
+ + +-+ + +
| |     | |
+ +-+-+-+ +
|         |
+-+-+-+-+-+
""",
        "winding": """
+-+-+-+-+-+
| |       |
+ + +-+-+ +
| |   |   |
+ +-+-+ + +
|       | |
+ + + +-+ +
|   | |   |
+ +-+ + +-+
|     |   |
+-+-+-+-+-+
""",
    },
    held_out=_HELD_OUT_MAZES,
    drawn=drawn_mazes(5, without=_HELD_OUT_MAZES.values()),
)
"""Of PointMaze, 5 x 5 cells; the default is a U."""
TWO_ROOMS = Values(
    training={
        "default": _two_rooms(2, 4),
        "middle_door_2": _two_rooms(2, 2),
        "left_door_1": _two_rooms(1, 1),
        "left_door_3": _two_rooms(1, 3),
        "right_door_1": _two_rooms(3, 1),
        "right_door_3": _two_rooms(3, 3),
    },
    held_out=_HELD_OUT_ROOMS,
    drawn=_other_rooms(),
)
"""Of TwoRoom, 4 x 4 cells: where the wall stands and in which row, counted from above, it has its door. The default has
it in the middle, with the door in row 4."""
