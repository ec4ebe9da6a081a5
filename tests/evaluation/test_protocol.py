from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from point_world import PointEnv, PointExpert

from vjepa_wm.evaluation.protocol import Episode, EvaluationProtocol, make_ahead_protocol, make_protocol
from vjepa_wm.evaluation.protocol_files import load_protocol, save_protocol

EPISODE = Episode(seed=1, options={"goal": [0.3, 0.0, 0.1], "layout": "maze"})
PROTOCOL = EvaluationProtocol(name="p", task="point", episodes=(EPISODE,), steps=10, goal_steps=(3, 3))


def make(num_episodes: int = 20, seed: int = 0, env=None, **changes) -> EvaluationProtocol:
    settings = {"name": "point", "task": "point", "steps": 10} | changes
    return make_protocol(env or PointEnv(), num_episodes=num_episodes, seed=seed, **settings)


def ahead(num_episodes: int = 5, seed: int = 0, env=None, policy=PointExpert, **changes) -> EvaluationProtocol:
    settings = {"name": "ahead", "task": "point", "steps": 6, "ahead": 3, "latest_start": 4} | changes
    return make_ahead_protocol(env or PointEnv(), policy, num_episodes=num_episodes, seed=seed, **settings)


def start_of(env, episode):
    obs, info = env.reset(seed=episode.seed, options=episode.reset_options())
    return obs["state"].tolist(), info


def test_an_episode_is_a_seed_and_the_environment_samples_the_rest():
    protocol = make(goal_steps=(2, 2))
    assert (protocol.name, protocol.version, protocol.task, protocol.steps) == ("point", 1, "point", 10)
    assert protocol.goal_steps == (2, 2) and protocol.origin.endswith("seed 0")
    assert all(not episode.options for episode in protocol.episodes)
    env = PointEnv()
    assert len({tuple(start_of(env, episode)[0]) for episode in protocol.episodes}) == 20


def test_a_start_that_the_environment_calls_solved_is_left_out():
    generous, strict = PointEnv(success_radius=0.3), PointEnv(success_radius=0.01)
    kept, all_drawn = make(env=generous).episodes, make(env=strict).episodes
    assert kept != all_drawn  # some were left out
    for episode in kept:
        assert start_of(generous, episode)[1]["distance"] > 0.3


def test_the_seed_decides_and_a_longer_list_begins_with_a_shorter_one():
    assert make() == make()
    assert make().episodes[:5] == make(num_episodes=5).episodes == make().first(5).episodes
    assert make(seed=1).episodes != make().episodes
    assert ahead(8).episodes[:5] == ahead().episodes != ahead(seed=1).episodes


def test_episodes_are_held_out_from_collections():
    # a collection seeds its streams with (seed, k) and its environments with 32-bit numbers
    env = PointEnv()
    starts = {tuple(start_of(env, episode)[0]) for episode in make(num_episodes=5).episodes}
    for k in range(50):
        assert tuple(env.reset(seed=k)[0]["state"].tolist()) not in starts
    assert min(episode.seed for episode in make().episodes + ahead().episodes) >= 2**32


def test_a_goal_ahead_is_what_the_trajectory_shows_some_steps_on():
    protocol, env, lengths = ahead(), PointEnv(), set()
    assert "3 steps apart" in protocol.origin
    for episode in protocol.episodes:
        before, way = (episode.options.get(name, []) for name in ("start_actions", "goal_actions"))
        lengths.add(len(before))
        start, info = start_of(env, episode)
        obs, _ = env.reset(seed=episode.seed)
        for action in before:
            obs = env.step(np.array(action))[0]
        assert obs["state"].tolist() == start
        for action in way:
            obs = env.step(np.array(action))[0]
        assert len(way) == 3
        np.testing.assert_array_equal(info["goal"]["image"], obs["image"])
        np.testing.assert_array_equal(info["goal"]["state"], obs["state"])
        assert not info["is_success"] and info["distance"] > 0.05
    assert len(lengths) > 1 and max(lengths) <= 4


def test_a_policy_that_goes_nowhere_leads_to_no_goal():
    with pytest.raises(ValueError, match="starts every one of 100 episodes solved"):
        ahead(policy=lambda rng: lambda obs, info: np.zeros(7))


def test_saving_and_loading_keeps_everything(tmp_path):
    for protocol in (make(), ahead(), PROTOCOL, replace(PROTOCOL, version=3, origin="by hand")):
        save_protocol(protocol, tmp_path / "new/protocol.json")
        assert load_protocol(tmp_path / "new/protocol.json") == protocol


def test_numbers_of_options_become_arrays_and_names_stay():
    options = EPISODE.reset_options()
    assert options["goal"].dtype == np.float64 and options["goal"].tolist() == [0.3, 0.0, 0.1]
    assert options["layout"] == "maze"


