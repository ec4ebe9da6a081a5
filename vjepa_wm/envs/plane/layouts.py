"""Where the walls of the plane worlds stand: layouts to train with, and others held out to test generalisation.

A layout is drawn as seen from above: cells are spaces at odd rows and columns of the drawing, `|` and `-` between them
are walls. The held-out mazes are not the others turned or mirrored; the held-out rooms have doors in other places.
"""

from __future__ import annotations

from vjepa_wm.envs.variation.values import Values


def _two_rooms(column: int, door: int) -> str:
    """Draw 4 x 4 cells with a wall to the right of a column, counted from 1, that has a door in one row."""
    rows = [["|", *"       ", "|"] for _ in range(9)]
    rows[0] = rows[-1] = list("+-+-+-+-+")
    for row in range(1, 8):
        rows[row][2 * column] = " " if row == 2 * door - 1 else "|"
    return "\n".join("".join(row) for row in rows)


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
    held_out={
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
    },
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
    held_out={
        "middle_door_3": _two_rooms(2, 3),
        "left_door_2": _two_rooms(1, 2),
        "left_door_4": _two_rooms(1, 4),
        "right_door_2": _two_rooms(3, 2),
    },
)
"""Of TwoRoom, 4 x 4 cells: where the wall stands and in which row, counted from above, it has its door. The default has
it in the middle, with the door in row 4."""
