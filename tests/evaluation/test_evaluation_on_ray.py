"""An evaluation played by a Ray cluster, one of whose processes is killed. Needs Ray, which CI does not install."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from point_world import run
from small_trajectories import contents

CODE = """
import sys
from functools import partial
from pathlib import Path
from point_world import make_stand, run

folder, breaks = map(Path, sys.argv[1:])
run(folder, stands=partial(make_stand, breaks=breaks), workers=2, ray="local")
"""
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


def evaluate_on_ray(folder, breaks):
    """Evaluate in another process, as Ray keeps threads and sets what warnings do."""
    path = os.pathsep.join([str(Path(__file__).parents[1] / "support"), *filter(None, sys.path)])
    command = [sys.executable, "-c", CODE, str(folder), str(breaks)]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=300)


def records(results):
    return [[vars(episode) | {"seconds_per_action": None} for episode in result.episodes] for result in results]


def videos(folder):
    return {name: content for name, content in contents(folder).items() if name.startswith("videos")}


@needs_ray
def test_a_process_that_is_killed_while_it_plays_changes_nothing(tmp_path):
    whole = records(run(tmp_path / "whole"))
    (tmp_path / "breaks").mkdir()
    (tmp_path / "breaks/once").touch()
    finished = evaluate_on_ray(tmp_path / "ray", tmp_path / "breaks")
    assert finished.returncode == 0, finished.stderr
    assert not any((tmp_path / "breaks").iterdir())
    assert len(list((tmp_path / "ray/episodes").rglob("*.json"))) == 18
    assert records(run(tmp_path / "ray")) == whole  # which only reads what was played
    assert videos(tmp_path / "ray") == videos(tmp_path / "whole")


def test_ray_must_be_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"Ray is not installed: pip install 'vjepa_wm\[ray\]', or leave --ray out"):
        run(tmp_path, ray="local")