def test_a_shorter_list_has_the_first_episodes():
    protocol = make(num_episodes=4)
    assert protocol.first(4) == protocol and protocol.first(1).episodes == protocol.episodes[:1]
    with pytest.raises(ValueError, match="episodes must be at most the 4 of protocol point, got 5"):
        protocol.first(5)
    with pytest.raises(ValueError, match="num_episodes must be at least 1, got 0"):
        protocol.first(0)


def test_with_another_budget_each_goal_picture_keeps_its_share_and_the_name_tells():
    assert PROTOCOL.with_steps(10) is PROTOCOL
    longer = PROTOCOL.with_steps(20)
    assert (longer.name, longer.steps, longer.goal_steps) == ("p, 20 steps", 20, (6, 6))
    assert PROTOCOL.with_steps(3).goal_steps == (1, 1)
    with pytest.raises(ValueError, match="goal_steps must leave some of the 2 steps to the last goal"):
        PROTOCOL.with_steps(2)


def test_goal_pictures_come_in_order():
    goal = PointEnv(has_parts=True).reset(seed=0)[1]["goal"]
    shown = PROTOCOL.goals(goal)
    assert list(shown) == [0, 3, 6]
    for one, part in zip(shown.values(), goal["subgoals"], strict=True):
        np.testing.assert_array_equal(one["image"], part["image"])
    alone = replace(PROTOCOL, goal_steps=()).goals(goal)
    assert list(alone) == [0]
    np.testing.assert_array_equal(alone[0]["image"], goal["image"])
    with pytest.raises(ValueError, match="shows 2 goal pictures in order, but the environment gives 3"):
        replace(PROTOCOL, goal_steps=(3,)).goals(goal)
    with pytest.raises(
        ValueError, match="shows 3 goal pictures in order, but the environment's sequence of them is em"
    ):
        PROTOCOL.goals(goal | {"subgoals": []})


def test_an_environment_that_starts_every_episode_solved_is_named():
    with pytest.raises(ValueError, match="starts every one of 100 episodes solved"):
        make(env=PointEnv(success_radius=2.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_episodes": 0}, "num_episodes must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        make(**change)
    with pytest.raises(ValueError, match=message):
        ahead(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ahead": 0}, "ahead must be at least 1, got 0"),
        ({"latest_start": -1}, "latest_start must be at least 0, got -1"),
    ],
)
def test_wrong_walks_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        ahead(**change)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: replace(EPISODE, seed=-3), "seed must be a whole number, at least 0, got -3"),
        (lambda: replace(EPISODE, seed=1.5), "seed must be a whole number, at least 0, got 1.5"),
        (lambda: replace(EPISODE, options=[1]), "options must be options of reset by name, got list"),
        (lambda: replace(PROTOCOL, episodes=()), "at least one episode, got none"),
        (lambda: replace(PROTOCOL, steps=0), "steps must be at least 1, got 0"),
        (lambda: replace(PROTOCOL, steps="ten"), "steps must be a whole number, got 'ten'"),
        (lambda: replace(PROTOCOL, version=0), "version must be at least 1, got 0"),
        (lambda: replace(PROTOCOL, goal_steps=(3, 0)), "goal_steps must be at least 1, got 0"),
        (lambda: replace(PROTOCOL, goal_steps=(5, 5)), r"leave some of the 10 steps to the last goal, got \(5, 5\)"),
    ],
)
def test_impossible_protocols_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def remove_steps(content):
    del content["steps"]


def add_speed(content):
    content["speed"] = 1


def remove_seed(content):
    del content["episodes"][1]["seed"]


def spell_a_number(content):
    content["episodes"][2]["options"] = {"start": [0.0, "left"]}


def forget_a_bracket(content):
    content["episodes"][0]["options"] = {"start_actions": [[0.0, 1.0], [2.0]]}


def replace_episodes(content):
    content["episodes"] = 20


def show_one_number(content):
    content["goal_steps"] = 3


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_steps, "missing: steps; unknown: none"),
        (add_speed, "missing: none; unknown: speed"),
        (remove_seed, "episode 1: Episode must have the fields seed, options; missing: seed"),
        (spell_a_number, "episode 2: could not convert string to float: 'left'"),
        (forget_a_bracket, "episode 0: .*inhomogeneous"),
        (replace_episodes, "episodes must be a list, got int"),
        (show_one_number, "protocol.json is not a protocol: 'int' object is not iterable"),
    ],
)
def test_a_spoiled_file_is_explained(tmp_path, spoil, message):
    path = tmp_path / "protocol.json"
    save_protocol(make(num_episodes=3), path)
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        load_protocol(path)


def test_other_files_are_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no protocol at .*protocol\.json; shipped are drawer, grasp, .*reach"):
        load_protocol(tmp_path / "protocol.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match=r"broken\.json is not a protocol"):
        load_protocol(tmp_path / "broken.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ValueError, match="EvaluationProtocol must be a json object, got list"):
        load_protocol(tmp_path / "list.json")
