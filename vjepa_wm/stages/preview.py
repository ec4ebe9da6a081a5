"""A look at a task before it is collected: a few episodes of each policy, side by side, beside the goal picture.

Letters: S steps of an episode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import gymnasium
import imageio.v3 as iio
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vjepa_wm.data.episode_player import Policy, seeds_of
from vjepa_wm.data.video import write_video
from vjepa_wm.envs.policies import PolicyName, policy_maker

NUM_EPISODES = 3
NUM_MOMENTS = 6
"""Moments of an episode on the contact sheet."""
VIDEO_TILE, SHEET_TILE = 208, 144
"""Side of a picture [px]."""
LINE = 24
"""Height of a line of text [px]."""
GAP = 6
HOLD = 5
"""Times the last moment of an episode is shown, so that its end can be seen."""
BACKGROUND, TEXT, SOLVED = (250, 250, 250), (40, 40, 40), (0, 130, 60)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What is shown of an episode of one policy.

    Attributes:
        frames: S + 1 of (H, W, 3) uint8.
        distances: to the goal at each frame [m].
        reached: whether each frame is a success.
        goal_image: (H, W, 3) uint8.
    """

    frames: list[np.ndarray]
    distances: list[float]
    reached: list[bool]
    goal_image: np.ndarray


def write_preview(
    folder: Path, task: str, make_env: Callable[[], gymnasium.Env], *, steps: int, seed: int
) -> tuple[Path, Path]:
    """Play the first episodes of a collection with each policy and draw them.

    Args:
        folder: folder for `preview.mp4` and `preview.png`; made if missing.
        task: name of the environment's task.
        make_env: makes the environment.
        steps: actions of an episode.
        seed: as of the collection.

    Returns:
        Both files.

    Raises:
        ValueError: steps is not positive, or the environment cannot be made.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    names = get_args(PolicyName)
    with closing(make_env()) as env:
        episodes = [
            {name: _play(env, policy_maker(task, name), steps, seed, k) for name in names} for k in range(NUM_EPISODES)
        ]
        control_hz = env.unwrapped.control_hz
    video, sheet = folder / "preview.mp4", folder / "preview.png"
    pictures = []
    for k, played in enumerate(episodes):
        title = f"{task}, episode {k + 1} of {NUM_EPISODES}"
        moments = [draw_moment(played, step, f"{title}, step {step} of {steps}") for step in range(steps + 1)]
        pictures += moments + moments[-1:] * HOLD
    write_video(video, np.stack(pictures), control_hz)
    blocks = [draw_sheet(played, f"{task}, episode {k + 1}") for k, played in enumerate(episodes)]
    iio.imwrite(sheet, np.concatenate(blocks))
    return video, sheet


def draw_moment(played: dict[str, Shown], step: int, title: str) -> np.ndarray:
    """Draw one frame of the video: a picture for each policy, and the goal picture.

    Args:
        played: one episode of each policy, by its name.
        step: which moment.
        title: written above.

    Returns:
        Picture, (height, width, 3) uint8; height and width are even.
    """
    tiles = [(name, shown.frames[step], _distance(shown, step), shown.reached[step]) for name, shown in played.items()]
    goal = next(iter(played.values())).goal_image
    return _draw_row([*tiles, ("goal picture", goal, "", False)], VIDEO_TILE, title)


def draw_sheet(played: dict[str, Shown], title: str) -> np.ndarray:
    """Draw an episode as a table: a row for each policy, moments from left to right, the goal picture at the end.

    Args:
        played: the episode of each policy, by its name.
        title: written above.

    Returns:
        Picture, (height, width, 3) uint8.
    """
    rows = []
    for name, shown in played.items():
        steps = np.linspace(0, len(shown.frames) - 1, NUM_MOMENTS).round().astype(int)
        tiles = [(f"step {step}", shown.frames[step], _distance(shown, step), shown.reached[step]) for step in steps]
        tiles[0] = (f"{name}: step 0", *tiles[0][1:])
        rows.append(
            _draw_row([*tiles, ("goal picture", shown.goal_image, "", False)], SHEET_TILE, "" if rows else title)
        )
    return np.concatenate(rows)


def _play(
    env: gymnasium.Env, make_policy: Callable[[np.random.Generator], Policy], steps: int, seed: int, k: int
) -> Shown:
    env_seed, generator = seeds_of(seed, k)
    policy = make_policy(generator)
    obs, info = env.reset(seed=env_seed)
    shown = Shown(
        frames=[obs["image"].copy()],
        distances=[float(info["distance"])],
        reached=[bool(info["is_success"])],
        goal_image=info["goal"]["image"].copy(),
    )
    for _ in range(steps):
        obs, _, _, _, info = env.step(policy(obs, info))
        shown.frames.append(obs["image"].copy())
        shown.distances.append(float(info["distance"]))
        shown.reached.append(bool(info["is_success"]))
    return shown


def _distance(shown: Shown, step: int) -> str:
    return "reached" if shown.reached[step] else f"{100 * shown.distances[step]:.1f} cm off"


def _draw_row(tiles: Sequence[tuple[str, np.ndarray, str, bool]], side: int, title: str) -> np.ndarray:
    """Draw pictures in a row, each with a line of text above and one below, which is green where it is good."""
    top = LINE if title else 0
    canvas = Image.new("RGB", (GAP + len(tiles) * (side + GAP), top + 2 * LINE + side + GAP), BACKGROUND)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    draw.text((GAP, LINE / 2), title, fill=TEXT, font=ImageFont.load_default(16), anchor="lm")
    for column, (above, picture, below, good) in enumerate(tiles):
        left = GAP + column * (side + GAP)
        canvas.paste(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC), (left, top + LINE))
        draw.text((left, top + LINE / 2), above, fill=TEXT, font=font, anchor="lm")
        draw.text((left, top + 1.5 * LINE + side), below, fill=SOLVED if good else TEXT, font=font, anchor="lm")
    return np.array(canvas)
