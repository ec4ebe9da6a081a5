"""The values of each factor that have names of their own: colours, lights, cameras, distractors, friction, mass.

Held-out values lie outside what the training values here span: hues of objects from 250 to 340 degrees against 5 to
220, cameras that turn and rise more than twice as far, other shapes, scales beyond the smallest and the largest.

Any colour of an object and of its mark is told apart from any table's: at least 40 units of CIELAB lie between.
"""

from __future__ import annotations

from vjepa_wm.envs.variation.value_types import LightChange, Orbit, Values

SCENE_TABLES = (((0.48, 0.60, 0.55), None), ((0.78, 0.82, 0.78), (0.14, 0.19, 0.30)))
"""What `default` is in our scenes: of the arm's table, which has no walls, and of the plane."""

# Of the table or floor, and of walls that stand on it.
NAMED_TABLES = Values(
    training={
        "default": None,
        "grey": ((0.45, 0.45, 0.46), (0.12, 0.14, 0.20)),
        "white": ((0.86, 0.86, 0.84), (0.30, 0.32, 0.36)),
        "charcoal": ((0.16, 0.16, 0.17), (0.66, 0.66, 0.64)),
        "sand": ((0.74, 0.66, 0.52), (0.30, 0.22, 0.16)),
        "oak": ((0.56, 0.42, 0.28), (0.20, 0.14, 0.10)),
        "slate": ((0.30, 0.36, 0.42), (0.82, 0.84, 0.86)),
        "olive": ((0.36, 0.38, 0.24), (0.86, 0.86, 0.74)),
    },
    held_out={
        "navy": ((0.10, 0.12, 0.30), (0.72, 0.74, 0.82)),
        "lilac": ((0.78, 0.64, 0.82), (0.26, 0.18, 0.34)),
        "brick": ((0.46, 0.20, 0.17), (0.86, 0.80, 0.76)),
        "teal": ((0.08, 0.30, 0.32), (0.74, 0.84, 0.84)),
    },
)

# Of the object, and of the mark that tells its front from its back.
NAMED_OBJECTS = Values(
    training={
        "default": None,
        "orange": ((1.00, 0.50, 0.04), (0.08, 0.50, 0.98)),
        "lime": ((0.70, 1.00, 0.05), (0.90, 0.10, 0.15)),
        "green": ((0.05, 0.80, 0.20), (1.00, 0.75, 0.10)),
        "mint": ((0.25, 0.95, 0.62), (0.85, 0.10, 0.60)),
        "cyan": ((0.00, 0.76, 0.95), (1.00, 0.55, 0.05)),
        "azure": ((0.08, 0.42, 1.00), (0.98, 0.90, 0.20)),
    },
    held_out={
        "indigo": ((0.34, 0.18, 1.00), (1.00, 0.90, 0.15)),
        "violet": ((0.66, 0.28, 1.00), (0.60, 1.00, 0.20)),
        "rose": ((1.00, 0.36, 0.60), (0.05, 0.78, 0.30)),
    },
)

NAMED_LIGHTS = Values(
    training={
        "default": LightChange(),
        "left": LightChange((0.60, 0.50, -0.75)),
        "right": LightChange((-0.70, -0.35, -0.70)),
        "behind": LightChange((0.40, -0.60, -0.75)),
        "low": LightChange((-0.55, 0.75, -0.40)),
        "dim": LightChange(None, (0.75, 0.75, 0.75), (0.75, 0.75, 0.75)),
        "bright": LightChange(None, (1.15, 1.15, 1.15), (1.08, 1.08, 1.08)),
        "warm": LightChange(None, (1.10, 1.00, 0.84), (1.03, 0.99, 0.88)),
        "cool": LightChange(None, (0.86, 0.98, 1.12), (0.90, 0.98, 1.06)),
    },
    held_out={
        "sunset": LightChange((0.80, 0.10, -0.40), (1.35, 0.80, 0.45), (1.00, 0.80, 0.70)),
        "dusk": LightChange(None, (0.60, 0.66, 0.80), (0.66, 0.72, 0.86)),
        "greenish": LightChange(None, (0.84, 1.12, 0.76), (0.86, 1.06, 0.80)),
    },
)

NAMED_CAMERAS = Values(
    training={
        "default": Orbit(),
        "left": Orbit(turn=-5.0),
        "right": Orbit(turn=5.0),
        "high": Orbit(rise=5.0),
        "low": Orbit(rise=-4.0),
        "near": Orbit(distance=0.94),
        "far": Orbit(distance=1.1),
        "high_left": Orbit(turn=-4.0, rise=4.0),
        "low_right": Orbit(turn=4.0, rise=-3.0),
    },
    held_out={
        "far_left": Orbit(turn=-12.0),
        "far_right": Orbit(turn=12.0),
        "very_high": Orbit(rise=13.0),
        "very_far": Orbit(distance=1.3),
    },
)

# Which of the bodies `distractor_...` of the scene are there.
NAMED_DISTRACTORS = Values(
    training={
        "default": (),
        "ball": ("ball",),
        "can": ("can",),
        "plate": ("plate",),
        "egg": ("egg",),
        "stick": ("stick",),
        "ball_and_stick": ("ball", "stick"),
        "can_and_plate": ("can", "plate"),
    },
    held_out={
        "cross": ("cross",),
        "dumbbell": ("dumbbell",),
        "tower": ("tower",),
        "cross_and_tower": ("cross", "tower"),
    },
)
NAMED_FRICTIONS = Values(
    training={"default": 1.0, "0.7": 0.7, "0.8": 0.8, "0.9": 0.9, "1.1": 1.1, "1.25": 1.25, "1.5": 1.5},
    held_out={"0.5": 0.5, "1.8": 1.8, "2.2": 2.2},
)
NAMED_MASSES = Values(
    training={"default": 1.0, "0.6": 0.6, "0.75": 0.75, "0.9": 0.9, "1.2": 1.2, "1.5": 1.5, "1.8": 1.8},
    held_out={"0.4": 0.4, "2.4": 2.4, "3.0": 3.0},
)
