from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from point_world import PointEnv

from vjepa_wm.evaluation.protocol import Episode, Protocol, make_protocol, wilson_interval
from vjepa_wm.evaluation.protocol_files import load_protocol, save_protocol

EPISODE = Episode(seed=1, start=(0.0,) * 7, goal=(0.3,) + (0.0,) * 6)


def make(num_episodes: int = 20, seed: int = 0, **changes) -> Protocol:
    return make_protocol(PointEnv(), task="point", num_episodes=num_episodes, steps=10, seed=seed, **changes)


def test_starts_are_far_from_goals_and_poses_come_from_the_environment():
    protocol = make()
    assert len(protocol.episodes) == 20
    for episode in protocol.episodes:
        assert math.dist(episode.start[:3], episode.goal[:3]) >= 0.15
        assert 0 <= min(episode.start) <= max(episode.start) <= 0.51
    assert len({episode.start for episode in protocol.episodes}) == 20
    assert (protocol.task, protocol.steps, protocol.seed) == ("point", 10, 0)
    assert (protocol.min_distance, protocol.success_radius) == (0.15, 0.05)


def test_a_start_that_the_environment_calls_solved_is_left_out():
    # the environment is more generous than the least distance: only pairs beyond its own radius may remain
    protocol = make_protocol(PointEnv(success_radius=0.3), task="point", num_episodes=10, steps=5, seed=0)
    assert min(episode.distance for episode in protocol.episodes) > 0.3


def test_the_seed_decides_and_a_longer_list_begins_with_a_shorter_one():
    assert make() == make()
    assert make().episodes[:5] == make(num_episodes=5).episodes
    assert make(seed=1).episodes != make().episodes


def test_episodes_are_held_out_from_collections():
    # a collection seeds its streams with (seed, k) or with 32-bit numbers
    starts = {episode.start for episode in make(num_episodes=5).episodes}
    env = PointEnv()
    for k in range(5):
        for entropy in (k, (0, k), (0, k, 0)):
            rng = np.random.default_rng(entropy)
            assert not {tuple(map(float, env.sample_pose(rng))) for _ in range(4)} & starts
    assert min(episode.seed for episode in make().episodes) >= 2**32


def test_saving_and_loading_keeps_everything(tmp_path):
    protocol = make()
    save_protocol(protocol, tmp_path / "protocol.json")
    assert load_protocol(tmp_path / "protocol.json") == protocol


def test_too_large_a_distance_is_named():
    with pytest.raises(ValueError, match=r"min_distance 2\.0 m is too large for the environment"):
        make(min_distance=2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_episodes": 0}, "num_episodes must be at least 1, got 0"),
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"min_distance": 0.04}, "min_distance must exceed success_radius .* got 0.04 and 0.05"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        make(**change)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: replace(EPISODE, start=(0.0,) * 6), "start must be 7 finite numbers"),
        (lambda: replace(EPISODE, goal=(math.nan,) * 7), "goal must be 7 finite numbers"),
        (lambda: replace(EPISODE, seed=-3), "seed must not be negative, got -3"),
        (lambda: Protocol(task="t", episodes=(), steps=5, seed=0), "at least one episode, got none"),
        (lambda: Protocol(task="t", episodes=(EPISODE,), steps=0, seed=0), "steps must be at least 1, got 0"),
        (
            lambda: Protocol(task="t", episodes=(EPISODE,), steps=5, seed=0, min_distance=0.4),
            "at least min_distance 0.4 m from its goal, episode 0 has 0.300 m",
        ),
    ],
)
def test_impossible_protocols_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def remove_steps(content):
    del content["steps"]


def add_speed(content):
    content["speed"] = 1


def remove_goal(content):
    del content["episodes"][1]["goal"]


def shorten_start(content):
    content["episodes"][2]["start"] = [0.0, 1.0]


def move_start_to_goal(content):
    content["episodes"][0]["start"] = content["episodes"][0]["goal"]


def spell_a_number(content):
    content["episodes"][0]["start"][0] = "left"


def replace_episodes(content):
    content["episodes"] = 20


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_steps, "missing: steps; unknown: none"),
        (add_speed, "missing: none; unknown: speed"),
        (remove_goal, "episode 1: Episode must have the fields seed, start, goal; missing: goal"),
        (shorten_start, r"episode 2: start must be 7 finite numbers, got \[0.0, 1.0\]"),
        (move_start_to_goal, "episode 0 has 0.000 m"),
        (spell_a_number, "episode 0: .*real number"),
        (replace_episodes, "episodes must be a list, got int"),
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
    with pytest.raises(FileNotFoundError, match="no protocol at"):
        load_protocol(tmp_path / "protocol.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match=r"broken\.json is not a protocol"):
        load_protocol(tmp_path / "broken.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ValueError, match="Protocol must be a json object, got list"):
        load_protocol(tmp_path / "list.json")


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 20, 0.0, 0.16113), (20, 20, 0.83887, 1.0), (18, 20, 0.69897, 0.97213), (5, 10, 0.23659, 0.76341)],
)
def test_wilson_interval(successes, n, low, high):
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=2e-5)


def test_wilson_bounds_solve_the_score_equation():
    for bound in wilson_interval(13, 37):
        assert abs(bound - 13 / 37) == pytest.approx(1.959964 * math.sqrt(bound * (1 - bound) / 37))


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_interval_refuses_impossible_counts(successes, n):
    with pytest.raises(ValueError, match=f"got {successes} of {n}"):
        wilson_interval(successes, n)
