from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from point_world import PointEnv, make_stand, run
from small_trajectories import contents

from vjepa_wm.agents.agent import ScriptedAgent, StandStill
from vjepa_wm.data.media.video import read_frames
from vjepa_wm.evaluation.protocol import EPISODE_SEEDS
from vjepa_wm.evaluation.results_folder import record_path
from vjepa_wm.evaluation.runner import Stand, episode_seed


def records(results):
    """Return records without the time they took."""
    return {
        (result.policy, k): vars(episode) | {"seconds_per_action": None}
        for result in results
        for k, episode in enumerate(result.episodes)
    }


def videos(folder):
    return {name: content for name, content in contents(folder).items() if name.startswith("videos")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, records(run(folder))


def test_every_policy_plays_every_episode(whole):
    folder, played = whole
    assert list(played) == [(policy, k) for policy in ("expert", "random", "zero") for k in range(6)]
    for k in range(6):
        episodes = [played[policy, k] for policy in ("expert", "random", "zero")]
        assert (
            len({episode["seed"] for episode in episodes})
            == len({episode["distances"][0] for episode in episodes})
            == 1
        )
        assert episodes[0]["seed"] >= EPISODE_SEEDS[0]
        assert episodes[0]["distances"][-1] < episodes[0]["distances"][0] == episodes[2]["distances"][-1]
    drawn = {played["random", k]["distances"][-1] - played["random", k]["distances"][0] for k in range(6)}
    assert len(drawn) == 6
    assert len(videos(folder)) == 18
    frames, times = read_frames(folder / "videos/expert/episode_003.mp4")
    assert len(frames) == 3 + 1 + 5 and np.allclose(np.diff(times), 1 / PointEnv.control_hz)
    obs, info = PointEnv().reset(seed=played["expert", 3]["seed"])
    middle = frames.shape[1] // 2
    assert np.abs(frames[0, middle, 100].astype(int) - obs["image"][0, 0]).max() < 12
    assert np.abs(frames[0, middle, -100].astype(int) - info["goal"]["image"][0, 0]).max() < 12


@pytest.mark.parametrize("workers", [1, 2])
def test_results_do_not_depend_on_the_number_of_workers(whole, tmp_path, workers):
    folder, played = whole
    assert records(run(tmp_path, workers=workers)) == played
    assert videos(tmp_path) == videos(folder)


def test_a_worker_that_dies_changes_nothing(whole, tmp_path):
    folder, played = whole
    breaks = tmp_path / "breaks"
    breaks.mkdir()
    (breaks / "once").touch()
    stands = partial(make_stand, breaks=breaks)
    assert records(run(tmp_path / "out", stands=stands, workers=1)) == played
    assert not any(breaks.iterdir()) and videos(tmp_path / "out") == videos(folder)


def test_another_seed_gives_other_candidates_on_the_same_episodes(whole, tmp_path):
    other = records(run(tmp_path, policies=("random", "zero"), seed=1))
    assert all(other["zero", k] == whole[1]["zero", k] for k in range(6))
    assert all(other["random", k] != whole[1]["random", k] for k in range(6))
    assert len({episode_seed(seed, k) for seed in range(20) for k in range(20)}) == 400


def test_more_episodes_and_more_rows_go_on_and_play_nothing_again(whole, tmp_path):
    run(tmp_path, num_episodes=2, policies=("zero",))
    run(tmp_path, num_episodes=4, policies=("random", "zero"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.parent != tmp_path}
    assert len(before) == 2 * 8
    assert records(run(tmp_path)) == whole[1]
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert videos(tmp_path) == videos(whole[0])
    assert len(run(tmp_path, num_episodes=2)[0].episodes) == 2  # and fewer are the first


def test_what_was_played_depends_on_no_episode_before_it(whole, tmp_path):
    """An agent and its environment play many; a fresh pair must play each alike."""
    run(tmp_path)
    record_path(tmp_path, "random", 4).unlink()
    record_path(tmp_path, "expert", 1).unlink()
    assert records(run(tmp_path)) == whole[1]


def test_a_damaged_record_is_named_before_anything_is_played(whole, tmp_path):
    run(tmp_path, num_episodes=2)
    record_path(tmp_path, "random", 1).write_text("{")
    with pytest.raises(ValueError, match=r"random/001\.json is damaged"):
        run(tmp_path)
    assert not record_path(tmp_path, "expert", 2).exists()
    record_path(tmp_path, "random", 1).unlink()
    assert records(run(tmp_path)) == whole[1]


def test_records_hold_every_digit(whole):
    folder, played = whole
    record = json.loads(record_path(folder, "random", 2).read_text())
    assert tuple(record["distances"]) == played["random", 2]["distances"]


def test_what_agents_and_environments_hold_is_freed(tmp_path):
    made = []

    def watched(policy):
        made.extend((PointEnv(), PointEnv()))
        return Stand(ScriptedAgent(lambda rng: StandStill(7)), *made[-2:])

    run(tmp_path, stands=watched)
    assert len(made) == 3 * 2 and all(env._scene.is_closed for env in made)  # a pair per policy


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_leaves_what_was_played_and_the_folder_free(whole, tmp_path, workers):
    with pytest.raises((ValueError, RuntimeError), match="of point must be one of random, expert, got 'play'"):
        run(tmp_path, policies=("zero", "play"), workers=workers)
    assert len(list((tmp_path / "episodes").rglob("*.json"))) == 6
    assert records(run(tmp_path)) == whole[1]
