"""Episodes played by other processes, which may fail, die, be stopped, or be left alone."""

import os
import signal
import time
from contextlib import closing
from functools import partial

import numpy as np
import pytest
from small_trajectories import contents
from square_world import SquareEnv, group_is_alive, run, start

from vjepa_wm import envs
from vjepa_wm.data.collection.episode_player import EpisodePlayer, EpisodeRecipe
from vjepa_wm.data.collection.record import collect
from vjepa_wm.data.trajectories.writer import TrajectoryWriter


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a collection of ten episodes in this process writes."""
    root = tmp_path_factory.mktemp("whole") / "set"
    report = run(root, num_episodes=10)
    assert 0 < report.num_success < 10
    return contents(root), report


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_byte_is_the_same_for_any_number_of_workers(tmp_path, whole, workers):
    report = run(tmp_path / "set", num_episodes=10, workers=workers)
    assert (contents(tmp_path / "set"), report) == whole


@pytest.mark.parametrize("task", envs.TASKS)
def test_an_episode_of_any_task_is_the_same_whatever_was_played_before(task):
    # A worker plays other episodes than its neighbour, so a scene that remembers the last one would show.
    recipe = EpisodeRecipe(
        make_env=partial(envs.make, task, image_size=32, variation=envs.VariationConfig(all="sampled")),
        make_policy=partial(envs.find_task(task).make_policy, "play"),
        num_steps=6,
        seed=0,
        task=task,
        fps=5,
    )
    recordings = []
    for numbers in ((0, 1, 2, 3), (3, 1)):
        with closing(EpisodePlayer(recipe)) as player:
            recordings.append({k: player(k).recording for k in numbers})
    for k in (3, 1):
        one, other = (played[k] for played in recordings)
        assert one.variation == other.variation
        for camera, video in one.videos.items():
            assert video.content == other.videos[camera].content
        for name in ("states", "actions", "objects"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("task", ["grasp", "point_maze"])
def test_a_task_is_recorded_the_same_by_workers(tmp_path, task):
    make_env = partial(envs.make, task, image_size=32, variation=envs.VariationConfig(all="sampled"))
    env = make_env()
    names = {name: getattr(env, name) for name in ("cameras", "state_names", "action_names", "object_names")}
    env.close()
    for workers in (0, 2):
        with TrajectoryWriter(tmp_path / str(workers), fps=env.control_hz, image_size=32, **names) as writer:
            settings = {"num_episodes": 4, "num_steps": 6, "seed": 0, "task": task, "progress": False}
            collect(make_env, partial(envs.find_task(task).make_policy, "play"), writer, workers=workers, **settings)
    expected, found = contents(tmp_path / "0"), contents(tmp_path / "2")
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


def test_a_worker_that_dies_is_replaced_and_its_episode_played_again(tmp_path, whole):
    breaks = tmp_path / "breaks"
    breaks.mkdir()
    for name in ("die-1", "die-2"):
        (breaks / name).touch()
    report = run(tmp_path / "set", partial(SquareEnv, breaks=breaks), num_episodes=10, workers=2)
    assert not any(breaks.iterdir())
    assert (contents(tmp_path / "set"), report) == whole


def test_an_episode_at_which_three_processes_die_is_an_error(tmp_path):
    breaks = tmp_path / "breaks"
    breaks.mkdir()
    for name in ("die-1", "die-2", "die-3"):
        (breaks / name).touch()
    with pytest.raises(RuntimeError, match=r"piece 0 was begun 3 times .* its process died, .* by signal SIGKILL; is"):
        run(tmp_path / "set", partial(SquareEnv, breaks=breaks), workers=1)


def test_an_error_in_a_worker_comes_with_its_traceback(tmp_path):
    breaks = tmp_path / "breaks"
    breaks.mkdir()
    (breaks / "raise").touch()
    with pytest.raises(RuntimeError, match=r"(?s)piece \d failed in .*Traceback .*break_once.*the square is broken"):
        run(tmp_path / "set", partial(SquareEnv, breaks=breaks), workers=2)


def wait_until(condition, what):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"waited a minute until {what}"
        time.sleep(0.01)


@pytest.mark.parametrize("how", ["ctrl_c", "parent_killed"])
def test_workers_end_with_the_collection(tmp_path, how):
    with start(tmp_path / "set", 100_000, workers=2) as process:
        wait_until((tmp_path / "set/meta/info.json").exists, "the first episode was there")
        if how == "ctrl_c":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.kill()
        errors = process.communicate(timeout=60)[1]
        wait_until(lambda: not group_is_alive(process), "the workers had ended")
    # The workers say nothing; of Ctrl-C, which reaches all, the collection does.
    assert "SpawnProcess" not in errors
    assert errors.endswith("KeyboardInterrupt\n") if how == "ctrl_c" else "Traceback" not in errors
