"""The two rooms: starts and goals on both sides of the wall, doors that let the point through, layouts."""

from __future__ import annotations

import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.envs import VariationConfig
from vjepa_wm.envs.plane.geometry import are_clear, are_free
from vjepa_wm.envs.plane.layouts import TWO_ROOMS
from vjepa_wm.envs.plane.roadmap import Roadmap

COLUMNS = {"default": 0.0, "left": -0.25, "middle": 0.0, "right": 0.25}


def make_in(layout, image_size=32):
    return envs.make("two_room", image_size=image_size, variation=VariationConfig(layout=layout))


@pytest.mark.parametrize("layout", TWO_ROOMS.names())
def test_start_and_goal_are_in_different_rooms(layout):
    env, wall = make_in(layout), COLUMNS[layout.split("_")[0]]
    sides = []
    for seed in range(20):
        obs, info = env.reset(seed=seed)
        places = np.stack([obs["state"], info["goal"]["state"]])
        assert are_free(places, info["walls"]).all()
        assert (places[0, 0] - wall) * (places[1, 0] - wall) < 0
        assert np.abs(places[:, 0] - wall).min() >= 0.085 - 1e-6 and info["distance"] > 0.17 - 1e-6
        assert not are_clear(places[:1], places[1:], info["walls"]).any()
        assert Roadmap(info["walls"]).length(*places) < 2.5
        sides.append(places[0, 0] < wall)
    assert 0 < sum(sides) < 20
    env.close()


@pytest.mark.parametrize("layout", ["row_1_doors_3", "row_3_doors_1_4", "column_2_doors_1_2"])
def test_start_and_goal_are_in_different_rooms_of_drawn_layouts(layout):
    env = make_in(layout)
    across, wall = {"row_1": (1, 0.25), "row_3": (1, -0.25), "column_2": (0, 0.0)}[layout.split("_doors")[0]]
    for seed in range(20):
        obs, info = env.reset(seed=seed)
        places = np.stack([obs["state"], info["goal"]["state"]])
        assert (places[0, across] - wall) * (places[1, across] - wall) < 0
        assert not are_clear(places[:1], places[1:], info["walls"]).any()
        assert Roadmap(info["walls"]).length(*places) < 2.5
    env.close()


@pytest.mark.parametrize("layout", TWO_ROOMS.names())
def test_only_the_door_leads_to_the_other_room(layout):
    env = make_in(layout)
    wall, door = COLUMNS[layout.split("_")[0]], int(layout[-1]) if layout[-1].isdigit() else 4
    for row in range(1, 5):
        y = 0.625 - 0.25 * row
        env.reset(options={"start": np.array([wall - 0.125, y]), "goal": np.array([wall + 0.125, y])})
        for _ in range(3):
            state = env.advance(np.array([0.09, 0.0]))
        assert state[0] == pytest.approx(wall + 0.145 if row == door else wall - 0.085, abs=1e-3)
    env.close()


def test_layouts_are_drawn_and_show():
    env = make_in("sampled", image_size=64)
    pictures = {}
    for seed in range(40):
        _, info = env.reset(seed=seed, options={"start": np.array([-0.4, 0.4]), "goal": np.array([0.4, 0.4])})
        pictures[info["variation"]["layout"]] = env.render().tobytes()
    assert set(pictures) == set(TWO_ROOMS.training) and len(set(pictures.values())) == len(pictures)
    env.close()


def test_a_start_in_the_door_needs_a_goal():
    env = make_in("default")
    with pytest.raises(ValueError, match="options of reset must leave room for what they do not give"):
        env.reset(options={"start": np.array([0.0, -0.375])})
    _, info = env.reset(options={"start": np.array([0.0, -0.375]), "goal": np.array([0.3, 0.0])})
    assert not info["is_success"]
    env.close()
