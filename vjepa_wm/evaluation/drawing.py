"""Pictures in a row with text, for people to look at: one set of captions and colours for everything that is shown.

Letters: S side of a picture, T pictures of a video.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vjepa_wm.evaluation.evaluated_episode import EvaluatedEpisode

LINE = 24
"""Height of a line of text [px]."""
GAP = 6
"""Room between pictures [px]."""
SIDE = 256
"""Side of the pictures of an episode's video [px]."""
HOLD = 5
"""Times the last moment of an episode is shown, so that its end can be seen."""
BACKGROUND, TEXT, GOOD = (250, 250, 250), (40, 40, 40), (0, 130, 60)


class Tile(NamedTuple):
    """A picture and what is written at it."""

    above: str
    """Line of text above it."""
    picture: np.ndarray
    """(S, S, 3) uint8."""
    below: str = ""
    """Line of text below it."""
    good: bool = False
    """Whether the text below is green."""


def moment_tile(above: str, picture: np.ndarray, distance: float, reached: bool) -> Tile:
    """Return a moment of an episode with how far it is from the goal.

    Args:
        above: line of text above it.
        picture: what the camera saw, (S, S, 3) uint8.
        distance: to the goal [m].
        reached: whether the moment is a success.
    """
    return Tile(above, picture, "reached" if reached else f"{100 * distance:.1f} cm off", reached)


def draw_row(tiles: Sequence[Tile], side: int, title: str = "") -> np.ndarray:
    """Draw pictures in a row.

    Args:
        tiles: the pictures from left to right.
        side: what each is enlarged to [px].
        title: written above all; empty: no line for it.

    Returns:
        Picture, (height, width, 3) uint8; both are even if the side is.
    """
    top, bottom = LINE if title else 0, LINE if any(tile.below for tile in tiles) else 0
    height = top + LINE + side + bottom + GAP
    canvas = Image.new("RGB", (GAP + len(tiles) * (side + GAP), height), BACKGROUND)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    draw.text((GAP, LINE / 2), title, fill=TEXT, font=ImageFont.load_default(16), anchor="lm")
    for column, tile in enumerate(tiles):
        left = GAP + column * (side + GAP)
        canvas.paste(Image.fromarray(tile.picture).resize((side, side), Image.Resampling.BICUBIC), (left, top + LINE))
        draw.text((left, top + LINE / 2), tile.above, fill=TEXT, font=font, anchor="lm")
        fill = GOOD if tile.good else TEXT
        draw.text((left, top + 1.5 * LINE + side), tile.below, fill=fill, font=font, anchor="lm")
    return np.array(canvas)


def draw_episode(episode: EvaluatedEpisode) -> np.ndarray:
    """Draw the frames of an episode's video: what the camera saw, beside the goal picture that was shown then.

    Args:
        episode: what was played.

    Returns:
        Pictures, (T, height, width, 3) uint8, of which the last one is repeated; height and width are even.
    """
    result, num_steps = episode.result, len(episode.result.distances) - 1
    goal, pictures = episode.goal_pictures[0], []
    for step, frame in enumerate(episode.rollout.frames):
        goal = episode.goal_pictures.get(step, goal)
        now = moment_tile(f"step {step} of {num_steps}", frame, result.distances[step], result.reached[step])
        pictures.append(draw_row([now, Tile("goal", goal)], SIDE))
    return np.stack(pictures + pictures[-1:] * HOLD)
