"""A look at a task before it is collected: a few episodes of each policy, side by side, beside the goal picture."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from vjepa_wm.checks import check_at_least
from vjepa_wm.data.collection.episode_player import seeds_of
from vjepa_wm.data.media.video import write_video
from vjepa_wm.envs import Task
from vjepa_wm.envs.goal_env import GoalEnv
from vjepa_wm.envs.play import Rollout, play, record
from vjepa_wm.envs.policy import PolicyName
from vjepa_wm.evaluation.drawing import HOLD, Tile, draw_row, moment_tile
from vjepa_wm.safe_files import write_bytes

NUM_EPISODES = 3
NUM_MOMENTS = 6
"""Moments of an episode on the contact sheet."""
VIDEO_TILE, SHEET_TILE = 208, 144
"""Side of a picture [px]."""


def write_preview(
    folder: Path, task: Task, make_env: Callable[[], GoalEnv], *, steps: int, seed: int
) -> tuple[Path, Path]:
    """Play the first episodes of a collection with each policy and draw them.

    Args:
        folder: folder for `preview.mp4` and `preview.png`; made if missing.
        task: what is played.
        make_env: makes its environment.
        steps: actions of an episode.
        seed: as of the collection.

    Returns:
        Both files.

    Raises:
        ValueError: if steps is not positive, or the environment cannot be made.
    """
    check_at_least(1, steps=steps)
    with closing(make_env()) as made:
        env = made.unwrapped
        episodes = [
            {name: _play(env, task, name, steps, seed, k) for name in task.policy_names} for k in range(NUM_EPISODES)
        ]
    video, sheet = folder / "preview.mp4", folder / "preview.png"
    pictures: list[np.ndarray] = []
    for k, played in enumerate(episodes):
        title = f"{task.name}, episode {k + 1} of {NUM_EPISODES}"
        moments = [draw_moment(played, step, f"{title}, step {step} of {steps}") for step in range(steps + 1)]
        pictures += moments + moments[-1:] * HOLD
    write_video(video, np.stack(pictures), env.control_hz)
    blocks = [draw_sheet(played, f"{task.name}, episode {k + 1}") for k, played in enumerate(episodes)]
    write_bytes(sheet, iio.imwrite("<bytes>", np.concatenate(blocks), extension=".png"))
    return video, sheet


def draw_moment(played: dict[PolicyName, Rollout], step: int, title: str) -> np.ndarray:
    """Draw one frame of the video: a picture for each policy, and the goal picture.

    Args:
        played: one episode of each policy, by its name.
        step: which moment; of an episode that ended before, its last.
        title: written above.

    Returns:
        Picture, (height, width, 3) uint8; height and width are even.
    """
    goal = next(iter(played.values())).goal["image"]
    tiles = [_tile(name, rollout, min(step, len(rollout.frames) - 1)) for name, rollout in played.items()]
    return draw_row([*tiles, Tile("goal picture", goal)], VIDEO_TILE, title)


def draw_sheet(played: dict[PolicyName, Rollout], title: str) -> np.ndarray:
    """Draw an episode as a table: a row for each policy, moments from left to right, the goal picture at the end.

    Args:
        played: the episode of each policy, by its name.
        title: written above.

    Returns:
        Picture, (height, width, 3) uint8.
    """
    rows: list[np.ndarray] = []
    for name, rollout in played.items():
        steps = np.linspace(0, len(rollout.frames) - 1, NUM_MOMENTS).round().astype(int)
        tiles = [_tile(f"step {step}" if step else f"{name}: step 0", rollout, step) for step in steps]
        rows.append(draw_row([*tiles, Tile("goal picture", rollout.goal["image"])], SHEET_TILE, "" if rows else title))
    return np.concatenate(rows)


def _play(env: GoalEnv, task: Task, name: PolicyName, steps: int, seed: int, k: int) -> Rollout:
    env_seed, generator = seeds_of(seed, k)
    return record(play(env, task.make_policy(name, env, generator), num_steps=steps, seed=env_seed), steps)


def _tile(above: str, rollout: Rollout, step: int) -> Tile:
    return moment_tile(above, rollout.frames[step], rollout.distances[step], bool(rollout.reached[step]))
