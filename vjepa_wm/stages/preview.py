"""A look at a task before it is collected: a few episodes of each policy, side by side, beside the goal picture.

Letters: S steps of an episode.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import gymnasium
import imageio.v3 as iio
import numpy as np

from vjepa_wm.data.collection.episode_player import Policy, seeds_of
from vjepa_wm.data.media.video import write_video
from vjepa_wm.envs.policies import PolicyName, policy_maker
from vjepa_wm.stages.drawing import Tile, draw_row

NUM_EPISODES = 3
NUM_MOMENTS = 6
"""Moments of an episode on the contact sheet."""
VIDEO_TILE, SHEET_TILE = 208, 144
"""Side of a picture [px]."""
HOLD = 5
"""Times the last moment of an episode is shown, so that its end can be seen."""


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
    goal = next(iter(played.values())).goal_image
    tiles = [_tile(name, shown, step) for name, shown in played.items()]
    return draw_row([*tiles, Tile("goal picture", goal)], VIDEO_TILE, title)


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
        tiles = [_tile(f"step {step}" if step else f"{name}: step 0", shown, step) for step in steps]
        rows.append(draw_row([*tiles, Tile("goal picture", shown.goal_image)], SHEET_TILE, "" if rows else title))
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


def _tile(above: str, shown: Shown, step: int) -> Tile:
    reached = shown.reached[step]
    below = "reached" if reached else f"{100 * shown.distances[step]:.1f} cm off"
    return Tile(above, shown.frames[step], below, reached)
