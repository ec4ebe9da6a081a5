"""Protocols that come with the package: their episodes must never change under a version, or results do not compare."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from vjepa_wm.agents.agent import ScriptedAgent, StandStill
from vjepa_wm.envs import TASKS, VariationConfig, find_task, make
from vjepa_wm.evaluation.evaluated_episode import play_episode
from vjepa_wm.evaluation.protocol_files import load_protocol, shipped_protocols

PINNED = {
    "drawer": (1, [(0.0904, 0.5778, 0.0809), (0.0877, 0.5975, 0.1075), (0.0841, 0.5412, 0.1099)]),
    "grasp": (1, [(0.1000, 0.5558, 0.0625), (0.1000, 0.5228, -0.0036), (0.1000, 0.5740, 0.0966)]),
    "lever": (1, [(0.4374, 0.5559, -0.1457), (0.0935, 0.5075, -0.0708), (0.1652, 0.5390, -0.0435)]),
    "pick_place": (1, [(0.2240, 0.5558, 0.0625), (0.1487, 0.5228, -0.0036), (0.1860, 0.5740, 0.0966)]),
    "pick_place_final": (1, [(0.2240, 0.5558, 0.0625), (0.1487, 0.5228, -0.0036), (0.1860, 0.5740, 0.0966)]),
    "point_maze": (2, [(0.8135, 0.3841, -0.0499), (0.9384, -0.4020, 0.0877), (0.5898, 0.2113, 0.1710)]),
    "point_maze_held_out": (1, [(0.6995, 0.3992, 0.0645), (0.9384, -0.4020, 0.0877), (0.6213, 0.2144, 0.2514)]),
    "push": (1, [(0.2115, 0.5679, -0.1554), (0.1582, 0.4957, -0.1224), (0.1536, 0.5427, -0.0008)]),
    "push_ahead": (1, [(0.1218, 0.5679, -0.1554), (0.1906, 0.5409, 0.1542), (0.1703, 0.5427, -0.0008)]),
    "reach": (1, [(0.2667, 0.5020, -0.0019), (0.2845, 0.4983, -0.0050), (0.2145, 0.5815, 0.1341)]),
    "two_room": (2, [(0.2265, -0.1449, -0.1873), (0.8335, -0.3775, -0.0154), (0.7342, 0.1391, 0.3387)]),
    "two_room_held_out": (1, [(0.2265, -0.1449, -0.1873), (0.8335, -0.3775, -0.0154), (0.7342, 0.1391, 0.3387)]),
}
"""Of the first three episodes: distance to the goal, and x and y of the object, or else of the robot, at the start [m].

