"""A collection that is killed again and again ends with the files of one that never was."""

import os
import random
import signal
import time

import pytest
from small_trajectories import contents
from square_world import group_is_alive, run, start

from vjepa_wm.data.trajectories.dataset import TrajectoryDataset


def kill(process, only_parent):
    """Kill a collection with its workers, or leave them to end by themselves, which they must."""
    if only_parent:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 60
    while group_is_alive(process):
        assert time.monotonic() < end, "workers did not end by themselves within a minute"
        time.sleep(0.005)


def collect_with_kills(root, num_episodes, num_kills, seed):
    """Return how many kills there were before the collection came to its end, and the episodes found at each."""
    moments, found = random.Random(seed), []
    while len(found) < num_kills:
        with start(root, num_episodes, workers=2) as process:
            before = number_of(root)
            if moments.random() < 0.8:  # else at any moment of the start
                while process.poll() is None and number_of(root) == before:
                    time.sleep(0.002)
            time.sleep(moments.uniform(0.0, 0.3))
            if process.poll() is not None:
                break  # it came to its end
            kill(process, only_parent=moments.random() < 0.5)
            found.append(number_of(root))
    with start(root, num_episodes, workers=2) as process:
        assert process.wait() == 0, process.stderr.read()
    return found


def number_of(root):
    return len(list((root / "meta/episodes").rglob("*.parquet")))


@pytest.mark.parametrize(
    ("num_episodes", "num_kills"), [(40, 2), pytest.param(400, 30, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_kills_change_nothing(tmp_path, num_episodes, num_kills):
    run(tmp_path / "whole", num_episodes=num_episodes)
    found = collect_with_kills(tmp_path / "parts", num_episodes, num_kills, seed=0)
    print(f"killed {len(found)} times, after episodes {found}")
    assert len(found) == num_kills
    assert TrajectoryDataset(tmp_path / "parts").num_episodes == num_episodes
    whole, parts = contents(tmp_path / "whole"), contents(tmp_path / "parts")
    assert parts.keys() == whole.keys()
    assert [name for name in whole if parts[name] != whole[name]] == []
