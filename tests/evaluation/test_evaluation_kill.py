"""An evaluation that is killed again and again ends with the results of one that never was, and plays nothing twice."""

import os
import random
import signal
import time

import pytest
from point_world import run, start
from small_trajectories import contents
from square_world import group_is_alive


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 60
    while group_is_alive(process):
        assert time.monotonic() < end, "workers did not end within a minute"
        time.sleep(0.005)


def times(folder):
    return {path: path.stat().st_mtime_ns for path in (folder / "episodes").rglob("*.json")}


def evaluate_with_kills(folder, num_kills, **settings):
    """Return how many records each kill found; a record that was there is never written again."""
    moments, found, before = random.Random(0), [], {}
    while len(found) < num_kills:
        with start(folder, workers=2, **settings) as process:
            if moments.random() < 0.8:  # else at any moment of the start
                while process.poll() is None and len(times(folder)) == len(before):
                    time.sleep(0.002)
            time.sleep(moments.uniform(0.0, 0.15))
            assert process.poll() is None, f"it ended before kill {len(found) + 1}: {process.stderr.read()}"
            kill(process)
        after = times(folder)
        assert {path: after[path] for path in before} == before
        before = after
        found.append(len(before))
    with start(folder, workers=2, **settings) as process:
        assert process.wait() == 0, process.stderr.read()
    after = times(folder)
    assert {path: after[path] for path in before} == before
    return found


@pytest.mark.parametrize(
    ("num_episodes", "num_kills"), [(10, 2), pytest.param(80, 20, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_kills_change_nothing(tmp_path, num_episodes, num_kills):
    policies = ("expert", "random")
    whole = run(tmp_path / "whole", num_episodes=num_episodes, policies=policies)
    found = evaluate_with_kills(tmp_path / "parts", num_kills, num_episodes=num_episodes, policies=policies)
    print(f"killed {len(found)} times, after episodes {found}")
    assert found == sorted(found) and 0 < found[-1] < 2 * num_episodes
    parts = run(tmp_path / "parts", num_episodes=num_episodes, policies=policies)
    for there, here in zip(whole, parts, strict=True):
        pairs = zip(there.episodes, here.episodes, strict=True)
        assert all(vars(a) | {"seconds_per_action": 0} == vars(b) | {"seconds_per_action": 0} for a, b in pairs)
    there, here = contents(tmp_path / "whole"), contents(tmp_path / "parts")
    assert there.keys() == here.keys()
    assert [name for name in there if not name.startswith("episodes/") and there[name] != here[name]] == []