Whoever changes how a task samples changes these, and must raise the version of its protocols.
"""
EACH = pytest.mark.parametrize("name", shipped_protocols())


@pytest.fixture(scope="module")
def made():
    """Environments of tasks, for what a protocol varies, made once."""
    with ExitStack() as envs:

        @cache
        def made_once(task, *variation):
            env = make(task, image_size=32, variation=VariationConfig.of(dict(variation)))
            return envs.enter_context(closing(env))

        yield lambda task, variation=(): made_once(task, *dict(variation).items())


def starts(env, protocol, num_episodes):
    for episode in protocol.episodes[:num_episodes]:
        obs, info = env.reset(seed=episode.seed, options=episode.reset_options())
        yield [info["distance"], *info.get("object", obs["state"])[:2]], info


def test_every_task_ships_one_and_some_more():
    more = {"push_ahead", "pick_place_final", "point_maze_held_out", "two_room_held_out"}
    assert set(shipped_protocols()) == {*TASKS, *more}


@pytest.mark.parametrize("task", ["point_maze", "two_room"])
def test_layouts_to_train_with_and_held_out_ones_are_measured_apart(made, task):
    seen = {}
    for name in (task, f"{task}_held_out"):
        protocol = load_protocol(name)
        env = made(task, protocol.variation)
        seen[name] = {env.reset(seed=episode.seed)[1]["variation"]["layout"] for episode in protocol.episodes[:40]}
    values = made(task).factors["layout"]
    assert seen[task] <= set(values.training) and len(seen[task]) >= 5
    assert seen[f"{task}_held_out"] <= set(values.held_out) and len(seen[f"{task}_held_out"]) >= 4


@EACH
def test_it_is_of_a_task_and_has_its_budget(name):
    protocol = load_protocol(name)
    task = find_task(protocol.task)
    assert protocol.name == name and task.name == protocol.task and name.startswith(protocol.task)
    assert len(protocol.episodes) == len({episode.seed for episode in protocol.episodes}) == 100
    assert protocol.steps <= task.usual_steps
    assert bool(protocol.goal_steps) == (task.ordered_goals and not name.endswith("_final"))


@pytest.mark.parametrize("name", PINNED)
def test_the_first_episodes_are_as_they_were_when_it_was_made(made, name):
    protocol = load_protocol(name)
    version, pinned = PINNED[name]
    assert protocol.version == version
    found = [numbers for numbers, _ in starts(made(protocol.task, protocol.variation), protocol, 3)]
    np.testing.assert_allclose(found, pinned, atol=2e-4)


@pytest.mark.parametrize("num_episodes", [10, pytest.param(100, marks=pytest.mark.slow)])
@EACH
def test_no_episode_starts_solved(made, name, num_episodes):
    protocol = load_protocol(name)
    found = list(starts(made(protocol.task, protocol.variation), protocol, num_episodes))
    assert len(found) == num_episodes and not any(info["is_success"] for _, info in found)


def test_the_final_picture_alone_is_shown_of_the_same_episodes():
    ordered, final = load_protocol("pick_place"), load_protocol("pick_place_final")
    assert final == replace(ordered, name="pick_place_final", goal_steps=())
    assert list(final.goals({"image": 0, "subgoals": [1, 2, 3]})) == [0]


def test_ordered_goals_of_pick_place_are_shown_in_order(made):
    env, protocol = made("pick_place"), load_protocol("pick_place").with_steps(6)
    shown = []

    class Watcher(ScriptedAgent):
        def reset(self, goal_image, seed):
            super().reset(goal_image, seed)
            self.num_actions = 0
            shown.append((0, goal_image))

        def show_goal(self, goal_image):
            shown.append((self.num_actions, goal_image))

        def act_on_info(self, obs, info):
            self.num_actions += 1
            return super().act_on_info(obs, info)

    episode = protocol.episodes[0]
    play_episode(Watcher(lambda rng: StandStill(7)), env, protocol, episode, seed=0)
    subgoals = env.reset(seed=episode.seed)[1]["goal"]["subgoals"]
    assert [part["name"] for part in subgoals] == ["grasped", "carried", "placed"]
    assert [num_actions for num_actions, _ in shown] == [0, 2, 4]
    for (_, image), part in zip(shown, subgoals, strict=True):
        np.testing.assert_array_equal(image, part["image"])


def test_a_goal_of_push_ahead_is_what_the_trajectory_shows_ten_steps_on(made):
    env = made("push")
    for episode in load_protocol("push_ahead").episodes[:3]:
        options = episode.reset_options()
        obs, info = env.reset(seed=episode.seed, options=options)
        before, way = options.get("start_actions", np.zeros((0, 7))), options["goal_actions"]
        assert way.shape == (10, 7) and len(before) <= 10
        moment, _ = env.reset(seed=episode.seed)
        for action in before:
            moment = env.step(action)[0]
        np.testing.assert_array_equal(moment["image"], obs["image"])
        for action in way:
            moment, _, _, _, there = env.step(action)
        np.testing.assert_array_equal(moment["image"], info["goal"]["image"])
        np.testing.assert_array_equal(there["object"], info["goal"]["object"])
        assert not np.array_equal(obs["image"], info["goal"]["image"])
