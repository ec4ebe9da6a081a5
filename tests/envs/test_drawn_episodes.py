"""Drawn values in use: drawn only when asked for, seen in every task, kept with states and collected episodes."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.cli import main
from vjepa_wm.data.collection.episode_player import seeds_of
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.envs import VariationConfig
from vjepa_wm.envs.plane.layouts import MAZES, TWO_ROOMS
from vjepa_wm.envs.variation.factors import FACTORS, draw
from vjepa_wm.envs.variation.named_values import SCENE_TABLES
from vjepa_wm.envs.variation.value_types import Values
from vjepa_wm.envs.variation.values import VALUES


def test_draws_of_the_other_modes_are_what_they_were():
    values = VALUES | {"layout": MAZES}
    drawn = {mode: [] for mode in ("sampled", "held_out")}
    for mode, found in drawn.items():
        chosen = VariationConfig(all=mode).chosen(values)
        found += [" ".join(draw(chosen, values, np.random.default_rng(seed)).values()) for seed in range(3)]
    assert drawn == {
        "sampled": [
            "oak orange default default ball_and_stick 1.5 1.2 comb",
            "sand azure left low_right can 0.8 1.5 loops",
            "white lime warm default egg 1.25 0.6 default",
        ],
        "held_out": [
            "brick indigo sunset far_left cross_and_tower 2.2 2.4 knot",
            "brick rose sunset very_far dumbbell 1.8 3.0 pinwheel",
            "lilac indigo greenish far_left tower 2.2 0.4 ring",
        ],
    }


@pytest.mark.parametrize(
    ("layouts", "names", "told"),
    [
        (MAZES, "maze_7294 maze_4091 maze_551", "d268c104d3492c75b8cea8d4efc042208b7b50da28793d15ce0208f2cfae81d8"),
        (
            TWO_ROOMS,
            "column_3_doors_3 row_2_doors_3 column_1_doors_3",
            "1aa37c5b357aa30ab8013f509f88dc7ad70b099e28c4d0c01a63d8504321f413",
        ),
    ],
)
def test_drawn_layouts_are_what_they_were(layouts, names, told):
    values = {"layout": layouts}
    chosen = VariationConfig(layout="drawn").chosen(values)
    assert [draw(chosen, values, np.random.default_rng(seed))["layout"] for seed in range(3)] == names.split()
    drawings = "".join(layouts[name] for name in list(layouts.drawn)[:300])
    assert hashlib.sha256(drawings.encode()).hexdigest() == told


def test_all_drawn_is_sampled_where_there_is_no_rule():
    rooms = {"layout": replace(TWO_ROOMS, drawn=None)}
    assert VariationConfig(all="drawn").chosen(VALUES | rooms) == dict.fromkeys(VALUES, "drawn") | {"layout": "sampled"}
    with pytest.raises(
        ValueError, match=r"variation.layout has no value 'drawn'; known are: default, sampled, held_out, middle"
    ):
        VariationConfig(layout="drawn").chosen(rooms)
    assert VariationConfig(all="half_drawn").chosen(rooms) == {"layout": "sampled"}
    with pytest.raises(ValueError, match=r"variation.layout has no value 'half_drawn'"):
        VariationConfig(layout="half_drawn").chosen(rooms)
    assert Values({"default": 1}, {}).index("default") == 0


def test_half_drawn_is_as_always_in_half_of_the_episodes_each_factor_for_itself():
    values = VALUES | {"layout": MAZES}
    rng = np.random.default_rng(0)
    chosen = VariationConfig(all="half_drawn", camera="default").chosen(values)
    episodes = [draw(chosen, values, rng) for _ in range(400)]
    varied = np.array([[names[factor] != "default" for factor in FACTORS] for names in episodes], dtype=float)
    camera = FACTORS.index("camera")
    assert not varied[:, camera].any()
    others = np.delete(varied, camera, axis=1)
    assert np.abs(others.mean(axis=0) - 0.5).max() < 0.1  # four deviations of 400 tosses
    assert np.abs(np.corrcoef(others.T) - np.eye(others.shape[1])).max() < 0.2
    drawn = [names[factor] for names in episodes for factor in FACTORS if names[factor] != "default"]
    assert len(set(drawn)) > 1000 and all(any(name in values[factor].drawn for factor in FACTORS) for name in drawn)


def test_many_values_are_drawn():
    rng = np.random.default_rng(0)
    values = VALUES | {"layout": MAZES}
    drawn = [draw(VariationConfig(all="drawn").chosen(values), values, rng) for _ in range(300)]
    for factor in FACTORS:
        assert len({names[factor] for names in drawn}) > 280 and all(
            names[factor] in values[factor].drawn for names in drawn
        )


@pytest.mark.parametrize("name", ["drawn_10000", "drawn_412", "drawn_000412", "drawn_"])
def test_what_is_out_of_range_is_told(name):
    with pytest.raises(
        ValueError, match=rf"variation.mass has no value '{name}'; known are: .*, 3.0, drawn_00000 to drawn_09999"
    ):
        VariationConfig(mass=name)


def test_the_scenes_own_tables_are_those_that_rules_mix():
    for task, (table, wall) in zip(("push", "point_maze"), SCENE_TABLES, strict=True):
        with closing(envs.make(task, image_size=32)) as env:
            model = env._scene.model
            np.testing.assert_allclose(model.mat("table").rgba[:3], table, atol=1e-6)
            if wall:
                np.testing.assert_allclose(model.mat("wall").rgba[:3], wall, atol=1e-6)


@pytest.mark.parametrize("task", envs.TASKS)
def test_every_task_is_drawn_and_its_object_is_seen(task):
    looks = [{}, *({"object": name} for name in ("azure", "lime") if task != "reach")]
    made = [envs.make(task, image_size=64, variation=VariationConfig(all="drawn", **look)) for look in looks]
    seen_names = set()
    for seed in range(6):
        (obs, info), *others = (env.reset(seed=seed) for env in made)
        assert all(name in made[0].factors[factor].drawn for factor, name in info["variation"].items())
        seen_names.add(tuple(info["variation"].values()))
        picture = obs["image"].astype(int)
        assert picture.mean() > 25 and picture.std() > 15
        if others:  # that differ in the colour of the object alone
            pairs = [[obs["image"].astype(int), info["goal"]["image"].astype(int)] for obs, info in others]
            differ = (np.abs(np.subtract(*pairs)).max(axis=-1) > 60).sum(axis=(-2, -1))
            assert differ.max() >= 12, (seed, differ)  # pixels, at the start or at the goal
    assert len(seen_names) == 6
    for env in made:
        env.close()


def test_a_saved_state_brings_drawn_values_along():
    drawn = envs.make("push", image_size=64, variation=VariationConfig(all="drawn"))
    with closing(drawn) as env, closing(envs.make("push", image_size=64)) as other:
        env.reset(seed=4)
        other.reset(seed=1)
        other.set_state(env.get_state())
        np.testing.assert_array_equal(other.render(), env.render())
        assert other._scene.variation == env._scene.variation


def test_a_collected_episode_can_be_made_again_from_its_names(tmp_path):
    words = ["--env", "push", "--episodes", "3", "--steps", "4", "--image-size", "64", "--workers", "0"]
    assert main(["collect", "--out", str(tmp_path / "set"), *words, "--seed", "5", "--variation.all", "drawn"]) == 0
    dataset = TrajectoryDataset(tmp_path / "set")
    found = [dataset.episode(k).variation for k in range(3)]
    assert len({variation["table"] for variation in found}) == 3
    for k, variation in enumerate(found):
        assert set(variation) == set(VALUES) and all(name.startswith("drawn_") for name in variation.values())
        with (
            closing(envs.make("push", image_size=64, variation=VariationConfig(**variation))) as named,
            closing(envs.make("push", image_size=64, variation=VariationConfig(all="drawn"))) as drawn,
        ):
            seed, _ = seeds_of(5, k)
            again, info = named.reset(seed=seed)
            assert info["variation"] == variation
            np.testing.assert_array_equal(again["image"], drawn.reset(seed=seed)[0]["image"])
            actions = dataset.episode(k).actions[:-1]
            states = [again["state"], *(named.step(action)[0]["state"] for action in actions)]
        np.testing.assert_allclose(states, dataset.episode(k).states, atol=1e-5)
