"""The maze: starts, goals and layouts, what the pictures show, errors, and that all of it is saved with the state."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.envs import VariationConfig
from vjepa_wm.envs.plane.geometry import POINT_RADIUS, are_free
from vjepa_wm.envs.plane.layouts import MAZES
from vjepa_wm.envs.plane.point_maze.env import PointMazeConfig, PointMazeEnv
from vjepa_wm.envs.plane.roadmap import Roadmap


@pytest.fixture
def env():
    env = envs.make("point_maze", image_size=64)
    yield env
    env.close()


def make_in(layout, image_size=64):
    return envs.make("point_maze", image_size=image_size, variation=VariationConfig(layout=layout))


def is_point(picture):
    red, green, blue = picture.astype(int).transpose(2, 0, 1)
    return (red > 2 * green) & (red > 2 * blue)


@pytest.mark.parametrize("layout", MAZES.names())
def test_starts_and_goals_are_free_and_a_way_apart(layout):
    env = make_in(layout, image_size=16)
    for seed in range(12):
        obs, info = env.reset(seed=seed)
        start, goal = obs["state"], info["goal"]["state"]
        assert are_free(np.stack([start, goal]), info["walls"]).all()
        assert Roadmap(info["walls"]).length(start, goal) >= env.config.min_path
    env.close()


def test_every_cell_is_a_start_as_often(env):
    rng = np.random.default_rng(0)
    cells = [tuple(np.floor((env.sample_position(rng) + 0.5) * 5).astype(int)) for _ in range(1000)]
    counts = [cells.count(cell) for cell in itertools.product(range(5), repeat=2)]
    assert sum(counts) == 1000 and min(counts) > 20 and max(counts) < 65


def test_the_point_is_seen_where_it_is_and_is_large_enough():
    env = make_in("default", image_size=128)
    for place in ([0.0, 0.0], [0.4, 0.4], [-0.4, -0.3]):
        obs, info = env.reset(options={"start": np.array(place), "goal": np.array([0.4, -0.4])})
        rows, columns = np.nonzero(is_point(obs["image"]))
        assert 15 <= np.ptp(rows) + 1 <= 18 and 15 <= np.ptp(columns) + 1 <= 18
        seen = (np.array([columns.mean(), rows.mean()]) + 0.5) / 128 * [1.04, -1.04] - [0.52, -0.52]
        np.testing.assert_allclose(seen, place, atol=0.015)
        rows, columns = np.nonzero(is_point(info["goal"]["image"]))
        assert columns.mean() > 100 and rows.mean() > 100
    env.close()


def test_going_there_ends_as_the_goal_picture(env):
    env.reset(options={"start": np.array([-0.3, 0.3]), "goal": np.array([0.0, 0.35])})
    for displacement in ([0.1, 0.0], [0.1, 0.05]):
        _, reward, _, _, info = env.step(np.array(displacement))
        assert not info["is_success"] and reward == -info["distance"]
    obs, _, terminated, truncated, info = env.step(np.array([0.1, 0.0]))
    assert info["is_success"] and info["distance"] < 1e-3 and not terminated and not truncated
    assert np.abs(obs["image"].astype(int) - info["goal"]["image"]).mean() < 0.5


def test_success_is_a_matter_of_metres(env):
    for distance, expected in ((0.049, True), (0.051, False)):
        _, info = env.reset(options={"start": np.array([0.0, 0.3]), "goal": np.array([distance, 0.3])})
        assert info["is_success"] == expected and info["distance"] == pytest.approx(distance, abs=1e-6)


def test_layouts_are_drawn_named_and_saved():
    env, other = make_in("sampled"), make_in("held_out")
    drawn = {env.reset(seed=seed)[1]["variation"]["layout"] for seed in range(40)}
    assert drawn == set(MAZES.training)
    unseen = {other.reset(seed=seed)[1]["variation"]["layout"] for seed in range(30)}
    assert unseen == set(MAZES.held_out)
    env.reset(seed=3)
    saved, picture = env.get_state(), env.render()
    pushes = np.random.default_rng(0).uniform(-0.1, 0.1, (30, 2))
    expected = [env.advance(push) for push in pushes]
    other.set_state(saved)
    np.testing.assert_array_equal(other.render(), picture)
    np.testing.assert_array_equal([other.advance(push) for push in pushes], expected)
    np.testing.assert_array_equal(other.get_state(), env.get_state())
    assert other.get_state().shape == saved.shape
    env.close()
    other.close()


def test_walls_of_the_info_are_those_of_the_layout_and_a_copy(env):
    _, info = env.reset(seed=0)
    assert info["walls"].shape == (8, 4) and info["walls"].dtype == np.float32
    info["walls"][:] = 0
    info = env.step(np.zeros(2))[4]
    assert (info["walls"][:, 2:] > info["walls"][:, :2]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"place": [0, 0]}, r"options of reset must be 'start' and 'goal', got \['place'\]"),
        ({"start": [0, 0, 0]}, r"start must be 2 finite numbers, x and y, got \[0.0, 0.0, 0.0\] of shape \(3,\)"),
        ({"goal": [0, np.nan]}, "goal must be 2 finite numbers"),
        ({"start": [0.7, 0.9]}, r"start must lie within ± 0.5 m, got \[0.7, 0.9\]"),
        ({"start": [0.0, 0.45]}, r"start must keep 0.065 m from the walls of layout 'default', got \[0.0, 0.45\]"),
        ({"goal": [0.0, 0.1]}, "goal must keep 0.065 m from the walls"),
    ],
)
def test_bad_reset_options(env, options, message):
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)


def test_bad_actions(env):
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must be 2 finite numbers"):
        env.step(np.zeros(7))


def test_a_given_place_may_touch_a_wall(env):
    face = 0.48 - POINT_RADIUS
    obs, _ = env.reset(options={"start": np.array([face + 0.001, 0.0])})
    assert obs["state"][0] == pytest.approx(face + 0.001)


def test_options_out_of_range():
    with pytest.raises(ValueError, match=r"success_radius must be above 0 and at most 0.15, got 0.2"):
        PointMazeConfig(success_radius=0.2)
    with pytest.raises(ValueError, match=r"min_path must be above success_radius and at most 0.8, got 0.9"):
        PointMazeConfig(min_path=0.9)
    with pytest.raises(ValueError, match=r"variation.layout has no value 'spirol', did you mean 'spiral'"):
        make_in("spirol")
    with pytest.raises(ValueError, match="cameras must be different ones of top"):
        PointMazeEnv(PointMazeConfig(cameras=("front",)))
