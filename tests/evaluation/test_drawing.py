from __future__ import annotations

import numpy as np
import pytest

from vjepa_wm.envs.play import Rollout
from vjepa_wm.evaluation.drawing import GOOD, HOLD, LINE, SIDE, Tile, draw_episode, draw_row, moment_tile
from vjepa_wm.evaluation.evaluated_episode import EpisodeResult, EvaluatedEpisode

STEPS = 4
RED, BLUE, GREEN = [200, 0, 0], [0, 0, 200], [0, 200, 0]


def square(color, size=32):
    return np.full((size, size, 3), color, dtype=np.uint8)


def episode(final: float, *, size: int = 32, goals=None) -> EvaluatedEpisode:
    distances = np.linspace(0.3, final, STEPS + 1)
    reached = distances <= 0.05
    rollout = Rollout(
        pictures={"image": np.stack([square(RED, size)] * (STEPS + 1))},  # the camera sees red, the goal is blue
        states=np.zeros((STEPS + 1, 7), np.float32),
        actions=np.zeros((STEPS, 7), np.float32),
        objects=None,
        distances=distances,
        reached=reached,
        goal={},
        variation=None,
        seconds_per_action=0.25,
        was_cut_short=False,
    )
    result = EpisodeResult(
        seed=0, distances=tuple(distances), reached=tuple(reached), energies=None, seconds_per_action=0.25
    )
    return EvaluatedEpisode(result=result, rollout=rollout, goal_pictures=goals or {0: square(BLUE, size)})


@pytest.mark.parametrize("size", [32, 50, 300])
def test_a_video_shows_camera_and_goal_side_by_side(size):
    pictures = draw_episode(episode(0.01, size=size))
    num_frames, height, width, _ = pictures.shape
    assert num_frames == STEPS + 1 + HOLD
    assert height % 2 == width % 2 == 0
    np.testing.assert_array_equal(pictures[0, height // 2, 100], RED)
    np.testing.assert_array_equal(pictures[0, height // 2, width - 100], BLUE)


def test_a_video_shows_each_goal_from_the_moment_on_at_which_the_agent_was_shown_it():
    pictures = draw_episode(episode(0.01, goals={0: square(BLUE), 2: square(GREEN)}))
    seen = pictures[: STEPS + 1, 100, -100].tolist()
    assert seen == [BLUE, BLUE, GREEN, GREEN, GREEN]


def test_the_caption_changes_with_step_and_success():
    reached, missed = draw_episode(episode(0.01)), draw_episode(episode(0.2))
    above, below = slice(0, LINE), slice(LINE + SIDE, None)
    assert (reached[0, above] != reached[1, above]).any()
    assert (missed[0, below] != missed[1, below]).any()  # the distance

    def is_green(picture: np.ndarray) -> bool:
        return bool((picture[below, :, 1].astype(int) - picture[below, :, 0] > 60).any())

    assert is_green(reached[-1])
    assert not is_green(missed[-1])
    assert not is_green(reached[0])


def test_a_moment_says_how_far_it_is():
    assert moment_tile("step 3", square(RED), 0.1234, False)[2:] == ("12.3 cm off", False)
    assert moment_tile("step 3", square(RED), 0.04, True)[2:] == ("reached", True)


def test_a_row_has_lines_for_text_only_where_there_is_text():
    plain = draw_row([Tile("a", square(RED)), Tile("b", square(BLUE))], 64)
    told = draw_row([Tile("a", square(RED)), Tile("b", square(BLUE), "reached", True)], 64, "title")
    assert told.shape == (plain.shape[0] + 2 * LINE, *plain.shape[1:])
    np.testing.assert_array_equal(plain[LINE + 32, 32], RED)
    np.testing.assert_array_equal(told[2 * LINE + 32, 32 + 64 + 6], BLUE)
    assert np.abs(told[-LINE:].astype(int) - GOOD).sum(axis=-1).min() < 60
